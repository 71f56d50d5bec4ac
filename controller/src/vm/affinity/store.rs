use std::collections::{HashMap, HashSet};

use engine::db::Tx;
use engine::{Id, Result, args};

use crate::affinity_group::AffinityGroup;
use crate::host::Host;
use crate::vm::VmInstance;

/// Where the VMs of a group stand, but for `$2`: each once on each host.
const NEIGHBOURS: &str = "SELECT x.host, count(*) FROM ( \
     SELECT c.host_uuid AS host, c.vm_instance_uuid AS vm FROM affinity_group_usage u \
        JOIN host_claim c ON c.vm_instance_uuid = u.resource_uuid WHERE u.affinity_group_uuid = $1 \
     UNION SELECT m.host_uuid, m.vm_instance_uuid FROM affinity_group_usage u \
        JOIN vm_move m ON m.vm_instance_uuid = u.resource_uuid WHERE u.affinity_group_uuid = $1 \
     UNION SELECT v.host_uuid, i.uuid FROM affinity_group_usage u \
        JOIN vm_instance i ON i.uuid = u.resource_uuid AND i.state NOT IN ('Destroyed', 'Expunging') \
        JOIN volume v ON v.uuid = i.root_volume_uuid \
        WHERE u.affinity_group_uuid = $1 AND v.host_uuid IS NOT NULL) x \
     WHERE CAST($2 AS TEXT) IS NULL OR x.vm <> $2 GROUP BY x.host";
const STANDS: &str = "SELECT host_uuid FROM host_claim WHERE vm_instance_uuid = $1 \
     UNION SELECT host_uuid FROM vm_move WHERE vm_instance_uuid = $1 \
     UNION SELECT v.host_uuid FROM vm_instance i JOIN volume v ON v.uuid = i.root_volume_uuid \
        WHERE i.uuid = $1 AND i.state NOT IN ('Destroyed', 'Expunging') AND v.host_uuid IS NOT NULL";
const TAGGED: &str = "SELECT resource_uuid FROM user_tag WHERE tag = $1 AND resource_type = 'HostVO'";

pub(super) async fn neighbours(
    tx: &mut Tx,
    group: Id<AffinityGroup>,
    vm: Option<Id<VmInstance>>,
) -> Result<HashMap<Id<Host>, i64>> {
    let found: Vec<(Id<Host>, i64)> = tx.all(NEIGHBOURS, args![group, vm]).await?;
    Ok(found.into_iter().collect())
}

/// The hosts that carry a user's tag.
pub(in crate::vm) async fn tagged_hosts(tx: &mut Tx, tag: &str) -> Result<HashSet<Id<Host>>> {
    let found: Vec<(Id<Host>,)> = tx.all(TAGGED, args![tag]).await?;
    Ok(found.into_iter().map(|(host,)| host).collect())
}

/// The hosts on which the VM stands.
pub(super) async fn stands(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Vec<Id<Host>>> {
    let found: Vec<(Id<Host>,)> = tx.all(STANDS, args![vm]).await?;
    Ok(found.into_iter().map(|(host,)| host).collect())
}
