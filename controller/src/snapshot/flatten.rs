//! Making volumes stand on nothing: what the image in the cache holds of them is copied into their own files.
//! It takes back nothing when it fails: a volume shows the same whether it was done or not.

use std::time::Duration;

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, api, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::owner;
use super::volume::{settled, workable};
use crate::validate;
use crate::vm::{self, VmInstance, VmInstanceInventory};
use crate::volume::{self, Lies, Volume, VolumeInventory};

/// How long a disk may take to be copied.
const COPYING: Duration = Duration::from_secs(12 * 3600);

/// look → flatten → flat
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Flatten {
    owner: Id<Any>,
    /// What is flattened, for people.
    of: String,
    vm: Option<Id<VmInstance>>,
    /// The VM was asked for, and is answered.
    whole: bool,
    volumes: Vec<Id<Volume>>,
}

impl Flatten {
    async fn look(&mut self, tx: &mut Tx) -> Result<()> {
        for volume in &self.volumes {
            let volume = settled(tx, *volume, self.vm).await?.volume;
            workable(tx, &volume).await?;
            let snapshots = volume::snapshots(tx, volume.uuid).await?;
            if snapshots > 0 {
                let details = format!(
                    "volume \"{}\" has {snapshots} snapshots, which it stands on: delete them first",
                    volume.name
                );
                return Err(codes::STATE.because(details));
            }
        }
        Ok(())
    }

    async fn flatten(&mut self, cx: &Cx) -> Result<()> {
        for volume in &self.volumes {
            flatten(cx, *volume).await?;
        }
        Ok(())
    }

    async fn flat(&mut self, tx: &mut Tx) -> Result<()> {
        for volume in &self.volumes {
            tx.emit("/volume/flattened", volume.cast(), json!({})).await?;
        }
        Ok(())
    }
}

/// By the host that has it open, if one has.
async fn flatten(cx: &Cx, volume: Id<Volume>) -> Result<()> {
    let mut tx = cx.read().await?;
    let lies = Lies::of(&mut tx, volume).await?;
    let vm = match lies.volume.vm_instance_uuid {
        Some(vm) => Some(find::<VmInstanceInventory>(&mut tx, vm).await?),
        None => None,
    };
    drop(tx);
    match vm.filter(|vm| vm.host_uuid.is_some()) {
        Some(vm) => {
            let (uuid, volume) = (vm.uuid.to_string(), vm::told(lies.volume.clone(), vm.virtio));
            lies.host.hypervisor()?.merge_layers(cx, &lies.host, &uuid, volume, None).await
        }
        None => {
            let path = lies.volume.install_path.as_deref().unwrap_or_default();
            lies.storage.driver()?.put_on(lies.through(cx), path, None).await
        }
    }
}

impl Flow for Flatten {
    const NAME: &'static str = "volume.flatten";

    fn resource(&self) -> Id<Any> {
        self.owner
    }

    fn title(&self) -> String {
        format!("flatten {}", self.of)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("look", Self::look)
            .act("flatten", Self::flatten)
            .limit(COPYING)
            .record("flat", Self::flat)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        match (self.vm.filter(|_| self.whole), self.volumes.first()) {
            (Some(vm), _) => show::<VmInstanceInventory>(tx, vm).await,
            (None, Some(volume)) => show::<VolumeInventory>(tx, *volume).await,
            (None, None) => Ok(json!({})),
        }
    }
}

api! {
    /// The volume needs the image that it was made from no more. It may be in use; it must have no snapshots.
    FlattenVolume: PUT "/volumes/{uuid}/actions" "flattenVolume" {
        uuid: Id<Volume>,
        dry_run: Option<bool>,
    }
}

impl Api for FlattenVolume {
    const ROUTE: Route = FlattenVolume::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("dryRun", &self.dry_run.filter(|is| *is))?;
        let volume: VolumeInventory = find(&mut job.engine().db().read().await?, self.uuid).await?;
        let of = format!("volume \"{}\"", volume.name);
        let vm = volume.vm_instance_uuid.map(Id::cast);
        job.flow(Flatten { owner: owner(&volume), of, vm, whole: false, volumes: vec![volume.uuid] }).await
    }
}

api! {
    /// The same of all volumes of a VM, or of its root volume alone when `full` is false.
    FlattenVmInstance: PUT "/vm-instances/{uuid}/actions" "flattenVmInstance" {
        uuid: Id<VmInstance>,
        full: Option<bool>,
        dry_run: Option<bool>,
    }
}

impl Api for FlattenVmInstance {
    const ROUTE: Route = FlattenVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("dryRun", &self.dry_run.filter(|is| *is))?;
        let mut tx = job.engine().db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.uuid).await?;
        let mut volumes = vec![volume::root_of(&mut tx, vm.uuid.cast()).await?.uuid];
        if self.full.unwrap_or(true) {
            let data = volume::data_of(&mut tx, vm.uuid.cast()).await?;
            volumes.extend(data.into_iter().map(|volume| volume.uuid));
        }
        drop(tx);
        let of = format!("vm \"{}\"", vm.name);
        job.flow(Flatten { owner: vm.uuid.cast(), of, vm: Some(vm.uuid), whole: true, volumes }).await
    }
}
