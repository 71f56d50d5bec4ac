use engine::db::Tx;
use engine::{Id, Result, Stamp, args};

use super::InstanceOffering;
use super::api::{CreateInstanceOffering, UpdateInstanceOffering};

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM instance_offering x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
const INSERT: &str = "INSERT INTO instance_offering (uuid, name, description, cpu_num, cpu_speed, \
     memory_size, reserved_memory_size, type, allocator_strategy, sort_key, state, create_date, \
     last_op_date) VALUES ($1, $2, $3, $4, 0, $5, $6, 'UserVm', $7, $8, 'Enabled', $9, $9)";
const UPDATE: &str = "UPDATE instance_offering SET name = coalesce($2, name), \
     description = coalesce($3, description), allocator_strategy = coalesce($4, allocator_strategy), \
     last_op_date = $5 WHERE uuid = $1";
const STATE: &str = "UPDATE instance_offering SET state = $2, last_op_date = $3 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM instance_offering WHERE uuid = $1";

pub(super) async fn insert(
    tx: &mut Tx,
    uuid: Id<InstanceOffering>,
    new: &CreateInstanceOffering,
) -> Result<()> {
    let mut row = args![uuid, &new.name, new.description.as_deref(), new.cpu_num, new.memory_size];
    row.extend(args![new.reserved_memory_size(), new.allocator_strategy(), new.sort_key()]);
    row.push(Stamp::now().into());
    tx.exec(INSERT, row).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, changed: &UpdateInstanceOffering) -> Result<()> {
    let (name, description) = (changed.name.as_deref(), changed.description.as_deref());
    let strategy = changed.allocator_strategy.as_deref();
    tx.exec(UPDATE, args![changed.uuid, name, description, strategy, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<InstanceOffering>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<InstanceOffering>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}
