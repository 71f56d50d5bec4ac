//! Untagged frames of a physical interface, by a Linux bridge.

use async_trait::async_trait;
use engine::flow::Cx;
use engine::{Result, codes};
use md5::{Digest, Md5};
use wire::calls::network::{CheckInterfaces, CreateBridge, DeleteBridge};

use super::L2NetworkInventory;
use super::driver::L2Driver;
use crate::host::{HostInventory, kvm};

pub(super) const TYPE: &str = "L2NoVlanNetwork";

/// What Linux takes as the name of an interface.
const LONGEST_NAME: usize = 15;

pub(super) struct NoVlan;

/// `br_<interface>`; a long interface's name is replaced by the first digits of its MD5.
fn bridge_name(interface: &str) -> String {
    let room = LONGEST_NAME - "br_".len();
    match interface.len() > room {
        false => format!("br_{interface}"),
        true => format!("br_{}", &hex::encode(Md5::digest(interface.as_bytes()))[..room]),
    }
}

#[async_trait]
impl L2Driver for NoVlan {
    fn bridge_name(&self, l2: &L2NetworkInventory) -> String {
        bridge_name(&l2.physical_interface)
    }

    async fn realize(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
        let agent = kvm::agent(cx.engine(), host);
        let check = CheckInterfaces { interface_names: vec![l2.physical_interface.clone()] };
        let checked = cx.call(&agent, &check).await?;
        if let Some(missing) = checked.failed_interface_names.first() {
            let details = format!("host \"{}\" has no interface \"{missing}\"", host.name);
            return Err(codes::OPERATION.because(details));
        }
        let bridge = CreateBridge {
            physical_interface_name: l2.physical_interface.clone(),
            bridge_name: self.bridge_name(l2),
            l2_network_uuid: l2.uuid.to_string(),
            ..Default::default()
        };
        cx.call(&agent, &bridge).await.map(|_| ())
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
}
