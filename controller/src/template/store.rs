use engine::db::Tx;
use engine::{Id, Result, args, codes};

use crate::backup_storage::BackupStorage;
use crate::zone::{Zone, ZoneInventory};

const ROOMIEST: &str = "SELECT b.uuid FROM backup_storage b \
     JOIN backup_storage_zone z ON z.backup_storage_uuid = b.uuid WHERE z.zone_uuid = $1 \
     AND b.state = 'Enabled' AND b.status = 'Connected' AND NOT b.leaving \
     ORDER BY b.available_capacity DESC, b.uuid LIMIT 1";

/// The backup storage of the zone that has the most room.
pub(super) async fn roomiest(tx: &mut Tx, zone: Id<Zone>) -> Result<Id<BackupStorage>> {
    if let Some((storage,)) = tx.opt(ROOMIEST, args![zone]).await? {
        return Ok(storage);
    }
    let zone: ZoneInventory = engine::inventory::find(tx, zone).await?;
    let details = format!("zone \"{}\" has no backup storage that is connected: attach one to it", zone.name);
    Err(codes::STATE.because(details))
}
