use engine::db::Tx;
use engine::{Any, Id, Result, Stamp, args, codes, quota};

use super::{CAPACITY, Volume, VolumeInventory};
use crate::host::Host;
use crate::primary_storage::PrimaryStorage;

pub(super) const DATA_VOLUMES: &str = "SELECT count(*) FROM account_resource_ref r \
     JOIN volume v ON v.uuid = r.resource_uuid \
     WHERE r.account_uuid = $1 AND r.resource_type = 'VolumeVO' AND v.type = 'Data' AND v.status <> 'Deleted'";
pub(super) const SIZES: &str = "SELECT CAST(coalesce(sum(v.size), 0) AS BIGINT) FROM account_resource_ref r \
     JOIN volume v ON v.uuid = r.resource_uuid WHERE r.account_uuid = $1 AND r.resource_type = 'VolumeVO'";
const INSERT: &str = "INSERT INTO volume (uuid, name, primary_storage_uuid, host_uuid, vm_instance_uuid, \
     root_image_uuid, install_path, type, format, size, device_id, state, status, is_shareable, \
     create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, 'Root', 'qcow2', $8, 0, 'Enabled', 'Creating', FALSE, $9, $9)";
const READY: &str = "UPDATE volume SET status = 'Ready', size = $2, actual_size = $3, last_op_date = $4 \
     WHERE uuid = $1";
const DELETE: &str = "DELETE FROM volume WHERE uuid = $1";
const ROOT: &str = "SELECT * FROM volume WHERE vm_instance_uuid = $1 AND type = 'Root'";

/// A root volume about to be made.
pub struct NewRoot<'a> {
    pub uuid: Id<Volume>,
    pub name: &'a str,
    pub vm: Id<Any>,
    pub storage: Id<PrimaryStorage>,
    pub host: Id<Host>,
    pub image: &'a str,
    pub install_path: &'a str,
    /// Bytes.
    pub size: i64,
}

/// Enters a root volume, which claims its size. The caller has seen that there is room in the same
/// transaction.
pub async fn claim_root(tx: &mut Tx, root: NewRoot<'_>) -> Result<()> {
    let mut row = args![root.uuid, format!("ROOT-for-{}", root.name), root.storage, root.host, root.vm];
    row.extend(args![root.image, root.install_path, root.size, Stamp::now()]);
    tx.exec(INSERT, row).await?;
    quota::check(tx, root.uuid, &[(&CAPACITY, root.size)]).await
}

pub async fn ready(tx: &mut Tx, volume: Id<Volume>, size: i64, actual_size: i64) -> Result<()> {
    tx.exec(READY, args![volume, size, actual_size, Stamp::now()]).await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx, volume: Id<Volume>) -> Result<()> {
    tx.exec(DELETE, args![volume]).await?;
    Ok(())
}

/// The root volume of a VM.
pub async fn root_of(tx: &mut Tx, vm: Id<Any>) -> Result<VolumeInventory> {
    let root = tx.opt(ROOT, args![vm]).await?;
    root.ok_or_else(|| codes::STATE.because(format!("vm {vm} has no root volume: it cannot start")))
}
