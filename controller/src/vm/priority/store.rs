use engine::db::Tx;
use engine::{Any, Id, Result, Stamp, args};

use super::{VmPriorityConfig, VmPriorityConfigInventory};
use crate::host::Host;

const OF_LEVEL: &str = "SELECT * FROM vm_priority_config WHERE level = $1";
const UPDATE: &str = "UPDATE vm_priority_config SET cpu_shares = $2, oom_score_adj = $3, last_op_date = $4 \
     WHERE uuid = $1";
/// Tags say it; hosts that do not answer hear of it when their VMs start next.
const RUNNING: &str = "SELECT v.host_uuid, v.uuid FROM system_tag t \
     CROSS JOIN vm_instance v JOIN host h ON h.uuid = v.host_uuid \
     WHERE t.tag = $1 AND v.uuid = t.resource_uuid AND v.state = 'Running' AND h.status = 'Connected' ORDER BY v.host_uuid, v.uuid";

pub(super) async fn of_level(tx: &mut Tx, level: &str) -> Result<Option<VmPriorityConfigInventory>> {
    tx.opt(OF_LEVEL, args![level]).await
}

pub(super) async fn update(
    tx: &mut Tx,
    uuid: Id<VmPriorityConfig>,
    cpu_shares: i64,
    oom_score_adj: i64,
) -> Result<()> {
    tx.exec(UPDATE, args![uuid, cpu_shares, oom_score_adj, Stamp::now()]).await?;
    Ok(())
}

/// The VMs that carry the tag and run, and where.
pub(super) async fn running(tx: &mut Tx, tag: &str) -> Result<Vec<(Id<Host>, Id<Any>)>> {
    tx.all(RUNNING, args![tag]).await
}
