//! Untagged frames of a physical interface, by a Linux bridge.

use engine::boxed;
use engine::flow::Cx;
use engine::{Id, Result, codes};
use md5::{Digest, Md5};
use wire::calls::network::{CheckInterfaces, CreateBridge, DeleteBridge};

use super::driver::L2Driver;
use super::{L2Network, L2NetworkInventory, store};
use crate::host::{HostInventory, kvm};

pub(super) const TYPE: &str = "L2NoVlanNetwork";

/// What Linux takes as the name of an interface.
pub(super) const LONGEST_NAME: usize = 15;

pub(super) struct NoVlan;

/// `br_<interface>`; a long interface's name is replaced by the first digits of its MD5.
fn bridge_name(interface: &str) -> String {
    format!("br_{}", short(interface, LONGEST_NAME - "br_".len()))
}

/// The name, or the first digits of its MD5 when it needs more room.
pub(super) fn short(interface: &str, room: usize) -> String {
    match interface.len() > room {
        false => interface.to_owned(),
        true => hex::encode(Md5::digest(interface.as_bytes()))[..room].to_owned(),
    }
}

/// The host has the interface, and it is up.
pub(super) async fn must_be_there(cx: &Cx, host: &HostInventory, interface: &str) -> Result<()> {
    let check = CheckInterfaces { interface_names: vec![interface.to_owned()] };
    let checked = cx.call(&kvm::agent(cx.engine(), host), &check).await?;
    match checked.failed_interface_names.first() {
        None => Ok(()),
        Some(missing) => {
            let details = format!("host \"{}\" has no interface \"{missing}\"", host.name);
            Err(codes::OPERATION.because(details))
        }
    }
}

/// The interface that a bridge of this name is for; none when the name does not tell.
pub fn interface_of(bridge: &str) -> Option<&str> {
    let interface = bridge.strip_prefix("br_").filter(|interface| !interface.is_empty())?;
    (!may_be_digest(bridge, shortened(interface))).then_some(interface)
}

/// The part of a bridge's name that stands for the interface: a VLAN's is followed by its number.
fn shortened(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((stem, vlan)) if !vlan.is_empty() && vlan.bytes().all(|b| b.is_ascii_digit()) => stem,
        _ => name,
    }
}

/// Whether `interface` in the name of a bridge can be what [`short`] makes of a longer one.
pub(super) fn may_be_digest(bridge: &str, interface: &str) -> bool {
    bridge.len() == LONGEST_NAME && interface.bytes().all(|b| b.is_ascii_hexdigit())
}

#[boxed]
impl L2Driver for NoVlan {
    fn bridge_name(&self, l2: &L2NetworkInventory) -> String {
        bridge_name(&l2.physical_interface)
    }

    /// The agent gives the interface its addresses back, and refuses while anything else is plugged in.
    async fn evict(
        &self,
        cx: &Cx,
        host: &HostInventory,
        l2: Id<L2Network>,
        bridge: &str,
    ) -> Option<Result<()>> {
        let delete = DeleteBridge {
            physical_interface_name: interface_of(bridge)?.to_owned(),
            bridge_name: bridge.to_owned(),
            l2_network_uuid: l2.to_string(),
        };
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
        cx.call(&kvm::agent(cx.engine(), host), &bridge).await.map(|_| ())
    }

    async fn remove(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
        let bridge = DeleteBridge {
            physical_interface_name: l2.physical_interface.clone(),
            bridge_name: self.bridge_name(l2),
            l2_network_uuid: l2.uuid.to_string(),
        };
        cx.call(&kvm::agent(cx.engine(), host), &bridge).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_named_after_its_interface_as_long_as_that_fits() {
        assert_eq!(bridge_name("eth0"), "br_eth0");
        assert_eq!(bridge_name("enp129s0f0np"), "br_enp129s0f0np");
        assert_eq!(bridge_name("enp129s0f0np0"), "br_5c3e1cfb4b7b");
        assert_eq!(bridge_name("enx00e04c680001").len(), LONGEST_NAME);
    }

    #[test]
    fn a_bridge_tells_its_interface_unless_that_was_too_long() {
        assert_eq!(interface_of("br_eth0"), Some("eth0"));
        assert_eq!(interface_of("br_enp129s0f0np"), Some("enp129s0f0np"));
        assert_eq!(interface_of(&bridge_name("enp129s0f0np0")), None);
        assert_eq!(interface_of("br_5c3e1cf_4094"), None, "a VLAN of an interface with a long name");
        assert_eq!(interface_of("br_eth0_4094"), Some("eth0_4094"));
        assert_eq!(interface_of("br_"), None);
        assert_eq!(interface_of("virbr0"), None);
    }
}
