use std::collections::HashSet;

use engine::db::{Tx, Value};
use engine::inventory::find;
use engine::{Any, Id, Result, Stamp, args};
use serde_json::json;
use wire::agent::Owned;

use super::kind::{self, Kind};
use super::place::Place;
use super::{Consent, Finding, FindingInventory, SETTLE};

// What belongs where. `$*` are the place, and the names and marks of what is there.

pub(super) const VMS: &str = "SELECT uuid FROM vm_instance WHERE uuid IN ($*) AND state <> 'Destroyed'";
pub(super) const VMS_HERE: &str = "SELECT v.uuid FROM vm_instance v \
     LEFT JOIN volume r ON r.uuid = v.root_volume_uuid WHERE v.uuid IN ($*) AND (v.host_uuid IN ($*) \
     OR (v.host_uuid IS NULL AND (r.host_uuid IS NULL OR r.host_uuid IN ($*))))";
/// A VM that a flow works on may be anywhere, and one that stopped by itself has left its seed where it ran.
pub(super) const SEEDS: &str = "SELECT v.uuid FROM vm_instance v LEFT JOIN ownership o ON o.resource = v.uuid \
     WHERE v.uuid IN ($*) AND v.state <> 'Destroyed' AND (o.flow IS NOT NULL OR v.host_uuid IN ($*) \
     OR (v.host_uuid IS NULL AND v.last_host_uuid IN ($*)))";
/// A VM that a flow works on may be anywhere.
pub(super) const TAPS: &str = "SELECT n.internal_name FROM vm_nic n \
     JOIN vm_instance v ON v.uuid = n.vm_instance_uuid LEFT JOIN volume r ON r.uuid = v.root_volume_uuid \
     LEFT JOIN ownership o ON o.resource = v.uuid WHERE n.internal_name IN ($*) AND (o.flow IS NOT NULL \
     OR v.host_uuid IN ($*) \
     OR (v.host_uuid IS NULL AND (r.host_uuid IS NULL OR r.host_uuid IN ($*))))";
pub(super) const BRIDGES: &str = "SELECT c.l2_network_uuid FROM l2_network_cluster c \
     JOIN host h ON h.cluster_uuid = c.cluster_uuid WHERE h.uuid IN ($*) AND c.l2_network_uuid IN ($*)";
/// By the uuid too: paths may be written in several ways.
pub(super) const VOLUMES: &str = "SELECT uuid FROM volume WHERE uuid IN ($*) \
     UNION ALL SELECT install_path FROM volume WHERE install_path IN ($*) \
     UNION ALL SELECT spare_path FROM volume WHERE spare_path IN ($*) \
     UNION ALL SELECT install_path FROM volume_copy WHERE install_path IN ($*) \
     UNION ALL SELECT uuid FROM volume_snapshot WHERE uuid IN ($*) \
     UNION ALL SELECT primary_storage_install_path FROM volume_snapshot \
     WHERE primary_storage_install_path IN ($*)";
/// The next VM of an image that is not recorded as cached uses it, and records it.
pub(super) const CACHED: &str = "SELECT uuid FROM image WHERE uuid IN ($*) \
     UNION ALL SELECT install_path FROM image_cache WHERE (host_uuid IS NULL OR host_uuid IN ($*)) AND install_path IN ($*)";
/// Also on the hosts with which it has a storage in common.
pub(super) const VMS_AT_WORK: &str = "SELECT count(*) FROM vm_instance v \
     JOIN ownership o ON o.resource = v.uuid WHERE o.flow IS NOT NULL AND (v.host_uuid = $1 \
     OR v.host_uuid IN (SELECT b.host_uuid FROM primary_storage_host a JOIN primary_storage p \
         ON p.uuid = a.primary_storage_uuid AND p.shared JOIN primary_storage_host b \
         ON b.primary_storage_uuid = p.uuid WHERE a.host_uuid = $1))";
pub(super) const NETWORKS: &str = "SELECT l3_network_uuid FROM l3_network_host \
     WHERE l3_network_uuid IN ($*) AND host_uuid IN ($*)";
pub(super) const MACS: &str = "SELECT n.mac FROM vm_nic n JOIN vm_instance v ON v.uuid = n.vm_instance_uuid \
     LEFT JOIN host_claim k ON k.vm_instance_uuid = v.uuid LEFT JOIN ownership o ON o.resource = v.uuid \
     WHERE n.mac IN ($*) AND (o.flow IS NOT NULL OR coalesce(v.host_uuid, k.host_uuid) IN ($*))";
