//! A VXLAN on a host: a bridge on the tunnel of its number.

use engine::boxed;
use engine::flow::Cx;
use engine::{Id, Result};
use wire::calls::network::{CreateVxlanBridge, DeleteVxlanBridge, PopulateFdb};

use super::{VNIS, store, vtep};
use crate::host::{HostInventory, kvm};
use crate::l2::driver::L2Driver;
use crate::l2::{L2Network, L2NetworkInventory};

pub(in crate::l2) struct VxlanNetwork;

const BRIDGE: &str = "br_vx_";

/// The number of the VXLAN that a bridge of this name is for.
fn vni_of(bridge: &str) -> Option<u32> {
    let vni = bridge.strip_prefix(BRIDGE)?.parse().ok()?;
    VNIS.contains(&i64::from(vni)).then_some(vni)
}

fn vni(l2: &L2NetworkInventory) -> u32 {
    u32::try_from(l2.virtual_network_id).unwrap_or(0)
}

async fn take_away(
    cx: &Cx,
    host: &HostInventory,
    l2: Id<L2Network>,
    vni: u32,
    bridge_name: String,
) -> Result<()> {
    let vtep_ip = String::new();
    let delete = DeleteVxlanBridge { bridge_name, vni, l2_network_uuid: l2.to_string(), vtep_ip };
    cx.call(&kvm::agent(cx.engine(), host), &delete).await.map(|_| ())
}

#[boxed]
impl L2Driver for VxlanNetwork {
    fn bridge_name(&self, l2: &L2NetworkInventory) -> String {
        format!("{BRIDGE}{}", l2.virtual_network_id)
    }

    /// What tunnels add fits into the usual frames of the hosts' network.
    fn frames(&self) -> Option<i64> {
        Some(1450)
    }

    fn is_carried(&self) -> bool {
        true
    }

    async fn evict(
        &self,
        cx: &Cx,
        host: &HostInventory,
        l2: Id<L2Network>,
        bridge: &str,
    ) -> Option<Result<()>> {
        let vni = vni_of(bridge)?;
        Some(take_away(cx, host, l2, vni, bridge.to_owned()).await)
    }

    async fn realize(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
        let pool = store::pool_of(&mut cx.read().await?, l2.uuid).await?;
        let vtep_ip = vtep::of(cx, host, pool).await?;
        let agent = kvm::agent(cx.engine(), host);
        let mut tx = cx.read().await?;
        let known = store::peers(&mut tx, pool, host.uuid).await?;
        let create = CreateVxlanBridge {
            bridge_name: self.bridge_name(l2),
            vtep_ip,
            vni: vni(l2),
            dstport: None,
            l2_network_uuid: l2.uuid.to_string(),
            peers: known.clone(),
            mtu: crate::l2::store::mtu(&mut tx, l2.uuid).await?,
        };
        drop(tx);
        cx.call(&agent, &create).await?;
        let now = store::peers(&mut cx.read().await?, pool, host.uuid).await?;
        let peers: Vec<String> = now.into_iter().filter(|peer| !known.contains(peer)).collect();
        if peers.is_empty() {
            return Ok(());
        }
        cx.call(&agent, &PopulateFdb { vni: vni(l2), peers }).await.map(|_| ())
    }

    async fn remove(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
        take_away(cx, host, l2.uuid, vni(l2), self.bridge_name(l2)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_tells_its_number() {
        assert_eq!(vni_of("br_vx_16777214"), Some(16_777_214));
        for other in ["br_vx_0", "br_vx_16777215", "br_vx_x", "br_eth0_7", "br_vx_"] {
            assert_eq!(vni_of(other), None, "{other}");
        }
    }
}
