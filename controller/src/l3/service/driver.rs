//! Providers of network services.

use engine::Result;
use engine::boxed;
use engine::driver::Family;
use engine::flow::Cx;

use super::{Lease, flat};
use crate::host::HostInventory;
use crate::l3::L3NetworkInventory;

/// One provider. `services` are those of the network that it provides, maybe none. Every command
/// succeeds when what it wants is so already.
#[boxed]
pub trait NetworkService: Sync {
    /// What it can provide: `DHCP`, `DNS`, …
    fn types(&self) -> &'static [&'static str];

    /// Whether its servers need an address of the network.
    fn needs_address(&self, services: &[String]) -> bool;

    /// Knows these guests on the host besides those that it knows.
    async fn serve(
        &self,
        cx: &Cx,
        host: &HostInventory,
        l3: &L3NetworkInventory,
        services: &[String],
        leases: &[Lease],
    ) -> Result<()>;

    /// Knows these guests no longer.
    async fn unserve(
        &self,
        cx: &Cx,
        host: &HostInventory,
        l3: &L3NetworkInventory,
        leases: &[Lease],
    ) -> Result<()>;

    /// Knows exactly the guests that the rows place on the host; without services nothing of it stays.
    async fn rebuild(
        &self,
        cx: &Cx,
        host: &HostInventory,
        l3: &L3NetworkInventory,
        services: &[String],
    ) -> Result<()>;

    /// Nothing of it stays on the host.
    async fn leave(&self, cx: &Cx, host: &HostInventory, l3: &L3NetworkInventory) -> Result<()>;
}

/// All of them; a new one is a file, a line here and a row of `network_service_provider`.
pub static NETWORK_SERVICES: Family<dyn NetworkService> =
    Family::new("network service provider", &[(flat::TYPE, &flat::Flat)]);
