use std::ops::RangeInclusive;

use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{Inventory, show};
use engine::{Id, Result, api, codes, deletion};

use super::{ALLOCATOR_STRATEGY, InstanceOffering, InstanceOfferingInventory, store};
use crate::modules::check_allocator_strategy;
use crate::validate::{self, StateEvent, within};

const CPUS: RangeInclusive<i64> = 1..=1024;
/// From 16 MiB to 64 TiB.
const MEMORY: RangeInclusive<i64> = (16 << 20)..=(64 << 40);

api! {
    CreateInstanceOffering: POST "/instance-offerings" "params" {
        name: String,
        description: Option<String>,
        cpu_num: i64,
        memory_size: i64,
        reserved_memory_size: Option<i64>,
        allocator_strategy: Option<String>,
        sort_key: Option<i64>,
        r#type: Option<String>,
        resource_uuid: Option<Id<InstanceOffering>>,
    }
}

impl CreateInstanceOffering {
    pub(super) fn reserved_memory_size(&self) -> i64 {
        self.reserved_memory_size.unwrap_or(0)
    }

    pub(super) fn allocator_strategy(&self) -> &str {
        self.allocator_strategy.as_deref().unwrap_or(ALLOCATOR_STRATEGY)
    }

    pub(super) fn sort_key(&self) -> i64 {
        self.sort_key.unwrap_or(0)
    }

    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        within("cpuNum", self.cpu_num, CPUS)?;
        within("memorySize", self.memory_size, MEMORY)?;
        within("reservedMemorySize", self.reserved_memory_size(), 0..=self.memory_size)?;
        check_allocator_strategy(self.allocator_strategy())?;
        match self.r#type.as_deref() {
            None | Some("UserVm") => Ok(()),
            Some(other) => Err(codes::UNIMPLEMENTED.because(format!(
                "instance offerings of type \"{other}\" are not supported: use \"UserVm\""
            ))),
        }
    }
}

impl Api for CreateInstanceOffering {
    const ROUTE: Route = CreateInstanceOffering::ROUTE;
    const MAKES: Option<&'static str> = Some(InstanceOfferingInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.check()?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                store::insert(tx, uuid, &self).await?;
                show::<InstanceOfferingInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    UpdateInstanceOffering: PUT "/instance-offerings/{uuid}/actions" "updateInstanceOffering" {
        uuid: Id<InstanceOffering>,
        name: Option<String>,
        description: Option<String>,
        allocator_strategy: Option<String>,
    }
}

impl Api for UpdateInstanceOffering {
    const ROUTE: Route = UpdateInstanceOffering::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        self.allocator_strategy.as_deref().map_or(Ok(()), check_allocator_strategy)?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<InstanceOfferingInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ChangeInstanceOfferingState: PUT "/instance-offerings/{uuid}/actions" "changeInstanceOfferingState" {
        uuid: Id<InstanceOffering>,
        state_event: StateEvent,
    }
}

impl Api for ChangeInstanceOfferingState {
    const ROUTE: Route = ChangeInstanceOfferingState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<InstanceOfferingInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteInstanceOffering: "/instance-offerings/{uuid}" of InstanceOffering: InstanceOfferingInventory }
