use engine::db::{Tx, Value};
use engine::{Any, Id, Result, Stamp, args};

use super::{VmCdRom, VmCdRomInventory};
use crate::image::{Image, ImageInventory};
use crate::vm::{VmInstance, VmInstanceInventory};

const INSERT: &str = "INSERT INTO vm_cd_rom (uuid, vm_instance_uuid, device_id, name, description, iso_uuid, \
     create_date, last_op_date) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)";
const UPDATE: &str = "UPDATE vm_cd_rom SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM vm_cd_rom WHERE uuid = $1";
const NUMBER: &str = "UPDATE vm_cd_rom SET device_id = $2, last_op_date = $3 WHERE uuid = $1";
const OF_VM: &str = "SELECT * FROM vm_cd_rom WHERE vm_instance_uuid = $1 ORDER BY device_id, uuid";
const OF_VMS: &str = "SELECT * FROM vm_cd_rom WHERE vm_instance_uuid IN ($*) ORDER BY device_id, uuid";
const LOAD: &str =
    "UPDATE vm_cd_rom SET iso_uuid = $2, iso_install_path = $3, last_op_date = $4 WHERE uuid = $1";
const UNLOAD: &str =
    "UPDATE vm_cd_rom SET iso_uuid = NULL, iso_install_path = NULL, last_op_date = $2 WHERE uuid = $1";
const LIES: &str = "UPDATE vm_cd_rom SET iso_install_path = $3 WHERE vm_instance_uuid = $1 AND iso_uuid = $2";
const ISOS: &str = "SELECT i.* FROM image i WHERE i.media_type = 'ISO' AND i.state = 'Enabled' \
     AND i.status = 'Ready' AND NOT EXISTS (SELECT 1 FROM vm_cd_rom c \
        WHERE c.vm_instance_uuid = $1 AND c.iso_uuid = i.uuid) \
     AND EXISTS (SELECT 1 FROM image_backup_storage p JOIN backup_storage b ON b.uuid = p.backup_storage_uuid \
        JOIN backup_storage_zone z ON z.backup_storage_uuid = b.uuid \
        WHERE p.image_uuid = i.uuid AND p.status = 'Ready' AND b.status = 'Connected' AND z.zone_uuid = $2) \
     AND (CAST($3 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM account_resource_ref r \
        WHERE r.resource_uuid = i.uuid AND r.account_uuid = $3) \
        OR EXISTS (SELECT 1 FROM shared_resource s WHERE s.resource_uuid = i.uuid \
            AND (s.to_public OR s.receiver_account_uuid = $3))) ORDER BY i.name, i.uuid LIMIT 1000";
const VMS: &str = "SELECT m.* FROM vm_instance m WHERE m.state IN ('Running', 'Stopped') \
     AND EXISTS (SELECT 1 FROM vm_cd_rom c WHERE c.vm_instance_uuid = m.uuid AND c.iso_uuid IS NULL) \
     AND NOT EXISTS (SELECT 1 FROM vm_cd_rom c WHERE c.vm_instance_uuid = m.uuid AND c.iso_uuid = $1) \
     AND EXISTS (SELECT 1 FROM image_backup_storage p JOIN backup_storage b ON b.uuid = p.backup_storage_uuid \
        JOIN backup_storage_zone z ON z.backup_storage_uuid = b.uuid \
        WHERE p.image_uuid = $1 AND p.status = 'Ready' AND b.status = 'Connected' AND z.zone_uuid = m.zone_uuid) \
     AND (CAST($2 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM account_resource_ref r \
        WHERE r.resource_uuid = m.uuid AND r.account_uuid = $2)) ORDER BY m.name, m.uuid LIMIT 1000";

const LEFT: &str = "UPDATE vm_cd_rom SET iso_install_path = NULL \
     WHERE vm_instance_uuid = $1 AND iso_install_path IS NOT NULL";

/// The VM is on no host: where its ISOs lie is looked up when it starts.
pub(in crate::vm) async fn left(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    tx.exec(LEFT, args![vm]).await?;
    Ok(())
}

pub(super) async fn insert(
    tx: &mut Tx,
    uuid: Id<VmCdRom>,
    vm: Id<VmInstance>,
    device: i64,
    name: &str,
    description: Option<&str>,
    iso: Option<Id<Image>>,
) -> Result<()> {
    tx.exec(INSERT, args![uuid, vm, device, name, description, iso, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut Tx,
    uuid: Id<VmCdRom>,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<()> {
    tx.exec(UPDATE, args![uuid, name, description, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<VmCdRom>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}

/// It is the drive of this number from now on.
pub(super) async fn number(tx: &mut Tx, uuid: Id<VmCdRom>, device: i64) -> Result<()> {
    tx.exec(NUMBER, args![uuid, device, Stamp::now()]).await?;
    Ok(())
}

/// The drives of a VM, by their numbers.
pub(in crate::vm) async fn of_vm(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Vec<VmCdRomInventory>> {
    tx.all(OF_VM, args![vm]).await
}

pub(super) async fn of_vms(tx: &mut Tx, vms: Vec<Value>) -> Result<Vec<VmCdRomInventory>> {
    tx.all_of(OF_VMS, vms).await
}

/// The ISO lies in the drive from now on.
pub(super) async fn load(tx: &mut Tx, uuid: Id<VmCdRom>, iso: Id<Image>, path: &str) -> Result<()> {
    tx.exec(LOAD, args![uuid, iso, path, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn unload(tx: &mut Tx, uuid: Id<VmCdRom>) -> Result<()> {
    tx.exec(UNLOAD, args![uuid, Stamp::now()]).await?;
    Ok(())
}

/// The VM's ISO lies at this path of its host.
pub(super) async fn lies(tx: &mut Tx, vm: Id<VmInstance>, iso: Id<Image>, path: &str) -> Result<()> {
    tx.exec(LIES, args![vm, iso, path]).await?;
    Ok(())
}

/// ISOs, that `account` may use when one is named, that could lie in a drive of the VM and do not.
pub(super) async fn isos(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    account: Option<Id<Any>>,
) -> Result<Vec<ImageInventory>> {
    tx.all(ISOS, args![vm.uuid, vm.zone_uuid, account]).await
}

/// VMs, of `account` when one is named, that have an empty drive for the ISO.
pub(super) async fn vms(
    tx: &mut Tx,
    iso: Id<Image>,
    account: Option<Id<Any>>,
) -> Result<Vec<VmInstanceInventory>> {
    tx.all(VMS, args![iso, account]).await
}
