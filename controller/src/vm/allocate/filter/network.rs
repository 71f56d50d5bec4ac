use engine::Result;
use engine::boxed;
use engine::db::Tx;

use super::{Candidate, Filter, Look};
use crate::vm::store;

/// Its cluster has the L2 networks of the VM's NICs.
pub(super) struct AttachedL2Network;

#[boxed]
impl Filter for AttachedL2Network {
    async fn refuse_asking(
        &self,
        tx: &mut Tx,
        look: &mut Look<'_>,
        host: &Candidate,
    ) -> Result<Option<String>> {
        let cluster = host.host.cluster_uuid;
        if !look.networks.contains_key(&cluster) {
            let missing = store::missing_l2(tx, &host.host, &look.demand.l3_networks).await?;
            look.networks.insert(cluster, missing);
        }
        let missing = look.networks.get(&cluster).and_then(Option::as_ref);
        Ok(missing.map(|l2| format!("has no L2 network \"{l2}\": attach it to its cluster")))
    }
}
