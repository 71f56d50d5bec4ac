//! Kinds of L2 networks: what makes one on a host.

use engine::Result;
use engine::boxed;
use engine::driver::Family;
use engine::flow::Cx;

use super::{L2NetworkInventory, no_vlan, vlan};
use crate::host::HostInventory;

/// One kind of L2 network. Every command succeeds when what it wants is so already.
#[boxed]
pub trait L2Driver: Sync {
    /// The bridge that VMs are plugged into, at most 15 characters. Two networks of one cluster never
    /// have the same.
    fn bridge_name(&self, l2: &L2NetworkInventory) -> String;

    /// Makes the network on the host.
    async fn realize(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()>;

    /// Takes it away from the host.
    async fn remove(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()>;
}

/// All of them; a new one is a file and a line here.
pub static L2_NETWORKS: Family<dyn L2Driver> =
    Family::new("l2 network", &[(no_vlan::TYPE, &no_vlan::NoVlan), (vlan::TYPE, &vlan::Vlan)]);
