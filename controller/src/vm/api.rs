use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::cascade::{Delete, DeleteMode, Root};
use engine::db::Tx;
use engine::inventory::{find, show};
use engine::{Id, Result, api, codes};
use schemars::JsonSchema;
use serde::Serialize;

use super::allocate::STRATEGIES;
use super::life::{self, How, Start, Stop, Turn};
use super::remove::Destroy;
use super::{DELETION_POLICY, DeletionPolicy, VmInstance, VmInstanceInventory, store};
use crate::cluster::Cluster;
use crate::host::Host;
use crate::host::driver::StopMode;
use crate::validate;

async fn vm(job: &Job, uuid: Id<VmInstance>) -> Result<VmInstanceInventory> {
    find(&mut job.engine().db().read().await?, uuid).await
}

api! {
    StartVmInstance: PUT "/vm-instances/{uuid}/actions" "startVmInstance" {
        uuid: Id<VmInstance>,
        cluster_uuid: Option<Id<Cluster>>,
        host_uuid: Option<Id<Host>>,
    }
}

impl Api for StartVmInstance {
    const ROUTE: Route = StartVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("clusterUuid", &self.cluster_uuid)?;
        let mut tx = job.engine().db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.uuid).await?;
        life::check_host(&mut tx, self.host_uuid).await?;
        drop(tx);
        job.flow(Start { uuid: vm.uuid, name: vm.name, host: self.host_uuid, isos: Vec::new() }).await
    }
}

api! {
    StopVmInstance: PUT "/vm-instances/{uuid}/actions" "stopVmInstance" {
        uuid: Id<VmInstance>,
        r#type: Option<StopMode>,
        #[serde(rename = "stopHA")]
        stop_ha: Option<String>,
    }
}

impl Api for StopVmInstance {
    const ROUTE: Route = StopVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("stopHA", &self.stop_ha)?;
        let vm = vm(&job, self.uuid).await?;
        let mode = self.r#type.unwrap_or(StopMode::Grace);
        job.flow(Stop { uuid: vm.uuid, name: vm.name, mode }).await
    }
}

api! {
    RebootVmInstance: PUT "/vm-instances/{uuid}/actions" "rebootVmInstance" {
        uuid: Id<VmInstance>,
    }
}

impl Api for RebootVmInstance {
    const ROUTE: Route = RebootVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        turn(job, self.uuid, How::Reboot).await
    }
}

api! {
    PauseVmInstance: PUT "/vm-instances/{uuid}/actions" "pauseVmInstance" {
        uuid: Id<VmInstance>,
    }
}

impl Api for PauseVmInstance {
    const ROUTE: Route = PauseVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        turn(job, self.uuid, How::Pause).await
    }
}

api! {
    ResumeVmInstance: PUT "/vm-instances/{uuid}/actions" "resumeVmInstance" {
        uuid: Id<VmInstance>,
    }
}

impl Api for ResumeVmInstance {
    const ROUTE: Route = ResumeVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        turn(job, self.uuid, How::Resume).await
    }
}

async fn turn(job: Job, uuid: Id<VmInstance>, how: How) -> Result<Settled> {
    let vm = vm(&job, uuid).await?;
    job.flow(Turn { uuid, name: vm.name, how }).await
}

api! {
    DestroyVmInstance: DELETE "/vm-instances/{uuid}" {
        uuid: Id<VmInstance>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DestroyVmInstance {
    const ROUTE: Route = DestroyVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        if job.engine().setting(&DELETION_POLICY) == DeletionPolicy::Direct {
            return job.delete(&self).await;
        }
        let vm = vm(&job, self.uuid).await?;
        job.flow(Destroy { uuid: vm.uuid, name: vm.name }).await
    }

    /// While it can be recovered nothing else is touched.
    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        let root = Root::new("VmInstance", vm.uuid.cast(), &vm.name);
        let root = match tx.engine().setting(&DELETION_POLICY) {
            DeletionPolicy::Delay => root.recoverable(),
            DeletionPolicy::Direct => root,
        };
        Ok(Some(Delete::new(root).mode(self.delete_mode)))
    }
}

api! {
    RecoverVmInstance: PUT "/vm-instances/{uuid}/actions" "recoverVmInstance" {
        uuid: Id<VmInstance>,
    }
}

impl Api for RecoverVmInstance {
    const ROUTE: Route = RecoverVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::recover(tx, self.uuid.cast()).await?;
                show::<VmInstanceInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ExpungeVmInstance: PUT "/vm-instances/{uuid}/actions" "expungeVmInstance" {
        uuid: Id<VmInstance>,
    }
}

impl Api for ExpungeVmInstance {
    const ROUTE: Route = ExpungeVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let vm = vm(&job, self.uuid).await?;
        if vm.state != "Destroyed" {
            let details = format!("vm \"{}\" is {}: destroy it before it is expunged", vm.name, vm.state);
            return Err(codes::STATE.because(details));
        }
        job.delete(&self).await
    }

    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        Ok(Some(Delete::new(Root::new("VmInstance", vm.uuid.cast(), &vm.name))))
    }
}

api! {
    GetHostAllocatorStrategies: GET "/hosts/allocators/strategies" {}
}

#[derive(Serialize, JsonSchema)]
pub struct Strategies {
    strategies: Vec<&'static str>,
}

impl Ask for GetHostAllocatorStrategies {
    const ROUTE: Route = GetHostAllocatorStrategies::ROUTE;
    type Reply = Strategies;

    async fn answer(self, _asked: Asked) -> Result<Strategies> {
        Ok(Strategies { strategies: STRATEGIES.types() })
    }
}
