use engine::db::{Tx, Value};
use engine::{Id, Result, Stamp, args};

use super::add::Add;
use super::api::UpdateImage;
use super::{Image, ImageBackupStorageRefInventory, ImageCopy};
use crate::backup_storage::driver::Stored;
use crate::backup_storage::{BackupStorage, BackupStorageInventory};
use crate::zone::Zone;

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM image x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
pub(super) const NOT_DELETED: &str = "SELECT count(*) FROM account_resource_ref r \
     JOIN image i ON i.uuid = r.resource_uuid \
     WHERE r.account_uuid = $1 AND r.resource_type = 'ImageVO' AND i.status <> 'Deleted'";
pub(super) const SIZES: &str = "SELECT CAST(coalesce(sum(i.size), 0) AS BIGINT) FROM account_resource_ref r \
     JOIN image i ON i.uuid = r.resource_uuid \
     WHERE r.account_uuid = $1 AND r.resource_type = 'ImageVO' AND i.status <> 'Deleted'";
pub(super) const ONLY_THERE: &str = "SELECT i.uuid, i.name, c.backup_storage_uuid FROM image i \
     JOIN image_backup_storage c ON c.image_uuid = i.uuid WHERE c.backup_storage_uuid IN ($*) AND NOT EXISTS \
     (SELECT 1 FROM image_backup_storage o WHERE o.image_uuid = i.uuid AND o.uuid <> c.uuid)";
pub(super) const COPIES_ON: &str = "SELECT c.uuid, i.name, c.backup_storage_uuid FROM image_backup_storage c \
     JOIN image i ON i.uuid = c.image_uuid WHERE c.backup_storage_uuid IN ($*)";
pub(super) const COPIES_OF: &str = "SELECT c.uuid, i.name, c.image_uuid FROM image_backup_storage c \
     JOIN image i ON i.uuid = c.image_uuid WHERE c.image_uuid IN ($*)";
const INSERT: &str = "INSERT INTO image (uuid, name, description, state, status, size, actual_size, url, \
     media_type, guest_os_type, type, platform, architecture, format, system, virtio, create_date, \
     last_op_date) VALUES ($1, $2, $3, 'Enabled', 'Downloading', 0, 0, $4, $5, $6, 'zstack', $7, $8, $9, \
     $10, $11, $12, $12)";
const INSERT_COPY: &str = "INSERT INTO image_backup_storage (uuid, image_uuid, backup_storage_uuid, \
     install_path, status, leaving, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, 'Downloading', FALSE, $5, $5)";
const READY: &str = "UPDATE image SET status = 'Ready', size = $2, actual_size = $3, md5_sum = $4, \
     sha256 = $5, format = $6, last_op_date = $7 WHERE uuid = $1";
const COPY_READY: &str = "UPDATE image_backup_storage SET status = 'Ready', install_path = $3, \
     last_op_date = $4 WHERE image_uuid = $1 AND backup_storage_uuid = $2 AND NOT leaving";
const UPDATE: &str = "UPDATE image SET name = coalesce($2, name), description = coalesce($3, description), \
     guest_os_type = coalesce($4, guest_os_type), media_type = coalesce($5, media_type), \
     system = coalesce($6, system), platform = coalesce($7, platform), \
     architecture = coalesce($8, architecture), virtio = coalesce($9, virtio), last_op_date = $10 \
     WHERE uuid = $1";
const STATE: &str = "UPDATE image SET state = $2, last_op_date = $3 WHERE uuid = $1";
const RESIZE: &str = "UPDATE image SET size = $2, actual_size = $3, last_op_date = $4 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM image WHERE uuid = $1";
const REFS: &str = "SELECT image_uuid, backup_storage_uuid, install_path, status, create_date, last_op_date \
     FROM image_backup_storage WHERE image_uuid IN ($*) ORDER BY create_date, uuid";
const COPIES: &str = "SELECT uuid, image_uuid, backup_storage_uuid, status FROM image_backup_storage \
     WHERE image_uuid = $1 ORDER BY create_date, uuid";
