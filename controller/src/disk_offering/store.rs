use engine::db::Tx;
use engine::{Id, Result, Stamp, args};

use super::DiskOffering;
use super::api::{CreateDiskOffering, STRATEGY, TYPE, UpdateDiskOffering};

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM disk_offering x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
const INSERT: &str = "INSERT INTO disk_offering (uuid, name, description, disk_size, sort_key, state, type, \
     allocator_strategy, create_date, last_op_date) VALUES ($1, $2, $3, $4, $5, 'Enabled', $6, $7, $8, $8)";
const UPDATE: &str = "UPDATE disk_offering SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const STATE: &str = "UPDATE disk_offering SET state = $2, last_op_date = $3 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM disk_offering WHERE uuid = $1";

pub(super) async fn insert(tx: &mut Tx, uuid: Id<DiskOffering>, new: &CreateDiskOffering) -> Result<()> {
    let mut row = args![uuid, &new.name, new.description.as_deref(), new.disk_size];
    row.extend(args![new.sort_key.unwrap_or(0), TYPE, STRATEGY, Stamp::now()]);
    tx.exec(INSERT, row).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, changed: &UpdateDiskOffering) -> Result<()> {
    let (name, description) = (changed.name.as_deref(), changed.description.as_deref());
    tx.exec(UPDATE, args![changed.uuid, name, description, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<DiskOffering>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<DiskOffering>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}
