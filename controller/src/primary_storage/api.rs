use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::cascade::Delete;
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes, deletion};
use serde_json::{Value, json};

use super::attach::{Attach, attachment};
use super::driver::PRIMARY_STORAGES;
use super::{PrimaryStorage, PrimaryStorageInventory, store};
use crate::cluster::Cluster;
use crate::validate::{self, StateEvent};
use crate::zone::{Zone, ZoneInventory};

api! {
    AddLocalPrimaryStorage: POST "/primary-storage/local-storage" "params" {
        url: String,
        name: String,
        description: Option<String>,
        r#type: Option<String>,
        zone_uuid: Id<Zone>,
        resource_uuid: Option<Id<PrimaryStorage>>,
    }
}

impl AddLocalPrimaryStorage {
    /// The directory, without a slash at its end.
    pub(super) fn path(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        let plain = |part: &str| !matches!(part, "." | "..") && !part.chars().any(char::is_control);
        let sound = self.url.starts_with('/') && self.path().len() > 1 && self.url.split('/').all(plain);
        if !sound {
            let details =
                format!("\"url\" must be an absolute directory such as /cumulet_ps, not \"{}\"", self.url);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        match self.r#type.as_deref() {
            None | Some("LocalStorage") => Ok(()),
            Some(other) => Err(codes::INVALID_ARGUMENT
                .because(format!("this call adds a LocalStorage, not a \"{other}\": leave \"type\" out"))),
        }
    }
}

impl Api for AddLocalPrimaryStorage {
    const ROUTE: Route = AddLocalPrimaryStorage::ROUTE;
    const MAKES: Option<&'static str> = Some(PrimaryStorageInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.check()?;
        let uuid = self.resource_uuid.unwrap_or_else(Id::random);
        job.write(move |tx| {
            Box::pin(async move {
                let zone: ZoneInventory = find(tx, self.zone_uuid).await?;
                store::insert(tx, uuid, zone.uuid, &self).await?;
                show::<PrimaryStorageInventory>(tx, uuid).await
            })
        })
        .await
    }
}

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

    async fn answer(self, _asked: Asked) -> Result<Value> {
        Ok(json!({ "types": PRIMARY_STORAGES.types().collect::<Vec<_>>() }))
    }
}
