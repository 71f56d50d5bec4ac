//! Asking the hosts of a storage again what it has there, and making it usable where it is not.

use engine::api::{Api, Job, Route, Settled};
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, api};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{HOST_LIMIT, JOINED, OnHost, PrimaryStorage, PrimaryStorageInventory, store};
use crate::host::HostInventory;

/// join every connected host once more
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reconnect {
    storage: Id<PrimaryStorage>,
    name: String,
}

impl Reconnect {
    /// Hosts that do not answer now join when they are connected again.
    async fn join(&mut self, cx: &Cx) -> Result<()> {
        let mut tx = cx.read().await?;
        let storage: PrimaryStorageInventory = find(&mut tx, self.storage).await?;
        let mut hosts = store::hosts_of(&mut tx, self.storage).await?;
        drop(tx);
        hosts.retain(HostInventory::is_connected);
        try_join_all(hosts.iter().map(|host| rejoin(cx, host, &storage))).await.map(|_| ())
    }
}

/// A host that the storage is taken from meanwhile stays without it.
async fn rejoin(cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
    let space = storage.driver()?.join(storage.through(cx, host)).await?;
    JOINED.run(cx, &OnHost { storage: storage.clone(), host: host.clone() }).await?;
    let (storage, host) = (storage.uuid, host.uuid);
    cx.write(move |tx| Box::pin(async move { store::measured(tx, storage, host, space).await })).await
}

impl Flow for Reconnect {
    const NAME: &'static str = "primary_storage.reconnect";

    fn resource(&self) -> Id<Any> {
        self.storage.cast()
    }

    fn title(&self) -> String {
        format!("reconnect primary storage \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new().act("join", Self::join).limit(HOST_LIMIT)
    }

    async fn answer(&self, tx: &mut engine::db::Tx) -> Result<Value> {
        show::<PrimaryStorageInventory>(tx, self.storage).await
    }
}

async fn reconnect(job: Job, storage: Id<PrimaryStorage>) -> Result<Settled> {
    let known: PrimaryStorageInventory = find(&mut job.engine().db().read().await?, storage).await?;
    job.flow(Reconnect { storage, name: known.name }).await
}

api! {
    ReconnectPrimaryStorage: PUT "/primary-storage/{uuid}/actions" "reconnectPrimaryStorage" {
        uuid: Id<PrimaryStorage>,
    }
}

impl Api for ReconnectPrimaryStorage {
    const ROUTE: Route = ReconnectPrimaryStorage::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        reconnect(job, self.uuid).await
    }
}

api! {
    SyncPrimaryStorageCapacity: PUT "/primary-storage/{primaryStorageUuid}/actions" "syncPrimaryStorageCapacity" {
        primary_storage_uuid: Id<PrimaryStorage>,
    }
}

impl Api for SyncPrimaryStorageCapacity {
    const ROUTE: Route = SyncPrimaryStorageCapacity::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        reconnect(job, self.primary_storage_uuid).await
    }
}
