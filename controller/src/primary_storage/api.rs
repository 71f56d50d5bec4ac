use engine::api::{Api, Ask, Asked, Job, Route, Settled, Types};
use engine::cascade::Delete;
use engine::db::Tx;
use engine::inventory::{find, show};
use engine::{Id, Result, api, codes, deletion};

use super::attach::{Attach, attachment};
use super::driver::PRIMARY_STORAGES;
use super::{PrimaryStorage, PrimaryStorageInventory, store};
use crate::cluster::Cluster;
use crate::validate::{self, StateEvent};

api! {
    UpdatePrimaryStorage: PUT "/primary-storage/{uuid}/actions" "updatePrimaryStorage" {
        uuid: Id<PrimaryStorage>,
        name: Option<String>,
        description: Option<String>,
        url: Option<String>,
    }
}

impl Api for UpdatePrimaryStorage {
    const ROUTE: Route = UpdatePrimaryStorage::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("url", &self.url)?;
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<PrimaryStorageInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ChangePrimaryStorageState: PUT "/primary-storage/{uuid}/actions" "changePrimaryStorageState" {
        uuid: Id<PrimaryStorage>,
        state_event: StateEvent,
    }
}

impl Api for ChangePrimaryStorageState {
    const ROUTE: Route = ChangePrimaryStorageState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let storage: PrimaryStorageInventory = find(tx, self.uuid).await?;
                if storage.state == "Deleting" {
                    let details = format!("primary storage \"{}\" is being deleted", storage.name);
                    return Err(codes::STATE.because(details));
                }
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<PrimaryStorageInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    AttachPrimaryStorageToCluster: POST "/clusters/{clusterUuid}/primary-storage/{primaryStorageUuid}" "params" {
        cluster_uuid: Id<Cluster>,
        primary_storage_uuid: Id<PrimaryStorage>,
    }
}

impl Api for AttachPrimaryStorageToCluster {
    const ROUTE: Route = AttachPrimaryStorageToCluster::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.flow(Attach { storage: self.primary_storage_uuid, cluster: self.cluster_uuid }).await
    }
}

api! {
    DetachPrimaryStorageFromCluster: DELETE "/clusters/{clusterUuid}/primary-storage/{primaryStorageUuid}" {
        cluster_uuid: Id<Cluster>,
        primary_storage_uuid: Id<PrimaryStorage>,
    }
}

impl Api for DetachPrimaryStorageFromCluster {
    const ROUTE: Route = DetachPrimaryStorageFromCluster::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.delete(&self).await
    }

    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let root = attachment(tx, self.primary_storage_uuid, self.cluster_uuid).await?;
        Ok(Some(Delete::new(root)))
    }
}

deletion! { DeletePrimaryStorage: "/primary-storage/{uuid}" of PrimaryStorage: PrimaryStorageInventory }

api! {
    GetPrimaryStorageTypes: GET "/primary-storage/types" {}
}

impl Ask for GetPrimaryStorageTypes {
    const ROUTE: Route = GetPrimaryStorageTypes::ROUTE;
    type Reply = Types;

    async fn answer(self, _asked: Asked) -> Result<Types> {
        Ok(PRIMARY_STORAGES.types().into_iter().collect())
    }
}