const COPY: &str = "SELECT uuid, image_uuid, backup_storage_uuid, status FROM image_backup_storage \
     WHERE uuid = $1";
const LEAVING: &str = "UPDATE image_backup_storage SET leaving = $2 WHERE uuid = $1";
const DELETE_COPY: &str = "DELETE FROM image_backup_storage WHERE uuid = $1";
const HUSK: &str = "SELECT count(*) FROM image i WHERE i.uuid = $1 AND i.status <> 'Downloading' \
     AND NOT EXISTS (SELECT 1 FROM image_backup_storage c WHERE c.image_uuid = i.uuid)";
const TRASH_COPY: &str = "UPDATE image_backup_storage SET status = 'Deleted', last_op_date = $2 \
     WHERE uuid = $1 AND status = 'Ready'";
const TRASH: &str = "UPDATE image SET status = 'Deleted', last_op_date = $2 WHERE uuid = $1 \
     AND status = 'Ready' AND NOT EXISTS (SELECT 1 FROM image_backup_storage c \
     WHERE c.image_uuid = image.uuid AND c.status <> 'Deleted')";
const RECOVER_COPY: &str = "UPDATE image_backup_storage SET status = 'Ready', last_op_date = $2 \
     WHERE uuid = $1 AND status = 'Deleted' AND NOT leaving";
const RECOVER: &str = "UPDATE image SET status = 'Ready', last_op_date = $2 WHERE uuid = $1 \
     AND status = 'Deleted'";
/// A storage that is lost cannot delete; its images wait for it.
const OVERDUE: &str = "SELECT c.image_uuid, i.name, c.uuid FROM image_backup_storage c \
     JOIN image i ON i.uuid = c.image_uuid JOIN backup_storage b ON b.uuid = c.backup_storage_uuid \
     WHERE c.status = 'Deleted' AND c.last_op_date < $1 AND b.status = 'Connected'";
const PLACES: &str = "SELECT b.* FROM backup_storage b \
     JOIN image_backup_storage c ON c.backup_storage_uuid = b.uuid \
     WHERE c.image_uuid = $1 AND c.status = 'Ready' AND NOT c.leaving AND NOT b.leaving \
     AND (CAST($2 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM backup_storage_zone z \
     WHERE z.backup_storage_uuid = b.uuid AND z.zone_uuid = $2)) ORDER BY b.create_date, b.uuid";

/// One copy as the work on it needs it.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct CopyRow {
    pub uuid: Id<ImageCopy>,
    pub image_uuid: Id<Image>,
    pub backup_storage_uuid: Id<BackupStorage>,
    pub status: String,
}

/// A copy is named by what it is a copy of, and where.
pub(super) fn copy_id(image: Id<Image>, storage: Id<BackupStorage>) -> Id<ImageCopy> {
    Id::derived(&["image copy", &image.to_string(), &storage.to_string()])
}

pub(super) async fn insert(tx: &mut Tx, new: &Add) -> Result<()> {
    let url = super::media::shown(&new.url);
    let mut row = args![new.uuid, &new.name, new.description.as_deref(), url, new.media_type.name()];
    row.extend(args![new.guest_os_type.as_deref(), &new.platform, &new.architecture]);
    row.extend(args![new.format.map(|format| format.name()), new.system, new.virtio, Stamp::now()]);
    tx.exec(INSERT, row).await?;
    Ok(())
}

pub(super) async fn insert_copy(
    tx: &mut Tx,
    image: Id<Image>,
    storage: Id<BackupStorage>,
    path: &str,
) -> Result<()> {
    let row = args![copy_id(image, storage), image, storage, path, Stamp::now()];
    tx.exec(INSERT_COPY, row).await?;
    Ok(())
}

pub(super) async fn ready(tx: &mut Tx, uuid: Id<Image>, found: &Stored) -> Result<()> {
    let mut row = args![uuid, found.size, found.actual_size, &found.md5_sum, &found.sha256];
    row.extend(args![&found.format, Stamp::now()]);
    tx.exec(READY, row).await?;
    Ok(())
}

