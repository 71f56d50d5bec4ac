use engine::db::{Tx, Value};
use engine::inventory::find;
use engine::{Id, Result, Stamp, args, codes};
use wire::tls::Role;

use super::add::Add;
use super::driver::Space;
use super::{BackupStorage, BackupStorageInventory};
use crate::machine;
use crate::zone::Zone;

const INSERT: &str = "INSERT INTO backup_storage (uuid, name, description, url, hostname, username, ssh_port, \
     type, state, status, total_capacity, available_capacity, leaving, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'Enabled', 'Connecting', 0, 0, FALSE, $9, $9)";
const TAKEN: &str = "SELECT name FROM backup_storage WHERE hostname = $1 AND uuid <> $2";
const STATUS: &str = "UPDATE backup_storage SET status = $2, total_capacity = coalesce($3, total_capacity), \
     available_capacity = coalesce($4, available_capacity), last_op_date = $5 WHERE uuid = $1";
/// Only as it was seen: what a ping finds is older than what was done meanwhile.
const NOTE: &str = "UPDATE backup_storage SET status = $2, total_capacity = coalesce($3, total_capacity), \
     available_capacity = coalesce($4, available_capacity), \
     last_op_date = CASE WHEN status = $2 THEN last_op_date ELSE $5 END \
     WHERE uuid = $1 AND status = $6 AND last_op_date = $7";
const PINGED: &str = "SELECT * FROM backup_storage WHERE status <> 'Connecting'";
const CONNECTED: &str =
    "SELECT * FROM backup_storage WHERE status = 'Connected' AND NOT leaving ORDER BY uuid";
const STATE: &str = "UPDATE backup_storage SET state = $2, last_op_date = $3 WHERE uuid = $1";
const UPDATE: &str = "UPDATE backup_storage SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const MOVE: &str = "UPDATE backup_storage SET hostname = coalesce($2, hostname), \
     username = coalesce($3, username), ssh_port = coalesce($4, ssh_port) WHERE uuid = $1";
const LEAVING: &str = "UPDATE backup_storage SET leaving = $2 WHERE uuid = $1";
const IS_LEAVING: &str = "SELECT leaving FROM backup_storage WHERE uuid = $1";
const MACHINE: &str = "UPDATE backup_storage SET machine_uuid = $2 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM backup_storage WHERE uuid = $1";
const ZONES: &str = "SELECT backup_storage_uuid, zone_uuid FROM backup_storage_zone \
     WHERE backup_storage_uuid IN ($*) ORDER BY zone_uuid";
const ATTACH: &str = "INSERT INTO backup_storage_zone (backup_storage_uuid, zone_uuid) VALUES ($1, $2) \
     ON CONFLICT (backup_storage_uuid, zone_uuid) DO NOTHING";
const DETACH: &str = "DELETE FROM backup_storage_zone WHERE backup_storage_uuid = $1 AND zone_uuid = $2";

