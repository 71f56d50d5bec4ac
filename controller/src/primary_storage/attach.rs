//! Attaching a primary storage to a cluster, and detaching it.

use engine::cascade::Root;
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cascade::ATTACHMENT;
use super::{HOST_LIMIT, PrimaryStorage, PrimaryStorageInventory, host_hook, store};
use crate::cluster::{Cluster, ClusterInventory};

/// enter → join every connected host
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attach {
    pub storage: Id<PrimaryStorage>,
    pub cluster: Id<Cluster>,
}

impl Attach {
    async fn enter(&mut self, tx: &mut Tx) -> Result<()> {
        let storage: PrimaryStorageInventory = find(tx, self.storage).await?;
        let cluster: ClusterInventory = find(tx, self.cluster).await?;
        if storage.zone_uuid != cluster.zone_uuid {
            let details = format!(
                "primary storage \"{}\" and cluster \"{}\" lie in different zones",
                storage.name, cluster.name
            );
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        match store::attach(tx, self.storage, self.cluster).await? {
            true => Ok(()),
            false => Err(codes::INVALID_ARGUMENT.because(format!(
                "primary storage \"{}\" is attached to cluster \"{}\" already",
                storage.name, cluster.name
            ))),
        }
    }

    async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        store::detach(tx, self.storage, self.cluster).await
    }

    async fn join(&mut self, cx: &Cx) -> Result<()> {
        join_all(cx, self.storage, self.cluster).await
    }

    async fn leave(&mut self, cx: &Cx) -> Result<()> {
        leave_all(cx, self.storage, self.cluster).await
    }
}

impl Flow for Attach {
    const NAME: &'static str = "primary_storage.attach";

    fn resource(&self) -> Id<Any> {
        self.storage.cast()
    }

    fn title(&self) -> String {
        format!("attach primary storage {} to cluster {}", self.storage, self.cluster)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("enter", Self::enter, Self::forget)
            .act_undo("join", Self::join, Self::leave)
            .limit(HOST_LIMIT)
            .record("connected", Self::connected)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<PrimaryStorageInventory>(tx, self.storage).await
    }
}

impl Attach {
    async fn connected(&mut self, tx: &mut Tx) -> Result<()> {
        store::attached(tx, self.storage, self.cluster).await?;
        store::set_status(tx, self.storage, "Connected").await
    }
}

async fn join_all(cx: &Cx, storage: Id<PrimaryStorage>, cluster: Id<Cluster>) -> Result<()> {
    let mut tx = cx.read().await?;
    let storage: PrimaryStorageInventory = find(&mut tx, storage).await?;
    let hosts = store::connected_hosts(&mut tx, cluster).await?;
    drop(tx);
    if storage.shared {
        // The others show the first one that they see the same.
        if let Some(first) = hosts.first() {
            host_hook::join(cx, first, &storage).await?;
        }
    }
    let rest = hosts.iter().skip(usize::from(storage.shared));
    try_join_all(rest.map(|host| host_hook::join(cx, host, &storage))).await.map(|_| ())
}

/// A host that holds volumes of the storage keeps them, with the cached images that they are made of. What a
/// shared storage keeps for all goes with the last host, when no volume is left on it.
pub(super) async fn leave_all(cx: &Cx, storage: Id<PrimaryStorage>, cluster: Id<Cluster>) -> Result<()> {
    let mut tx = cx.read().await?;
    let storage: PrimaryStorageInventory = find(&mut tx, storage).await?;
    let (mut empty, hosts) = (Vec::new(), store::connected_hosts(&mut tx, cluster).await?);
    let elsewhere =
        store::hosts_of(&mut tx, storage.uuid).await?.iter().any(|host| host.cluster_uuid != cluster);
    let done_with = !elsewhere && !store::holds_volumes(&mut tx, storage.uuid).await?;
    for host in hosts {
        if store::volumes_on(&mut tx, storage.uuid, host.uuid).await? == 0 {
            empty.push(host);
        }
    }
    drop(tx);
    if let Some(last) = empty.first().filter(|_| done_with && storage.shared) {
        host_hook::clear(cx, last, &storage).await?;
    }
    try_join_all(empty.iter().map(|host| host_hook::leave(cx, host, &storage))).await.map(|_| ())
}

/// What detaching deletes: the VMs that use it there are stopped before.
pub(super) async fn attachment(
    tx: &mut Tx,
    storage: Id<PrimaryStorage>,
    cluster: Id<Cluster>,
) -> Result<Root> {
    let (storage, cluster): (PrimaryStorageInventory, ClusterInventory) =
        (find(tx, storage).await?, find(tx, cluster).await?);
    let name = format!("{} of {}", storage.name, cluster.name);
    match store::attachment_of(tx, storage.uuid, cluster.uuid).await? {
        Some(there) => Ok(Root::new(ATTACHMENT, there.uuid.cast(), &name).showing(storage.uuid.cast())),
        None => Err(codes::INVALID_ARGUMENT.because(format!(
            "primary storage \"{}\" is not attached to cluster \"{}\"",
            storage.name, cluster.name
        ))),
    }
}
