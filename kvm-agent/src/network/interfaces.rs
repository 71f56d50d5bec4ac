//! Whether the physical interfaces are there.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::network::{CheckInterfaces, InterfacesChecked};

use crate::state::Host;

/// Brings up what is there; fails with the names of what is not.
pub async fn check_interfaces(cx: Cx<Host>, cmd: CheckInterfaces) -> Result<InterfacesChecked, Fault> {
    let mut missing = Vec::new();
    for name in cmd.interface_names {
        match cx.net.find(&name).await {
            Ok(Some(link)) if link.up => {}
            Ok(Some(link)) => cx.net.set_up(&link).await?,
            Ok(None) | Err(host::netlink::Error::Name(_)) => missing.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    if missing.is_empty() {
        return Ok(InterfacesChecked::default());
    }
    let text = format!("interfaces {missing:?} are not on this host: correct the network's interface name");
    Err(Fault::new(text).with("failedInterfaceNames", missing))
}