pub(super) async fn insert(tx: &mut Tx, new: &Add) -> Result<()> {
    free(tx, &new.hostname, new.uuid).await?;
    let mut row = args![new.uuid, &new.name, new.description.as_deref(), &new.url, &new.hostname];
    row.extend(args![&new.username, new.ssh_port, &new.r#type, Stamp::now()]);
    tx.exec(INSERT, row).await?;
    Ok(())
}

/// Finds out which machine it is on, and remembers it.
pub(super) async fn identify(tx: &mut Tx, uuid: Id<BackupStorage>) -> Result<()> {
    let storage: BackupStorageInventory = find(tx, uuid).await?;
    let machine = machine::at(tx, &storage.hostname, Role::Storage).await?;
    tx.exec(MACHINE, args![uuid, machine]).await?;
    Ok(())
}

/// Refuses a hostname that another storage has.
async fn free(tx: &mut Tx, hostname: &str, uuid: Id<BackupStorage>) -> Result<()> {
    match tx.opt::<(String,)>(TAKEN, args![hostname, uuid]).await? {
        None => Ok(()),
        Some((name,)) => Err(codes::INVALID_ARGUMENT.because(format!(
            "backup storage \"{name}\" has the hostname \"{hostname}\" already: a machine can be only one"
        ))),
    }
}

pub(super) async fn set_status(
    tx: &mut Tx,
    uuid: Id<BackupStorage>,
    status: &str,
    space: Space,
) -> Result<()> {
    tx.exec(STATUS, args![uuid, status, space.total, space.available, Stamp::now()]).await?;
    Ok(())
}

/// Whether it was still as it was `seen`.
pub(super) async fn note(
    tx: &mut Tx,
    seen: &BackupStorageInventory,
    status: &str,
    space: Space,
) -> Result<bool> {
    let mut row = args![seen.uuid, status, space.total, space.available, Stamp::now()];
    row.extend(args![&seen.status, seen.last_op_date]);
    Ok(tx.exec(NOTE, row).await? == 1)
}

pub(super) async fn pinged(tx: &mut Tx) -> Result<Vec<BackupStorageInventory>> {
    tx.all(PINGED, args![]).await
}

/// The storages that answer and stay.
pub async fn connected(tx: &mut Tx) -> Result<Vec<BackupStorageInventory>> {
    tx.all(CONNECTED, args![]).await
}

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<BackupStorage>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut Tx,
    uuid: Id<BackupStorage>,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<()> {
    tx.exec(UPDATE, args![uuid, name, description, Stamp::now()]).await?;
    Ok(())
}

/// Says where the storage is from now on.
pub(super) async fn relocate(
    tx: &mut Tx,
    uuid: Id<BackupStorage>,
    hostname: Option<&str>,
    username: Option<&str>,
    ssh_port: Option<i64>,
) -> Result<()> {
    if let Some(hostname) = hostname {
        free(tx, hostname, uuid).await?;
    }
    tx.exec(MOVE, args![uuid, hostname, username, ssh_port]).await?;
    Ok(())
}

pub(super) async fn set_leaving(tx: &mut Tx, uuid: Id<BackupStorage>, leaving: bool) -> Result<()> {
    tx.exec(LEAVING, args![uuid, leaving]).await?;
    Ok(())
}

/// Whether the storage is being deleted, or gone.
pub async fn is_leaving(tx: &mut Tx, uuid: Id<BackupStorage>) -> Result<bool> {
    Ok(tx.opt::<(bool,)>(IS_LEAVING, args![uuid]).await?.is_none_or(|(leaving,)| leaving))
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<BackupStorage>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}

/// The zones of each of these storages.
pub(super) async fn zones(tx: &mut Tx, storages: Vec<Value>) -> Result<Vec<(String, String)>> {
    tx.all_of(ZONES, storages).await
}

/// False when it is attached already.
pub(super) async fn attach(tx: &mut Tx, storage: Id<BackupStorage>, zone: Id<Zone>) -> Result<bool> {
    Ok(tx.exec(ATTACH, args![storage, zone]).await? == 1)
}

/// False when it is not attached.
pub(super) async fn detach(tx: &mut Tx, storage: Id<BackupStorage>, zone: Id<Zone>) -> Result<bool> {
    Ok(tx.exec(DETACH, args![storage, zone]).await? == 1)
}

/// A storage that new images may be brought to, or why not.
pub async fn takes_images(tx: &mut Tx, uuid: Id<BackupStorage>) -> Result<BackupStorageInventory> {
    let storage: BackupStorageInventory = find(tx, uuid).await?;
    let refuse = |why: &str| {
        Err(codes::STATE.because(format!("backup storage \"{}\" takes no images: {why}", storage.name)))
    };
    if is_leaving(tx, uuid).await? {
        return refuse("it is being deleted");
    }
    if storage.state != "Enabled" {
        return refuse("it is disabled; enable it first");
    }
    if !storage.is_connected() {
        return refuse(&format!("it is {}; reconnect it first", storage.status));
    }
    if zones(tx, args![uuid]).await?.is_empty() {
        return refuse("it is attached to no zone; attach it to one first");
    }
    Ok(storage)
}