pub(super) const IMAGES: &str = "SELECT image_uuid FROM image_backup_storage \
     WHERE image_uuid IN ($*) AND backup_storage_uuid IN ($*)";

// What live flows work on.

const MOVING: &str = "SELECT resource FROM ownership WHERE flow IS NOT NULL AND resource IN ($*)";

// Findings.

/// What was over begins anew.
const SEEN: &str = "INSERT INTO finding (uuid, kind, host_uuid, backup_storage_uuid, agent, name, mark, \
     owner_uuid, detail, repairable, consent, state, first_seen, last_seen, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'Suspected', $12, $12, $12) \
     ON CONFLICT (uuid) DO UPDATE SET detail = excluded.detail, repairable = excluded.repairable, \
     mark = excluded.mark, owner_uuid = excluded.owner_uuid, \
     consent = excluded.consent, last_seen = excluded.last_seen, \
     first_seen = CASE WHEN finding.state IN ('Repaired', 'Gone') THEN excluded.first_seen \
         ELSE finding.first_seen END, \
     error = CASE WHEN finding.state IN ('Repaired', 'Gone') THEN NULL ELSE finding.error END, \
     last_op_date = CASE WHEN finding.state IN ('Repaired', 'Gone') THEN excluded.last_op_date \
         ELSE finding.last_op_date END, \
     state = CASE WHEN finding.state IN ('Repaired', 'Gone') THEN 'Suspected' ELSE finding.state END";
const OPEN: &str = "UPDATE finding SET state = 'Open', last_op_date = $2 \
     WHERE uuid = $1 AND state = 'Suspected' AND first_seen <= $3";
const GONE: &str = "UPDATE finding SET state = 'Gone', last_op_date = $2 WHERE uuid = $1 AND state = 'Open'";
const UNSUSPECT: &str = "DELETE FROM finding WHERE uuid = $1 AND state = 'Suspected'";
const REPAIRED: &str =
    "UPDATE finding SET state = 'Repaired', error = NULL, last_op_date = $2 WHERE uuid = $1";
const TRIED: &str = "UPDATE finding SET error = $2, last_op_date = $3 WHERE uuid = $1";
const IGNORE: &str = "UPDATE finding SET state = 'Ignored', last_op_date = $2 \
     WHERE uuid = $1 AND state IN ('Suspected', 'Open', 'Ignored')";
const STANDING: &str = "SELECT * FROM finding WHERE coalesce(host_uuid, backup_storage_uuid) = $1 \
     AND state IN ('Suspected', 'Open')";
const RIPE: &str = "SELECT * FROM finding WHERE coalesce(host_uuid, backup_storage_uuid) = $1 \
     AND state = 'Open' AND repairable AND consent = 'repair' AND last_seen >= $2 ORDER BY first_seen, uuid";
const TOLD: &str = "SELECT * FROM finding WHERE (CAST($1 AS TEXT) IS NULL OR host_uuid = $1) \
     AND (state IN ('Suspected', 'Open', 'Ignored') OR last_op_date >= $2) ORDER BY first_seen, uuid";
const EXPIRE: &str = "DELETE FROM finding WHERE state IN ('Repaired', 'Gone') AND last_op_date < $1";

/// Something that is not as the records say.
#[derive(Clone)]
pub(super) struct Drift {
    pub kind: &'static Kind,
    pub thing: Owned,
    /// More than the kind says.
    pub detail: Option<String>,
    /// One look was enough.
    pub certain: bool,
}

impl Drift {
    pub fn id(&self, place: &Place) -> Id<Finding> {
        Id::derived(&["finding", &place.uuid().to_string(), self.kind.name, &self.thing.name])
    }
}

/// Those of `resources` that a live flow works on, also one that is parked.
pub(super) async fn moving(tx: &mut Tx, resources: Vec<Value>) -> Result<HashSet<Id<Any>>> {
    const TOGETHER: usize = 5000;
    let mut moving = HashSet::new();
    for some in resources.chunks(TOGETHER) {
        let rows: Vec<(Id<Any>,)> = tx.all_of(MOVING, some.to_vec()).await?;
        moving.extend(rows.into_iter().map(|row| row.0));
    }
    Ok(moving)
}

