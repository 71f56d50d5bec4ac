use std::ops::RangeInclusive;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes};
use schemars::JsonSchema;
use serde::Serialize;

use super::create::{Create, Look};
use super::{Volume, VolumeInventory, store, tag};
use crate::disk_offering::{DiskOffering, DiskOfferingInventory};
use crate::host::{self, Host};
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};
use crate::validate::{self, StateEvent, within};

/// From 1 MiB to 64 TiB.
const SIZE: RangeInclusive<i64> = (1 << 20)..=(64 << 40);

api! {
    /// Without a storage it is only written down, and made where the first VM is that it is attached to.
    CreateDataVolume: POST "/volumes/data" "params" {
        name: String,
        description: Option<String>,
        disk_offering_uuid: Option<Id<DiskOffering>>,
        disk_size: Option<i64>,
        primary_storage_uuid: Option<Id<PrimaryStorage>>,
        resource_uuid: Option<Id<Volume>>,
    }
}

impl CreateDataVolume {
    async fn size(&self, tx: &mut Tx) -> Result<i64> {
        let size = match (self.disk_offering_uuid, self.disk_size.filter(|size| *size != 0)) {
            (Some(offering), None) => {
                let offering: DiskOfferingInventory = find(tx, offering).await?;
                if offering.state != "Enabled" {
                    let details = format!("disk offering \"{}\" is {}", offering.name, offering.state);
                    return Err(codes::STATE.because(details));
                }
                offering.disk_size
            }
            (None, Some(size)) => size,
            _ => {
                let details = "give either \"diskOfferingUuid\" or \"diskSize\"";
                return Err(codes::INVALID_ARGUMENT.because(details));
            }
        };
        within("diskSize", size, SIZE)?;
        Ok(size)
    }

    async fn plan(self, tx: &mut Tx, job: &Job) -> Result<Create> {
        let size = self.size(tx).await?;
        let wanted = tag::host(job.tags())?;
        if let (Some(_), None) = (wanted, self.primary_storage_uuid) {
            let details =
                format!("the tag {} needs \"primaryStorageUuid\": name the storage too", tag::HOST.pattern);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        if let Some(storage) = self.primary_storage_uuid {
            let storage: PrimaryStorageInventory = find(tx, storage).await?;
            let way = format!("the system tag {}", tag::HOST.pattern);
            if let Some(host) = must_name_host(&storage, wanted, &way)? {
                host::usable(tx, host).await?;
            }
        }
        Ok(Create {
            uuid: self.resource_uuid.unwrap_or(job.id().cast()),
            account: job.account(),
            name: self.name,
            description: self.description,
            offering: self.disk_offering_uuid.map(Id::cast),
            size,
            storage: self.primary_storage_uuid,
            host: wanted,
            placed: None,
            origin: None,
        })
    }
}

/// The host on which a volume is to lie; of a shared storage on none.
pub(super) fn must_name_host(
    storage: &PrimaryStorageInventory,
    wanted: Option<Id<Host>>,
    way: &str,
) -> Result<Option<Id<Host>>> {
    let name = &storage.name;
    match (wanted, storage.shared) {
        (None, false) => Err(codes::INVALID_ARGUMENT
            .because(format!("primary storage \"{name}\" keeps volumes on its hosts: name one by {way}"))),
        (Some(_), true) => Err(codes::INVALID_ARGUMENT
            .because(format!("primary storage \"{name}\" is the same on all its hosts: do not name one"))),
        (wanted, _) => Ok(wanted),
    }
}

impl Api for CreateDataVolume {
    const ROUTE: Route = CreateDataVolume::ROUTE;
    const MAKES: Option<&'static str> = Some(VolumeInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        let mut tx = job.engine().db().read().await?;
        let create = self.plan(&mut tx, &job).await?;
        drop(tx);
        job.flow(create).await
    }
}

api! {
    UpdateVolume: PUT "/volumes/{uuid}/actions" "updateVolume" {
        uuid: Id<Volume>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateVolume {
    const ROUTE: Route = UpdateVolume::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, self.uuid, self.name.as_deref(), self.description.as_deref()).await?;
                show::<VolumeInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    /// A disabled volume is not attached.
    ChangeVolumeState: PUT "/volumes/{uuid}/actions" "changeVolumeState" {
        uuid: Id<Volume>,
        state_event: StateEvent,
    }
}

impl Api for ChangeVolumeState {
    const ROUTE: Route = ChangeVolumeState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<VolumeInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    /// Looks how large the volume is on its storage.
    SyncVolumeSize: PUT "/volumes/{uuid}/actions" "syncVolumeSize" {
        uuid: Id<Volume>,
    }
}

impl Api for SyncVolumeSize {
    const ROUTE: Route = SyncVolumeSize::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let volume: VolumeInventory = find(&mut job.engine().db().read().await?, self.uuid).await?;
        if volume.status != "Ready" {
            let details = format!("volume \"{}\" is {}: it has no size yet", volume.name, volume.status);
            return Err(codes::STATE.because(details));
        }
        job.flow(Look { uuid: volume.uuid, name: volume.name, found: (0, 0) }).await
    }
}

const KVM: &str = "KVM";

api! {
    GetVolumeFormat: GET "/volumes/formats" {}
}

#[derive(Serialize, JsonSchema)]
pub struct Formats {
    formats: Vec<Format>,
}

/// A format of volumes, and who can use it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "VolumeFormat")]
struct Format {
    format: &'static str,
    master_hypervisor_type: &'static str,
    supporting_hypervisor_types: [&'static str; 1],
}

impl Ask for GetVolumeFormat {
    const ROUTE: Route = GetVolumeFormat::ROUTE;
    type Reply = Formats;

    async fn answer(self, _asked: Asked) -> Result<Formats> {
        let format =
            |format| Format { format, master_hypervisor_type: KVM, supporting_hypervisor_types: [KVM] };
        Ok(Formats { formats: vec![format("qcow2"), format("raw")] })
    }
}

api! {
    /// What can be done to it beside what any volume can.
    GetVolumeCapabilities: GET "/volumes/{uuid}/capabilities" {
        uuid: Id<Volume>,
    }
}

#[derive(Serialize, JsonSchema)]
pub struct CapabilitiesTold {
    capabilities: Capabilities,
}

/// Whether it can be moved.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
struct Capabilities {
    migration_to_other_primary_storage: bool,
    migration_in_current_primary_storage: bool,
}

impl Ask for GetVolumeCapabilities {
    const ROUTE: Route = GetVolumeCapabilities::ROUTE;
    type Reply = CapabilitiesTold;

    async fn answer(self, asked: Asked) -> Result<CapabilitiesTold> {
        find::<VolumeInventory>(&mut asked.engine.db().read().await?, self.uuid).await?;
        let capabilities = Capabilities {
            migration_to_other_primary_storage: false,
            migration_in_current_primary_storage: false,
        };
        Ok(CapabilitiesTold { capabilities })
    }
}
