use engine::db::{Tx, Value};
use engine::{Any, Id, Result, Stamp, args};

use super::create::{NewGroup, Part};
use super::{
    VolumeSnapshot, VolumeSnapshotGroup, VolumeSnapshotGroupRefInventory, VolumeSnapshotInventory,
    VolumeSnapshotTree,
};
use crate::vm::VmInstance;
use crate::volume::{Volume, VolumeInventory};

pub(super) const COUNT: &str = "SELECT count(*) FROM account_resource_ref r \
     WHERE r.account_uuid = $1 AND r.resource_type = 'VolumeSnapshotVO'";
pub(super) const OF_VOLUME: &str =
    "SELECT uuid, name, volume_uuid FROM volume_snapshot WHERE volume_uuid IN ($*)";
pub(super) const OF_ROOT: &str = "SELECT s.uuid, s.name, v.vm_instance_uuid FROM volume v \
     JOIN volume_snapshot s ON s.volume_uuid = v.uuid WHERE v.type = 'Root' AND v.vm_instance_uuid IN ($*)";
pub(super) const OF_GROUP: &str = "SELECT s.uuid, s.name, r.volume_snapshot_group_uuid \
     FROM volume_snapshot_group_ref r JOIN volume_snapshot s ON s.uuid = r.volume_snapshot_uuid \
     WHERE r.volume_snapshot_group_uuid IN ($*)";
pub(super) const GROUPS_OF: &str =
    "SELECT uuid, name, vm_instance_uuid FROM volume_snapshot_group WHERE vm_instance_uuid IN ($*)";
/// All that stand on these, however far above.
pub(super) const ABOVE: &str = "WITH RECURSIVE above (uuid, name, ground) AS ( \
     SELECT uuid, name, parent_uuid FROM volume_snapshot WHERE parent_uuid IN ($*) \
     UNION ALL SELECT s.uuid, s.name, a.ground FROM volume_snapshot s JOIN above a ON s.parent_uuid = a.uuid) \
     SELECT uuid, name, ground FROM above";
const ABOVE_ONE: &str = "WITH RECURSIVE above (uuid) AS ( \
     SELECT uuid FROM volume_snapshot WHERE parent_uuid = $1 \
     UNION ALL SELECT s.uuid FROM volume_snapshot s JOIN above a ON s.parent_uuid = a.uuid) \
     SELECT s.* FROM volume_snapshot_view s JOIN above a ON a.uuid = s.uuid ORDER BY s.distance, s.uuid";
const OF_TREES: &str =
    "SELECT * FROM volume_snapshot_view WHERE tree_uuid IN ($*) ORDER BY distance, create_date, uuid";
const REFS: &str =
    "SELECT * FROM volume_snapshot_group_ref WHERE volume_snapshot_group_uuid IN ($*) ORDER BY device_id";
const LEFT_OF: &str = "SELECT r.volume_snapshot_uuid FROM volume_snapshot_group_ref r \
     WHERE r.volume_snapshot_group_uuid = $1 AND NOT r.snapshot_deleted ORDER BY r.device_id";
const LATEST: &str = "SELECT s.* FROM volume_snapshot_view s JOIN volume_snapshot_tree t ON t.uuid = s.tree_uuid \
     WHERE s.volume_uuid = $1 AND t.current AND s.latest";
const UNSTEADY: &str =
    "SELECT * FROM volume_snapshot_view WHERE volume_uuid = $1 AND status <> 'Ready' LIMIT 1";
const ENTER_TREE: &str = "INSERT INTO volume_snapshot_tree (uuid, volume_uuid, current, status, create_date, \
     last_op_date) VALUES ($1, $2, FALSE, 'Completed', $3, $3)";
const ENTER: &str = "INSERT INTO volume_snapshot (uuid, name, description, type, volume_uuid, tree_uuid, \
     parent_uuid, primary_storage_uuid, host_uuid, primary_storage_install_path, volume_type, format, latest, \
     size, distance, state, status, create_date, last_op_date) \
     VALUES ($1, $2, $3, 'Hypervisor', $4, $5, $6, $7, $8, $9, $10, $11, FALSE, $12, $13, 'Enabled', \
     'Creating', $14, $14)";
const TAKEN: &str =
    "UPDATE volume_snapshot SET status = 'Ready', size = $2, last_op_date = $3 WHERE uuid = $1";
