//! Brings the primary storages of a cluster to its hosts, and takes them away again.

use async_trait::async_trait;
use engine::Result;
use engine::flow::Cx;

use super::driver::Space;
use super::{PrimaryStorageInventory, store};
use crate::host::HostInventory;
use crate::host::hook::HostHook;

pub struct Storages;

#[async_trait]
impl HostHook for Storages {
    async fn connected(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        for storage in store::of_cluster(&mut cx.read().await?, host.cluster_uuid).await? {
            join(cx, host, &storage).await?;
        }
        Ok(())
    }

    async fn leaving(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        for storage in store::of_host(&mut cx.read().await?, host.uuid).await? {
            leave(cx, host, &storage).await?;
        }
        Ok(())
    }
}

/// Makes the storage usable on the host and writes down what it has there.
pub(super) async fn join(cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
    let space: Space = storage.driver()?.join(cx, host, storage).await?;
    let (storage, host) = (storage.uuid, host.uuid);
    cx.write(move |tx| Box::pin(async move { store::joined(tx, storage, host, space).await })).await
}

/// Takes away what the storage keeps on the host, and its capacity there.
pub(super) async fn leave(cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
    storage.driver()?.leave(cx, host, storage).await?;
    let (storage, host) = (storage.uuid, host.uuid);
    cx.write(move |tx| Box::pin(async move { store::left(tx, storage, host).await })).await
}
