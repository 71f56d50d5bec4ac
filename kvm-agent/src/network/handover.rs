//! Moves addresses and routes between a physical interface and its bridge.
//!
//! Every step may be repeated: what is still on the old side tells what is left to do. At no moment is an
//! address on neither side; addresses leave the old side last, when the routes lead through the new one.

use host::netlink::{Error, Link, Netlink};

/// Moves all that was configured on `from` over to `to`, which must be up. `attach` is run when `to` has
/// the addresses and before it gets the routes: the moment to put the cable in.
pub(super) async fn hand_over<A>(net: &Netlink, from: &Link, to: &Link, attach: A) -> Result<(), Error>
where
    A: AsyncFnOnce() -> Result<(), Error>,
{
    let addresses = net.addresses(from).await?;
    let addresses: Vec<_> = addresses.into_iter().filter(|address| !address.local).collect();
    let routes = net.routes(from).await?;
    for address in &addresses {
        if address.dynamic {
            tracing::warn!(from = from.name, ip = %address.ip, "a leased address moves: its client must follow");
        }
        net.add_address(to, address.ip, address.prefix).await?;
    }
    attach().await?;
    for route in &routes {
        net.route_through(to, route).await?;
    }
    for address in &addresses {
        net.delete_address(from, address.ip, address.prefix).await?;
    }
    Ok(())
}