const SIZE: &str = "UPDATE volume_snapshot SET size = $2, last_op_date = $3 WHERE uuid = $1";
const STATUS: &str = "UPDATE volume_snapshot SET status = $2, last_op_date = $3 WHERE uuid = $1";
const NOT_LATEST: &str = "UPDATE volume_snapshot SET latest = FALSE WHERE volume_uuid = $1 AND latest";
const IS_LATEST: &str = "UPDATE volume_snapshot SET latest = TRUE WHERE uuid = $1";
const CURRENT: &str = "UPDATE volume_snapshot_tree SET current = (uuid = $2) WHERE volume_uuid = $1";
const FORGET: &str = "DELETE FROM volume_snapshot WHERE uuid = $1";
const SPARE: &str = "UPDATE volume SET spare_path = $2, last_op_date = $3 WHERE uuid = $1";
const GO_ON: &str =
    "UPDATE volume SET install_path = $2, spare_path = NULL, last_op_date = $3 WHERE uuid = $1";
const MOVE: &str = "UPDATE volume SET spare_path = install_path, install_path = $2, size = $3, \
     actual_size = $4, last_op_date = $5 WHERE uuid = $1";
const UPDATE: &str = "UPDATE volume_snapshot SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const ENTER_GROUP: &str = "INSERT INTO volume_snapshot_group (uuid, snapshot_count, name, description, \
     vm_instance_uuid, create_date, last_op_date) VALUES ($1, $2, $3, $4, $5, $6, $6)";
const ENTER_REF: &str = "INSERT INTO volume_snapshot_group_ref (volume_snapshot_uuid, \
     volume_snapshot_group_uuid, device_id, snapshot_deleted, volume_uuid, volume_name, volume_type, \
     volume_snapshot_install_path, volume_snapshot_name, create_date, last_op_date) \
     SELECT s.uuid, $2, coalesce(v.device_id, 0), FALSE, v.uuid, v.name, v.type, \
     s.primary_storage_install_path, s.name, $3, $3 FROM volume_snapshot s \
     JOIN volume v ON v.uuid = s.volume_uuid WHERE s.uuid = $1";
const UPDATE_GROUP: &str = "UPDATE volume_snapshot_group SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const DELETE_GROUP: &str = "DELETE FROM volume_snapshot_group WHERE uuid = $1";
const VOLUMES_OF: &str = "SELECT uuid, volume_uuid FROM volume_snapshot WHERE uuid IN ($*)";
const SIZES: &str = "SELECT uuid, size FROM volume_snapshot WHERE uuid IN ($*)";

pub(super) async fn of_trees(tx: &mut Tx, trees: Vec<Value>) -> Result<Vec<VolumeSnapshotInventory>> {
    tx.all_of(OF_TREES, trees).await
}

/// The snapshots of these groups, also those that are deleted.
pub(super) async fn refs(tx: &mut Tx, groups: Vec<Value>) -> Result<Vec<VolumeSnapshotGroupRefInventory>> {
    tx.all_of(REFS, groups).await
}

/// Those that are not deleted, in the order of their volumes.
pub(super) async fn left_of(tx: &mut Tx, group: Id<VolumeSnapshotGroup>) -> Result<Vec<Id<VolumeSnapshot>>> {
    let rows: Vec<(Id<VolumeSnapshot>,)> = tx.all(LEFT_OF, args![group]).await?;
    Ok(rows.into_iter().map(|(uuid,)| uuid).collect())
}

/// The snapshot that the volume stands on, if on any.
pub(super) async fn latest(tx: &mut Tx, volume: Id<Volume>) -> Result<Option<VolumeSnapshotInventory>> {
    tx.opt(LATEST, args![volume]).await
}

/// A snapshot of the volume that is on its way.
pub(super) async fn unsteady(tx: &mut Tx, volume: Id<Volume>) -> Result<Option<VolumeSnapshotInventory>> {
    tx.opt(UNSTEADY, args![volume]).await
}

/// All that stand on the snapshot, the lowest first.
pub(super) async fn above(tx: &mut Tx, id: Id<VolumeSnapshot>) -> Result<Vec<VolumeSnapshotInventory>> {
    tx.all(ABOVE_ONE, args![id]).await
}

