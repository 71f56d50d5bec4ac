use async_trait::async_trait;
use engine::cascade::{Action, Kind};
use engine::db::Tx;
use engine::{Any, Id, Result};
use serde_json::json;

use super::store;

pub(super) struct BackupStorageKind;

/// Its images are deleted before it; the directory that it was stays, empty.
#[async_trait]
impl Kind for BackupStorageKind {
    fn name(&self) -> &'static str {
        "BackupStorage"
    }

    async fn begin(&self, tx: &mut Tx, _action: Action, id: Id<Any>) -> Result<()> {
        store::set_leaving(tx, id.cast(), true).await
    }

    async fn revert(&self, tx: &mut Tx, _action: Action, id: Id<Any>) -> Result<()> {
        store::set_leaving(tx, id.cast(), false).await
    }

    async fn record(&self, tx: &mut Tx, _action: Action, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await?;
        tx.emit("/backup-storage/deleted", id, json!({})).await
    }
}
