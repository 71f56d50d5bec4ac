//! How large all volumes of a cluster are by now, asked host by host.

use std::collections::BTreeMap;

use engine::api::{Ask, Asked, Route};
use engine::inventory::find;
use engine::{Engine, Id, Result, api};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Volume, store};
use crate::cluster::{Cluster, ClusterInventory};
use crate::host::{Host, HostInventory};
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};

api! {
    /// Volumes whose hosts do not answer, or that are not where they should be, are counted as failures.
    BatchSyncVolumeSize: POST "/volumes/batch-sync-volumes" only admin {
        cluster_uuid: Id<Cluster>,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    success_count: usize,
    fail_count: usize,
}

/// By their uuids.
type Paths = BTreeMap<String, String>;

impl Ask for BatchSyncVolumeSize {
    const ROUTE: Route = BatchSyncVolumeSize::ROUTE;
    type Reply = Synced;

    async fn answer(self, asked: Asked) -> Result<Synced> {
        let mut tx = asked.engine.db().read().await?;
        let cluster: ClusterInventory = find(&mut tx, self.cluster_uuid).await?;
        let mut places = BTreeMap::<(Id<Host>, Id<PrimaryStorage>), Paths>::new();
        for lies in store::in_cluster(&mut tx, cluster.uuid).await? {
            let there = places.entry((lies.host, lies.storage)).or_default();
            there.insert(lies.uuid.to_string(), lies.path);
        }
        drop(tx);
        let total: usize = places.values().map(Paths::len).sum();
        let mut success_count = 0;
        for ((host, storage), paths) in places {
            match sync(&asked.engine, host, storage, paths).await {
                Ok(count) => success_count += count,
                Err(error) => tracing::warn!(%host, %error, "its volumes do not tell their sizes"),
            }
        }
        Ok(Synced { success_count, fail_count: total - success_count })
    }
}

/// How many of them told their size.
async fn sync(engine: &Engine, host: Id<Host>, storage: Id<PrimaryStorage>, paths: Paths) -> Result<usize> {
    let mut tx = engine.db().read().await?;
    let host: HostInventory = crate::host::usable(&mut tx, host).await?;
    let storage: PrimaryStorageInventory = find(&mut tx, storage).await?;
    drop(tx);
    let sizes = storage.driver()?.actual_sizes(engine, &host, &paths).await?;
    let found: Vec<(Id<Volume>, String, i64)> = sizes
        .into_iter()
        .filter_map(|(uuid, size)| Some((uuid.parse().ok()?, paths.get(&uuid)?.clone(), size)))
        .collect();
    let count = found.len();
    let written = engine.db().write(move |tx| {
        Box::pin(async move {
            for (uuid, path, size) in &found {
                store::set_actual_size(tx, *uuid, path, *size).await?;
            }
            Ok(())
        })
    });
    written.await.map(|()| count)
}
