use engine::db::Tx;
use engine::{Any, Id, Result, args};

use crate::backup_storage::{BackupStorage, BackupStorageInventory};
use crate::image::{Image, ImageInventory};
use crate::l3::L3NetworkInventory;
use crate::zone::Zone;

/// `$2`: the account that asks, when it is not the administrator.
const IMAGES: &str = "SELECT i.* FROM image i WHERE i.state = 'Enabled' AND i.status = 'Ready' AND EXISTS ( \
        SELECT 1 FROM image_backup_storage c JOIN backup_storage_zone z \
        ON z.backup_storage_uuid = c.backup_storage_uuid \
        WHERE c.image_uuid = i.uuid AND c.status = 'Ready' AND z.zone_uuid = $1) \
     AND (CAST($2 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM account_resource_ref r \
        WHERE r.resource_uuid = i.uuid AND r.account_uuid = $2) \
        OR EXISTS (SELECT 1 FROM shared_resource s WHERE s.resource_uuid = i.uuid \
            AND (s.to_public OR s.receiver_account_uuid = $2))) ORDER BY i.name, i.uuid LIMIT 1000";
const NETWORKS: &str = "SELECT l.* FROM l3_network l WHERE l.zone_uuid = $1 AND l.state = 'Enabled' \
     AND NOT l.deleting AND (CAST($2 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM account_resource_ref r \
        WHERE r.resource_uuid = l.uuid AND r.account_uuid = $2) \
        OR EXISTS (SELECT 1 FROM shared_resource s WHERE s.resource_uuid = l.uuid \
            AND (s.to_public OR s.receiver_account_uuid = $2))) ORDER BY l.name, l.uuid LIMIT 1000";
const STORAGES: &str = "SELECT b.* FROM backup_storage b JOIN backup_storage_zone z \
     ON z.backup_storage_uuid = b.uuid WHERE z.zone_uuid = $1 AND b.state = 'Enabled' \
     AND b.status = 'Connected' AND NOT b.leaving ORDER BY b.name, b.uuid";
const HAS_IMAGE: &str = "SELECT count(*) FROM image_backup_storage c JOIN backup_storage_zone z \
     ON z.backup_storage_uuid = c.backup_storage_uuid \
     WHERE c.image_uuid = $1 AND c.status = 'Ready' AND z.zone_uuid = $2";
const IS_ATTACHED: &str =
    "SELECT count(*) FROM backup_storage_zone WHERE backup_storage_uuid = $1 AND zone_uuid = $2";

/// The images that can be used in the zone.
pub(super) async fn images(
    tx: &mut Tx,
    zone: Id<Zone>,
    account: Option<Id<Any>>,
) -> Result<Vec<ImageInventory>> {
    tx.all(IMAGES, args![zone, account]).await
}

pub(super) async fn networks(
    tx: &mut Tx,
    zone: Id<Zone>,
    account: Option<Id<Any>>,
) -> Result<Vec<L3NetworkInventory>> {
    tx.all(NETWORKS, args![zone, account]).await
}

/// The backup storages that the zone can put images on.
pub(super) async fn storages(tx: &mut Tx, zone: Id<Zone>) -> Result<Vec<BackupStorageInventory>> {
    tx.all(STORAGES, args![zone]).await
}

pub(super) async fn has_image(tx: &mut Tx, image: Id<Image>, zone: Id<Zone>) -> Result<bool> {
    Ok(tx.number(HAS_IMAGE, args![image, zone]).await? > 0)
}

pub(super) async fn is_attached(tx: &mut Tx, storage: Id<BackupStorage>, zone: Id<Zone>) -> Result<bool> {
    Ok(tx.number(IS_ATTACHED, args![storage, zone]).await? > 0)
}
