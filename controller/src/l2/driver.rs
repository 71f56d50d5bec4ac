//! Kinds of L2 networks: what makes one on a host.

use engine::db::Tx;
use engine::driver::Family;
use engine::flow::Cx;
use engine::{Id, Result, boxed, codes};

use super::{L2Network, L2NetworkInventory, no_vlan, vlan, vxlan};
use crate::host::HostInventory;

/// One kind of L2 network. Every command succeeds when what it wants is so already.
#[boxed]
pub trait L2Driver: Sync {
    /// The bridge that VMs are plugged into, at most 15 characters. Two networks of one cluster never
    /// have the same.
    fn bridge_name(&self, l2: &L2NetworkInventory) -> String;

    /// Whether there are networks of its own kind to be had: VMs are not plugged into what only carries others.
    fn is_plugged_into(&self) -> bool {
        true
    }

    /// The longest frames of L3 networks on it, bytes, where these are shorter than usual.
    fn frames(&self) -> Option<i64> {
        None
    }

    /// Whether it is wherever another network is, and is attached and detached with that one alone.
    fn is_carried(&self) -> bool {
        false
    }

    /// Refuses to attach it; `cidr` comes with the attachment of a carrier of tunnels.
    fn must_be_attachable(&self, _l2: &L2NetworkInventory, cidr: Option<&str>) -> Result<()> {
        match cidr {
            None => Ok(()),
            Some(_) => Err(codes::INVALID_ARGUMENT
                .because("a tunnels' network comes with pools of VXLANs alone: leave that system tag out")),
        }
    }

    /// Networks that are wherever it is.
    async fn along(&self, _tx: &mut Tx, _l2: &L2NetworkInventory) -> Result<Vec<L2NetworkInventory>> {
        Ok(Vec::new())
    }

    /// Makes the network on the host.
    async fn realize(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()>;

    /// Takes it away from the host.
    async fn remove(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()>;

    /// Takes the bridge of a network that is not known any more away, if it is called as those of this kind.
    async fn evict(
        &self,
        _cx: &Cx,
        _host: &HostInventory,
        _l2: Id<L2Network>,
        _bridge: &str,
    ) -> Option<Result<()>> {
        None
    }
}

/// All of them; a new one is a file and a line here.
pub static L2_NETWORKS: Family<dyn L2Driver> = Family::new(
    "l2 network",
    &[
        (no_vlan::TYPE, &no_vlan::NoVlan),
        (vlan::TYPE, &vlan::Vlan),
        (vxlan::POOL, &vxlan::VxlanPool),
        (vxlan::NETWORK, &vxlan::VxlanNetwork),
    ],
);
