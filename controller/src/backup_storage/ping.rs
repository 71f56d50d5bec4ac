//! The backup storage ping: finds out which storages are lost or back, and how full they are.

use engine::db::Tx;
use engine::sweep::{By, Sweep};
use engine::{Engine, Result};
use futures::StreamExt;
use serde_json::json;

use super::driver::Space;
use super::{BackupStorageInventory, PING_INTERVAL, store};

pub(super) const SWEEP: Sweep = Sweep {
    name: "backup storage ping",
    every: |engine| engine.setting(&PING_INTERVAL),
    by: By::Each,
    pass: |engine| Box::pin(pass(engine)),
};

/// So many storages are pinged at a time.
const AT_ONCE: usize = 32;

pub(super) async fn pass(engine: Engine) -> Result<()> {
    let mut storages = store::pinged(&mut engine.db().read().await?).await?;
    storages.retain(|storage| engine.owns(&storage.uuid.to_string()));
    let pings = futures::stream::iter(storages).map(|storage| ping(&engine, storage));
    pings.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    Ok(())
}

async fn ping(engine: &Engine, storage: BackupStorageInventory) {
    let answer = match storage.driver() {
        Ok(driver) => driver.ping(engine, &storage).await,
        Err(error) => Err(error),
    };
    let (status, space) = match answer {
        Ok(space) => ("Connected", space),
        Err(error) => {
            tracing::warn!(backup_storage = storage.name, %error, "a ping failed");
            ("Disconnected", Space::default())
        }
    };
    let noted = engine.db().write(move |tx| Box::pin(async move { note(tx, &storage, status, space).await }));
    if let Err(error) = noted.await {
        tracing::warn!(%error, "a ping had no effect");
    }
}

/// Notes what a ping found, unless the storage has changed since it was `seen`.
async fn note(tx: &mut Tx, seen: &BackupStorageInventory, status: &str, space: Space) -> Result<()> {
    let noted = store::note(tx, seen, status, space).await?;
    if noted && seen.status != status {
        let payload = json!({ "status": status });
        tx.emit("/backup-storage/status/changed", seen.uuid.cast(), payload).await?;
    }
    Ok(())
}
