use std::ops::RangeInclusive;

use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{Inventory, show};
use engine::{Id, Result, api, codes, deletion};

use super::{DiskOffering, DiskOfferingInventory, store};
use crate::validate::{self, StateEvent, within};

/// From 1 MiB to 64 TiB.
const SIZE: RangeInclusive<i64> = (1 << 20)..=(64 << 40);
pub(super) const TYPE: &str = "zstack";
/// How a primary storage is found for a volume.
pub const STRATEGY: &str = "DefaultPrimaryStorageAllocationStrategy";

api! {
    CreateDiskOffering: POST "/disk-offerings" "params" {
        name: String,
        description: Option<String>,
        disk_size: i64,
        sort_key: Option<i64>,
        allocation_strategy: Option<String>,
        r#type: Option<String>,
        resource_uuid: Option<Id<DiskOffering>>,
    }
}

impl CreateDiskOffering {
    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        within("diskSize", self.disk_size, SIZE)?;
        only("type", self.r#type.as_deref(), TYPE)?;
        only("allocationStrategy", self.allocation_strategy.as_deref(), STRATEGY)
    }
}

fn only(field: &str, value: Option<&str>, known: &str) -> Result<()> {
    match value {
        Some(other) if other != known => {
            Err(codes::INVALID_ARGUMENT
                .because(format!("\"{field}\" \"{other}\" is not known: use \"{known}\"")))
        }
        _ => Ok(()),
    }
}

impl Api for CreateDiskOffering {
    const ROUTE: Route = CreateDiskOffering::ROUTE;
    const MAKES: Option<&'static str> = Some(DiskOfferingInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.check()?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                store::insert(tx, uuid, &self).await?;
                show::<DiskOfferingInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    UpdateDiskOffering: PUT "/disk-offerings/{uuid}/actions" "updateDiskOffering" {
        uuid: Id<DiskOffering>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateDiskOffering {
    const ROUTE: Route = UpdateDiskOffering::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<DiskOfferingInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ChangeDiskOfferingState: PUT "/disk-offerings/{uuid}/actions" "changeDiskOfferingState" {
        uuid: Id<DiskOffering>,
        state_event: StateEvent,
    }
}

impl Api for ChangeDiskOfferingState {
    const ROUTE: Route = ChangeDiskOfferingState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<DiskOfferingInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteDiskOffering: "/disk-offerings/{uuid}" of DiskOffering: DiskOfferingInventory }
