//! Deleting several snapshots by one call.

use engine::api::{Api, Job, Route, Settled};
use engine::cascade::{Delete, DeleteMode, Root};
use engine::inventory::find;
use engine::{Engine, Id, Result, api, codes};
use serde_json::json;

use super::{KIND, VolumeSnapshot, VolumeSnapshotInventory};

api! {
    /// One after the other: tells of each whether it is gone.
    BatchDeleteVolumeSnapshot: PUT "/volume-snapshots/batch-delete" "batchDeleteVolumeSnapshot" {
        uuids: Vec<Id<VolumeSnapshot>>,
        delete_mode: Option<DeleteMode>,
    }
}

/// What is gone counts as deleted: it may have stood on another of them, or the call is done again after a
/// crash.
async fn delete(engine: &Engine, uuid: Id<VolumeSnapshot>, mode: Option<DeleteMode>) -> Result<()> {
    let known = find::<VolumeSnapshotInventory>(&mut engine.db().read().await?, uuid).await;
    let deleted = match known {
        Err(error) => Err(error),
        Ok(known) => {
            let root = Root::new(KIND, uuid.cast(), &known.name);
            engine.run(Delete::new(root).mode(mode)).await.map(|_| ())
        }
    };
    deleted.or_else(|error| if error.is(codes::NOT_FOUND) { Ok(()) } else { Err(error) })
}

impl Api for BatchDeleteVolumeSnapshot {
    const ROUTE: Route = BatchDeleteVolumeSnapshot::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        if self.uuids.is_empty() {
            return Err(codes::INVALID_ARGUMENT.because("\"uuids\" must name at least one"));
        }
        let mut results = Vec::new();
        for uuid in &self.uuids {
            results.push(match delete(job.engine(), *uuid, self.delete_mode).await {
                Ok(()) => json!({ "snapshotUuid": uuid, "success": true }),
                Err(error) if error.says_nothing() => return Err(error),
                Err(error) => json!({ "snapshotUuid": uuid, "success": false, "error": error }),
            });
        }
        job.write(move |_| Box::pin(async move { Ok(json!({ "results": results })) })).await
    }
}
