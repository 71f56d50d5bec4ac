//! A pool on a host: the end of its tunnels.

use engine::boxed;
use engine::db::Tx;
use engine::flow::Cx;
use engine::{Result, codes};
use ipnet::Ipv4Net;

use super::{POOL, store, vtep};
use crate::host::HostInventory;
use crate::l2::L2NetworkInventory;
use crate::l2::driver::L2Driver;

pub(in crate::l2) struct VxlanPool;

/// The IP network, which may stand in braces.
pub(super) fn cidr(text: &str) -> Result<String> {
    let bare = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let net: Ipv4Net = bare.parse().map_err(|_| {
        codes::INVALID_ARGUMENT
            .because(format!("the tunnels' network must be such as 10.10.0.0/16, not \"{text}\""))
    })?;
    Ok(net.trunc().to_string())
}

#[boxed]
impl L2Driver for VxlanPool {
    /// It has none; no interface is called so.
    fn bridge_name(&self, l2: &L2NetworkInventory) -> String {
        format!("{POOL}/{}", l2.uuid)
    }

    fn is_plugged_into(&self) -> bool {
        false
    }

    fn must_be_attachable(&self, l2: &L2NetworkInventory, cidr: Option<&str>) -> Result<()> {
        match cidr {
            Some(_) => Ok(()),
            None => Err(codes::INVALID_ARGUMENT.because(format!(
                "which addresses of hosts the tunnels of \"{}\" shall join must come with its attachment: the \
                 system tag l2NetworkUuid::<uuid>::clusterUuid::<uuid>::cidr::10.10.0.0/16",
                l2.name
            ))),
        }
    }

    async fn along(&self, tx: &mut Tx, l2: &L2NetworkInventory) -> Result<Vec<L2NetworkInventory>> {
        store::carried(tx, l2.uuid).await
    }

    async fn realize(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
        vtep::find(cx, host, l2).await.map(|_| ())
    }

    async fn remove(&self, cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
        vtep::forget(cx, host, l2.uuid).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_of_tunnels_may_stand_in_braces() {
        assert_eq!(cidr("10.10.3.0/16").unwrap(), "10.10.0.0/16");
        assert_eq!(cidr("{172.20.0.0/24}").unwrap(), "172.20.0.0/24");
        for wrong in ["", "10.0.0.1", "10.0.0.0/33", "{10.0.0.0/8", "fd00::/64"] {
            assert!(cidr(wrong).unwrap_err().details().contains("10.10.0.0/16"), "{wrong}");
        }
    }
}