/// Enters a snapshot that is about to be taken, on `parent` or on the ground of a new tree.
pub(super) async fn enter(
    tx: &mut Tx,
    part: &Part,
    volume: &VolumeInventory,
    parent: Option<&VolumeSnapshotInventory>,
) -> Result<()> {
    let now = Stamp::now();
    let tree = match parent {
        Some(parent) => parent.tree_uuid,
        None => {
            let tree: Id<VolumeSnapshotTree> = Id::derived(&[&part.uuid.to_string(), "tree"]);
            tx.exec(ENTER_TREE, args![tree, volume.uuid, now]).await?;
            tree
        }
    };
    let mut row = args![part.uuid, &part.name, part.description.as_deref(), volume.uuid, tree];
    row.extend(args![parent.map(|parent| parent.uuid), volume.primary_storage_uuid, volume.host_uuid]);
    row.extend(args![&part.from, &volume.r#type, &volume.format, volume.actual_size.unwrap_or(0)]);
    row.extend(args![parent.map_or(0, |parent| parent.distance + 1), now]);
    tx.exec(ENTER, row).await?;
    set_spare(tx, volume.uuid, Some(&part.to)).await
}

/// The snapshot is taken: the volume goes on upon it.
pub(super) async fn taken(tx: &mut Tx, part: &Part) -> Result<()> {
    tx.exec(TAKEN, args![part.uuid, part.size, Stamp::now()]).await?;
    tx.exec(GO_ON, args![part.volume, &part.to, Stamp::now()]).await?;
    let snapshot: VolumeSnapshotInventory = engine::inventory::find(tx, part.uuid).await?;
    set_latest(tx, &snapshot).await
}

/// The volume stands on this snapshot from now on.
pub(super) async fn set_latest(tx: &mut Tx, snapshot: &VolumeSnapshotInventory) -> Result<()> {
    tx.exec(NOT_LATEST, args![snapshot.volume_uuid]).await?;
    tx.exec(IS_LATEST, args![snapshot.uuid]).await?;
    tx.exec(CURRENT, args![snapshot.volume_uuid, snapshot.tree_uuid]).await?;
    Ok(())
}

/// The volume's file is this one from now on; the one before is its second.
pub(super) async fn move_to(tx: &mut Tx, volume: Id<Volume>, path: &str, size: (i64, i64)) -> Result<()> {
    tx.exec(MOVE, args![volume, path, size.0, size.1, Stamp::now()]).await?;
    Ok(())
}

/// Where the volume has a second file.
pub(super) async fn set_spare(tx: &mut Tx, volume: Id<Volume>, path: Option<&str>) -> Result<()> {
    tx.exec(SPARE, args![volume, path, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_size(tx: &mut Tx, id: Id<VolumeSnapshot>, size: i64) -> Result<()> {
    tx.exec(SIZE, args![id, size, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_status(tx: &mut Tx, id: Id<VolumeSnapshot>, status: &str) -> Result<()> {
    tx.exec(STATUS, args![id, status, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn forget_one(tx: &mut Tx, id: Id<VolumeSnapshot>) -> Result<()> {
    tx.exec(FORGET, args![id]).await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut Tx,
    id: Id<VolumeSnapshot>,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<()> {
    tx.exec(UPDATE, args![id, name, description, Stamp::now()]).await?;
    Ok(())
}

/// Enters a group of snapshots that were entered before.
pub(super) async fn enter_group(
    tx: &mut Tx,
    group: &NewGroup,
    vm: Id<VmInstance>,
    parts: &[Part],
) -> Result<()> {
    let (count, now) = (i64::try_from(parts.len()).unwrap_or(i64::MAX), Stamp::now());
    let row = args![group.uuid, count, &group.name, group.description.as_deref(), vm, now];
    tx.exec(ENTER_GROUP, row).await?;
    for part in parts {
        tx.exec(ENTER_REF, args![part.uuid, group.uuid, now]).await?;
    }
    Ok(())
}

pub(super) async fn update_group(
    tx: &mut Tx,
    id: Id<VolumeSnapshotGroup>,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<()> {
    tx.exec(UPDATE_GROUP, args![id, name, description, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn delete_group(tx: &mut Tx, id: Id<VolumeSnapshotGroup>) -> Result<()> {
    tx.exec(DELETE_GROUP, args![id]).await?;
    Ok(())
}

/// Of which volumes they are.
pub(super) async fn volumes_of(tx: &mut Tx, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, Id<Any>)>> {
    tx.all_of(VOLUMES_OF, ids.iter().map(|id| (*id).into()).collect()).await
}

pub(super) async fn sizes(tx: &mut Tx, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, i64)>> {
    tx.all_of(SIZES, ids.iter().map(|id| (*id).into()).collect()).await
}
