//! Brings the primary storages of a cluster to its hosts, and takes them away again.

use engine::Result;
use engine::boxed;
use engine::flow::Cx;
use engine::hook::Hook;

use super::driver::Space;
use super::{JOINED, OnHost, PrimaryStorageInventory, store};
use crate::host::HostInventory;

pub struct Storages;

#[boxed]
impl Hook<HostInventory> for Storages {
    async fn run(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        for storage in store::of_cluster(&mut cx.read().await?, host.cluster_uuid).await? {
            join(cx, host, &storage).await?;
        }
        Ok(())
    }

    async fn undo(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        let mut tx = cx.read().await?;
        let mut storages = store::of_host(&mut tx, host.uuid).await?;
        // It may have failed half way.
        let cluster = store::of_cluster(&mut tx, host.cluster_uuid).await?;
        drop(tx);
        let known: Vec<_> = storages.iter().map(|storage| storage.uuid).collect();
        storages.extend(cluster.into_iter().filter(|one| one.shared && !known.contains(&one.uuid)));
        for storage in storages {
            leave(cx, host, &storage).await?;
        }
        Ok(())
    }
}

/// Makes the storage usable on the host and writes down what it has there.
pub(super) async fn join(cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
    let space: Space = storage.driver()?.join(storage.through(cx, host)).await?;
    JOINED.run(cx, &OnHost { storage: storage.clone(), host: host.clone() }).await?;
    let (storage, host) = (storage.uuid, host.uuid);
    cx.write(move |tx| Box::pin(async move { store::joined(tx, storage, host, space).await })).await
}

/// Takes away what the storage keeps on the host, and its capacity there.
pub(super) async fn leave(cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
    JOINED.undo(cx, &OnHost { storage: storage.clone(), host: host.clone() }).await?;
    storage.driver()?.leave(storage.through(cx, host)).await?;
    let (storage, host) = (storage.uuid, host.uuid);
    cx.write(move |tx| Box::pin(async move { store::left(tx, storage, host).await })).await
}

/// Takes away what a shared storage keeps for all its hosts.
pub(super) async fn clear(cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
    if !store::caches(&mut cx.read().await?, storage.uuid).await? {
        return Ok(());
    }
    storage.driver()?.clear(storage.through(cx, host)).await?;
    let storage = storage.uuid;
    cx.write(move |tx| Box::pin(async move { store::cleared(tx, storage).await })).await
}