/// False when the copy is gone or going.
pub(super) async fn copy_ready(
    tx: &mut Tx,
    image: Id<Image>,
    storage: Id<BackupStorage>,
    path: &str,
) -> Result<bool> {
    Ok(tx.exec(COPY_READY, args![image, storage, path, Stamp::now()]).await? == 1)
}

pub(super) async fn update(tx: &mut Tx, changed: &UpdateImage) -> Result<()> {
    let (name, description) = (changed.name.as_deref(), changed.description.as_deref());
    let mut row = args![changed.uuid, name, description, changed.guest_os_type.as_deref()];
    row.extend(args![changed.media_type.map(|media| media.name()), changed.system]);
    row.extend(args![changed.platform.map(|platform| platform.name())]);
    row.extend(args![changed.architecture.map(|a| a.name()), changed.virtio, Stamp::now()]);
    tx.exec(UPDATE, row).await?;
    Ok(())
}

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<Image>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn resize(tx: &mut Tx, uuid: Id<Image>, size: i64, actual_size: i64) -> Result<()> {
    tx.exec(RESIZE, args![uuid, size, actual_size, Stamp::now()]).await?;
    Ok(())
}

/// Whether there was one.
pub(super) async fn delete(tx: &mut Tx, uuid: Id<Image>) -> Result<bool> {
    Ok(tx.exec(DELETE, args![uuid]).await? == 1)
}

/// The copies of each of these images, as the API shows them.
pub(super) async fn refs(tx: &mut Tx, images: Vec<Value>) -> Result<Vec<ImageBackupStorageRefInventory>> {
    tx.all_of(REFS, images).await
}

pub(super) async fn copies(tx: &mut Tx, image: Id<Image>) -> Result<Vec<CopyRow>> {
    tx.all(COPIES, args![image]).await
}

pub(super) async fn copy(tx: &mut Tx, copy: Id<ImageCopy>) -> Result<Option<CopyRow>> {
    tx.opt(COPY, args![copy]).await
}

pub(super) async fn set_leaving(tx: &mut Tx, copy: Id<ImageCopy>, leaving: bool) -> Result<()> {
    tx.exec(LEAVING, args![copy, leaving]).await?;
    Ok(())
}

pub(super) async fn delete_copy(tx: &mut Tx, copy: Id<ImageCopy>) -> Result<()> {
    tx.exec(DELETE_COPY, args![copy]).await?;
    Ok(())
}

/// Whether the image has no copy left and none is on its way.
pub(super) async fn is_husk(tx: &mut Tx, image: Id<Image>) -> Result<bool> {
    Ok(tx.number(HUSK, args![image]).await? == 1)
}

/// Marks copies as deleted, and the image with its last one; whether anything changed.
pub(super) async fn trash(tx: &mut Tx, image: Id<Image>, copies: &[CopyRow]) -> Result<bool> {
    let mut changed = 0;
    for copy in copies {
        changed += tx.exec(TRASH_COPY, args![copy.uuid, Stamp::now()]).await?;
    }
    tx.exec(TRASH, args![image, Stamp::now()]).await?;
    Ok(changed > 0)
}

/// Takes the marks away; false when there was none to take.
pub(super) async fn recover(tx: &mut Tx, image: Id<Image>, copies: &[CopyRow]) -> Result<bool> {
    let mut changed = 0;
    for copy in copies {
        changed += tx.exec(RECOVER_COPY, args![copy.uuid, Stamp::now()]).await?;
    }
    if changed > 0 {
        tx.exec(RECOVER, args![image, Stamp::now()]).await?;
    }
    Ok(changed > 0)
}

/// Copies that were deleted before `limit` and can be expunged now.
pub(super) async fn overdue(tx: &mut Tx, limit: Stamp) -> Result<Vec<(Id<Image>, String, Id<ImageCopy>)>> {
    tx.all(OVERDUE, args![limit]).await
}

/// The storages that have a usable copy, in this zone when one is named.
pub(super) async fn places(
    tx: &mut Tx,
    image: Id<Image>,
    zone: Option<Id<Zone>>,
) -> Result<Vec<BackupStorageInventory>> {
    tx.all(PLACES, args![image, zone]).await
}
