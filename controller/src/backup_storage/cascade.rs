use engine::boxed;
use engine::cascade::{How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result};
use serde_json::json;

use super::{BackupStorageInventory, add, store};

pub(super) struct BackupStorageKind;

/// Its images are deleted before it; its directory is free again afterwards. A storage that is not
/// connected cannot be told and keeps its mark.
#[boxed]
impl Kind for BackupStorageKind {
    fn name(&self) -> &'static str {
        "BackupStorage"
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::set_leaving(tx, id.cast(), true).await
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::set_leaving(tx, id.cast(), false).await
    }

    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let storage: BackupStorageInventory = find(&mut cx.read().await?, id).await?;
        match storage.status.as_str() {
            "Connected" => add::disconnect(cx, storage.uuid).await,
            _ => Ok(()),
        }
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await?;
        tx.emit("/backup-storage/deleted", id, json!({})).await
    }
}
