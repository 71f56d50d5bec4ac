//! How such a network is made on a host, and taken away.

use cumulet_controller::host::{HostInventory, kvm};
use cumulet_controller::l2::{L2Driver, L2NetworkInventory};
use engine::Result;
use engine::boxed;
use engine::flow::Cx;

use super::calls::{CreateBridge, DeleteBridge};

pub struct Gre;

#[boxed]
impl L2Driver for Gre {
    fn bridge_name(&self, l2: &L2NetworkInventory) -> String {
        format!("br_gre{}", l2.virtual_network_id)
    }

    async fn realize(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
        let bridge = CreateBridge {
            bridge_name: self.bridge_name(l2),
            key: l2.virtual_network_id,
            l2_network_uuid: l2.uuid.to_string(),
        };
        cx.call(&kvm::agent(cx.engine(), host), &bridge).await.map(|_| ())
    }

    async fn remove(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
        let bridge = DeleteBridge { bridge_name: self.bridge_name(l2) };
        cx.call(&kvm::agent(cx.engine(), host), &bridge).await.map(|_| ())
    }
}
