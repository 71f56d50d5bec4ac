use engine::api::{Api, Ask, Asked, Job, Route, Settled, Types};
use engine::cascade::Delete;
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes, deletion};

use super::attach::{Attach, attachment};
use super::driver::PRIMARY_STORAGES;
use super::{PrimaryStorage, PrimaryStorageInventory, local, shared_mount_point, store};
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

/// A storage to be entered.
pub struct NewStorage {
    pub uuid: Id<PrimaryStorage>,
    pub name: String,
    pub description: Option<String>,
    pub zone: Id<Zone>,
    pub url: String,
    /// The name of its driver.
    pub r#type: &'static str,
}

impl NewStorage {
    /// A storage that is a directory; `said` is the type that the caller named, if one.
    fn in_directory(mut self, said: Option<&str>) -> Result<NewStorage> {
        validate::name("name", &self.name)?;
        let path = self.url.trim_end_matches('/');
        let plain = |part: &str| !matches!(part, "." | "..") && !part.chars().any(char::is_control);
        let sound = self.url.starts_with('/') && path.len() > 1 && self.url.split('/').all(plain);
        if !sound {
            let details =
                format!("\"url\" must be an absolute directory such as /cumulet_ps, not \"{}\"", self.url);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        if said.is_some_and(|said| said != self.r#type) {
            let details = format!(
                "this call adds a {}, not a \"{}\": leave \"type\" out",
                self.r#type,
                said.unwrap_or_default()
            );
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        self.url.truncate(path.len());
        Ok(self)
    }

    async fn enter(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<ZoneInventory>(tx, self.zone).await?;
                store::insert(tx, &self).await?;
                show::<PrimaryStorageInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

impl Api for AddLocalPrimaryStorage {
    const ROUTE: Route = AddLocalPrimaryStorage::ROUTE;
    const MAKES: Option<&'static str> = Some(PrimaryStorageInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let new = NewStorage {
            uuid: self.resource_uuid.unwrap_or_else(Id::random),
            name: self.name,
            description: self.description,
            zone: self.zone_uuid,
            url: self.url,
            r#type: local::TYPE,
        };
        new.in_directory(self.r#type.as_deref())?.enter(job).await
    }
}

api! {
    /// A directory in which the hosts of its clusters have mounted one file system.
    AddSharedMountPointPrimaryStorage: POST "/primary-storage/smp" "params" {
        url: String,
        name: String,
        description: Option<String>,
        r#type: Option<String>,
        zone_uuid: Id<Zone>,
        resource_uuid: Option<Id<PrimaryStorage>>,
    }
}

impl Api for AddSharedMountPointPrimaryStorage {
    const ROUTE: Route = AddSharedMountPointPrimaryStorage::ROUTE;
    const MAKES: Option<&'static str> = Some(PrimaryStorageInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let new = NewStorage {
            uuid: self.resource_uuid.unwrap_or_else(Id::random),
            name: self.name,
            description: self.description,
            zone: self.zone_uuid,
            url: self.url,
            r#type: shared_mount_point::TYPE,
        };
        new.in_directory(self.r#type.as_deref())?.enter(job).await
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
    type Reply = Types;

    async fn answer(self, _asked: Asked) -> Result<Types> {
        Ok(PRIMARY_STORAGES.types().into_iter().collect())
    }
}
