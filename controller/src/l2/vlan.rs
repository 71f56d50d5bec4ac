//! A VLAN of a physical interface, by a Linux bridge on it.

use engine::boxed;
use engine::flow::Cx;
use engine::{Id, Result};
use wire::calls::network::{CreateBridge, CreateVlanBridge, DeleteBridge, DeleteVlanBridge};

use super::driver::L2Driver;
use super::no_vlan::{LONGEST_NAME, may_be_digest, must_be_there};
use super::{L2Network, L2NetworkInventory, store};
use crate::host::{HostInventory, kvm};

pub(super) const TYPE: &str = "L2VlanNetwork";
/// What a frame can carry; 0 and 4095 are the standard's own.
pub(super) const IDS: std::ops::RangeInclusive<i64> = 1..=4094;

pub(super) struct Vlan;

/// `br_<interface>_<vlan>`; a long interface's name is replaced by the first digits of its MD5.
fn bridge_name(interface: &str, vlan: i64) -> String {
    let room = LONGEST_NAME - format!("br__{vlan}").len();
    format!("br_{}_{vlan}", super::no_vlan::short(interface, room))
}

/// The interface and the VLAN that a bridge of this name may be for; none when the name does not tell.
fn parts_of(bridge: &str) -> Option<(&str, u16)> {
    let (interface, vlan) = bridge.strip_prefix("br_")?.rsplit_once('_')?;
    let vlan = vlan.parse().ok().filter(|vlan| IDS.contains(&i64::from(*vlan)))?;
    (!interface.is_empty() && !may_be_digest(bridge, interface)).then_some((interface, vlan))
}

fn id_of(l2: &L2NetworkInventory) -> u16 {
    u16::try_from(l2.virtual_network_id).unwrap_or(0)
}

fn deletion(l2: Id<L2Network>, interface: &str, vlan: u16, bridge: &str) -> DeleteVlanBridge {
    let bridge = DeleteBridge {
        physical_interface_name: interface.to_owned(),
        bridge_name: bridge.to_owned(),
        l2_network_uuid: l2.to_string(),
    };
    DeleteVlanBridge { vlan, bridge }
}

#[boxed]
impl L2Driver for Vlan {
    fn bridge_name(&self, l2: &L2NetworkInventory) -> String {
        bridge_name(&l2.physical_interface, l2.virtual_network_id)
    }

    /// What else the interface may be called is told by the agent, which refuses to leave a port behind.
    async fn evict(
        &self,
        cx: &Cx,
        host: &HostInventory,
        l2: Id<L2Network>,
        bridge: &str,
    ) -> Option<Result<()>> {
        let (interface, vlan) = parts_of(bridge)?;
        let delete = deletion(l2, interface, vlan, bridge);
        Some(cx.call(&kvm::agent(cx.engine(), host), &delete).await.map(|_| ()))
    }

    async fn realize(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
        must_be_there(cx, host, &l2.physical_interface).await?;
        let bridge = CreateBridge {
            physical_interface_name: l2.physical_interface.clone(),
            bridge_name: self.bridge_name(l2),
            l2_network_uuid: l2.uuid.to_string(),
            mtu: store::mtu(&mut cx.read().await?, l2.uuid).await?,
            ..Default::default()
        };
        let create = CreateVlanBridge { vlan: id_of(l2), bridge };
        cx.call(&kvm::agent(cx.engine(), host), &create).await.map(|_| ())
    }

    async fn remove(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
        let delete = deletion(l2.uuid, &l2.physical_interface, id_of(l2), &self.bridge_name(l2));
        cx.call(&kvm::agent(cx.engine(), host), &delete).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_named_after_its_interface_and_its_vlan() {
        assert_eq!(bridge_name("eth0", 100), "br_eth0_100");
        assert_eq!(bridge_name("enp129s0f0", 4094).len(), LONGEST_NAME);
        assert!(bridge_name("enp129s0f0", 4094).ends_with("_4094"));
        assert_ne!(bridge_name("enp129s0f0", 7), bridge_name("enp129s0f1", 7));
    }

    #[test]
    fn a_bridge_tells_its_interface_and_its_vlan() {
        assert_eq!(parts_of("br_eth0_100"), Some(("eth0", 100)));
        for other in ["br_eth0", "br_eth0_4095", "br_eth0_0", "br__7", "virbr0", "br_vx_x"] {
            assert_eq!(parts_of(other), None, "{other}");
        }
        assert_eq!(parts_of(&bridge_name("enp129s0f0", 4094)), None, "the name is shortened");
    }
}