/// Enters what a pass has seen. What was seen before, long enough ago, is told.
pub(super) async fn seen(tx: &mut Tx, place: &Place, drift: &Drift, consent: Consent) -> Result<()> {
    let (kind, thing, now) = (drift.kind, &drift.thing, Stamp::now());
    let (host, storage) = match place {
        Place::Host(host) => (Some(host.uuid), None),
        Place::Storage(storage) => (None, Some(storage.uuid)),
    };
    let detail = drift.detail.clone().unwrap_or_else(|| kind.detail(thing));
    let uuid = drift.id(place);
    let mut row = args![uuid, kind.name, host, storage, kind.program.name(), &thing.name];
    row.extend(args![thing.resource.as_deref(), kind::owner(thing), &detail]);
    row.extend(args![kind.hopeless(thing).is_none(), consent.to_string(), now]);
    tx.exec(SEEN, row).await?;
    let settle = i64::try_from(tx.engine().setting(&SETTLE).as_micros()).unwrap_or(i64::MAX);
    let limit = if drift.certain { now } else { Stamp(now.0.saturating_sub(settle)) };
    match tx.exec(OPEN, args![uuid, now, limit]).await? {
        0 => Ok(()),
        _ => tell(tx, "/sweep/found", uuid).await,
    }
}

/// It is not so any more. A mere suspicion leaves no trace.
pub(super) async fn is_gone(tx: &mut Tx, finding: Id<Finding>) -> Result<()> {
    tx.exec(UNSUSPECT, args![finding]).await?;
    match tx.exec(GONE, args![finding, Stamp::now()]).await? {
        0 => Ok(()),
        _ => tell(tx, "/sweep/gone", finding).await,
    }
}

/// A suspicion that cannot be followed up: it must arise anew.
pub(super) async fn unsuspect(tx: &mut Tx, finding: Id<Finding>) -> Result<()> {
    tx.exec(UNSUSPECT, args![finding]).await?;
    Ok(())
}

pub(super) async fn is_repaired(tx: &mut Tx, finding: Id<Finding>) -> Result<()> {
    tx.exec(REPAIRED, args![finding, Stamp::now()]).await?;
    tell(tx, "/sweep/repaired", finding).await
}

/// A repair failed.
pub(super) async fn tried(tx: &mut Tx, finding: Id<Finding>, error: &str) -> Result<()> {
    tx.exec(TRIED, args![finding, error, Stamp::now()]).await?;
    Ok(())
}

/// Whether it could be.
pub(super) async fn ignore(tx: &mut Tx, finding: Id<Finding>) -> Result<bool> {
    Ok(tx.exec(IGNORE, args![finding, Stamp::now()]).await? == 1)
}

/// What is suspected or open at the place.
pub(super) async fn standing(tx: &mut Tx, place: Id<Any>) -> Result<Vec<FindingInventory>> {
    tx.all(STANDING, args![place]).await
}

/// What may be repaired at the place without asking, of what was seen since `begun`.
pub(super) async fn ripe(tx: &mut Tx, place: Id<Any>, begun: Stamp) -> Result<Vec<FindingInventory>> {
    tx.all(RIPE, args![place, begun]).await
}

/// What stands, and what has changed since `begun`; of one host when it is named.
pub(super) async fn told(
    tx: &mut Tx,
    host: Option<Id<crate::host::Host>>,
    begun: Stamp,
) -> Result<Vec<FindingInventory>> {
    tx.all(TOLD, args![host, begun]).await
}

/// Forgets what has been over for long.
pub(super) async fn expire(tx: &mut Tx, limit: Stamp) -> Result<()> {
    tx.exec(EXPIRE, args![limit]).await?;
    Ok(())
}

async fn tell(tx: &mut Tx, event: &'static str, uuid: Id<Finding>) -> Result<()> {
    let finding: FindingInventory = find(tx, uuid).await?;
    tracing::info!(event, kind = finding.kind, name = finding.name, detail = finding.detail, "sweep");
    let payload = json!({
        "kind": finding.kind, "hostUuid": finding.host_uuid, "backupStorageUuid": finding.backup_storage_uuid,
        "name": finding.name, "ownerUuid": finding.owner_uuid, "detail": finding.detail,
    });
    tx.emit(event, uuid.cast(), payload).await
}
