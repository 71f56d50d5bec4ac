//! The data volumes of a VM: plugged in and out, while it runs too.

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{Listed, find, listed, show};
use engine::setting::{Setting, number};
use engine::{Any, Id, Result, api, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::calls::vm as call;

use super::points::{
    AFTER_ATTACH_VOLUME, AFTER_DETACH_VOLUME, BEFORE_ATTACH_VOLUME, BEFORE_DETACH_VOLUME, disk,
};
use super::{VmInstance, VmInstanceInventory, life, store, targets};
use crate::primary_storage;
use crate::primary_storage::driver::Placed;
use crate::volume::{self, Lies, Volume, VolumeInventory};

pub(crate) const MOST: Setting<i64> = Setting {
    category: "kvm",
    name: "dataVolume.maxNum",
    default: "24",
    help: "so many data volumes may be attached to a VM",
    read: number::<1, 250>,
};

/// Refuses more data volumes than a VM may have.
pub(super) fn check_number(tx: &Tx, wanted: usize) -> Result<()> {
    let most = tx.engine().setting(&MOST);
    match i64::try_from(wanted).is_ok_and(|wanted| wanted <= most) {
        true => Ok(()),
        false => Err(codes::INVALID_ARGUMENT.because(format!(
            "{wanted} data volumes are wanted, at most {most} may be by kvm.dataVolume.maxNum"
        ))),
    }
}

/// What a start and a plugging tell the host of a volume. ZStack's agents want to be told of local storage only.
pub fn told(volume: VolumeInventory, virtio: bool) -> call::Volume {
    call::Volume {
        install_path: volume.install_path.unwrap_or_default(),
        device_id: volume.device_id.and_then(|id| u32::try_from(id).ok()).unwrap_or(0),
        device_type: "file".into(),
        volume_uuid: volume.uuid.to_string(),
        use_virtio: virtio,
        cache_mode: "none".into(),
        format: volume.format,
        primary_storage_type: volume.host_uuid.map(|_| "LocalStorage".into()),
        ..Default::default()
    }
}

/// claim → make, when it lies nowhere yet → plug, when the VM runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attach {
    pub vm: Id<VmInstance>,
    pub vm_name: String,
    pub volume: Id<Volume>,
    pub name: String,
    pub account: Id<Any>,
    /// It is made on this occasion.
    pub fresh: bool,
    pub running: bool,
    pub placed: Placed,
}

impl Attach {
    async fn claim(&mut self, tx: &mut Tx) -> Result<()> {
        let (vm, volume) =
            (life::steady(tx, self.vm, "volumes").await?, find::<VolumeInventory>(tx, self.volume).await?);
        self.running = vm.state == "Running";
        self.fresh = volume.status == "NotInstantiated";
        let device = free_device(tx, &vm).await?;
        if !volume::attach(tx, self.volume, self.vm.cast(), device).await? {
            return Err(unattachable(&volume));
        }
        match self.fresh {
            true => self.lay(tx, &vm, &volume).await,
            false => within_reach(tx, &vm, &volume).await,
        }
    }

    /// Where the VM's root volume lies.
    async fn lay(&self, tx: &mut Tx, vm: &VmInstanceInventory, volume: &VolumeInventory) -> Result<()> {
        let root = volume::root_of(tx, self.vm.cast()).await?;
        let Some(storage) = root.primary_storage_uuid else {
            return Err(codes::STATE.because(format!("vm \"{}\" has no disk anywhere yet", vm.name)));
        };
        let host = match root.host_uuid.or(vm.host_uuid) {
            Some(host) => host,
            None => {
                let storage = find(tx, storage).await?;
                primary_storage::hand(tx, &storage, volume.uuid.cast()).await?
            }
        };
        volume::lay(tx, self.volume, storage, host, volume.size, self.account).await
    }

    async fn give_up(&mut self, tx: &mut Tx) -> Result<()> {
        if self.fresh {
            volume::unlay(tx, self.volume).await?;
        }
        volume::detach(tx, self.volume, self.vm.cast()).await
    }

    async fn make(&mut self, cx: &Cx) -> Result<()> {
        let lies = Lies::of(&mut cx.read().await?, self.volume).await?;
        self.placed = lies.make(cx, self.account).await?;
        Ok(())
    }

    async fn unmake(&mut self, cx: &Cx) -> Result<()> {
        Lies::of(&mut cx.read().await?, self.volume).await?.remove(cx).await
    }

    async fn made(&mut self, tx: &mut Tx) -> Result<()> {
        match self.fresh {
            true => volume::ready(tx, self.volume, self.placed.size, self.placed.actual_size).await,
            false => Ok(()),
        }
    }

    /// Taken back, it lies nowhere, as before.
    async fn unmade(&mut self, tx: &mut Tx) -> Result<()> {
        match self.fresh {
            true => volume::making(tx, self.volume).await,
            false => Ok(()),
        }
    }

    async fn plug(&mut self, cx: &Cx) -> Result<()> {
        plug(cx, self.vm, self.volume).await
    }

    async fn unplug(&mut self, cx: &Cx) -> Result<()> {
        unplug(cx, self.vm, self.volume).await
    }

    async fn attached(&mut self, tx: &mut Tx) -> Result<()> {
        tx.emit("/volume/attached", self.volume.cast(), json!({ "vmInstanceUuid": self.vm })).await
    }
}

/// Refuses a volume that the VM could not use where it runs, or where it could start.
async fn within_reach(tx: &mut Tx, vm: &VmInstanceInventory, volume: &VolumeInventory) -> Result<()> {
    let bound = targets::volumes(tx, vm).await?.iter().find_map(|other| match other.uuid == volume.uuid {
        true => None,
        false => other.host_uuid,
    });
    let (name, vm_name) = (&volume.name, &vm.name);
    let details = match (volume.host_uuid, volume.primary_storage_uuid) {
        (Some(there), _) if bound == Some(there) => return Ok(()),
        (Some(_), _) if bound.is_none() => format!(
            "volume \"{name}\" lies on one host alone, and the volumes of vm \"{vm_name}\" on a shared storage: \
             make one there"
        ),
        (Some(_), _) => format!(
            "volume \"{name}\" lies on another host than vm \"{vm_name}\": a local storage's volume is of use there only"
        ),
        (None, Some(storage)) if store::reaches(tx, vm, bound, storage).await? => return Ok(()),
        (None, _) => format!(
            "no host that vm \"{vm_name}\" could be on has the primary storage of volume \"{name}\": attach it to \
             the cluster first"
        ),
    };
    Err(codes::STATE.because(details))
}

impl Flow for Attach {
    const NAME: &'static str = "vm.attach_volume";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("attach volume \"{}\" to vm \"{}\"", self.name, self.vm_name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("claim", Self::claim, Self::give_up)
            .point(&BEFORE_ATTACH_VOLUME, |attach, cx| Box::pin(disk(cx, attach.vm, attach.volume)))
            .act_undo("make", Self::make, Self::unmake)
            .unless(|attach| !attach.fresh)
            .record_undo("made", Self::made, Self::unmade)
            .act_undo("plug", Self::plug, Self::unplug)
            .unless(|attach| !attach.running)
            .point(&AFTER_ATTACH_VOLUME, |attach, cx| Box::pin(disk(cx, attach.vm, attach.volume)))
            .record("attached", Self::attached)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VolumeInventory>(tx, self.volume).await
    }
}

/// unplug, when the VM runs → let go.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Detach {
    pub vm: Id<VmInstance>,
    pub vm_name: String,
    pub volume: Id<Volume>,
    pub name: String,
    pub running: bool,
}

impl Detach {
    async fn look(&mut self, tx: &mut Tx) -> Result<()> {
        self.running = life::steady(tx, self.vm, "volumes").await?.state == "Running";
        let volume: VolumeInventory = find(tx, self.volume).await?;
        match volume.vm_instance_uuid == Some(self.vm.cast()) {
            true => Ok(()),
            false => {
                let details =
                    format!("volume \"{}\" is not attached to vm \"{}\"", volume.name, self.vm_name);
                Err(codes::STATE.because(details))
            }
        }
    }

    async fn unplug(&mut self, cx: &Cx) -> Result<()> {
        unplug(cx, self.vm, self.volume).await
    }

    async fn plug(&mut self, cx: &Cx) -> Result<()> {
        plug(cx, self.vm, self.volume).await
    }

    async fn detached(&mut self, tx: &mut Tx) -> Result<()> {
        volume::let_go(tx, self.volume, self.vm.cast()).await
    }
}

impl Flow for Detach {
    const NAME: &'static str = "vm.detach_volume";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("detach volume \"{}\" from vm \"{}\"", self.name, self.vm_name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("look", Self::look)
            .point(&BEFORE_DETACH_VOLUME, |detach, cx| Box::pin(disk(cx, detach.vm, detach.volume)))
            .act_undo("unplug", Self::unplug, Self::plug)
            .unless(|detach| !detach.running)
            .point(&AFTER_DETACH_VOLUME, |detach, cx| Box::pin(disk(cx, detach.vm, detach.volume)))
            .record("detached", Self::detached)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VolumeInventory>(tx, self.volume).await
    }
}

async fn plug(cx: &Cx, vm: Id<VmInstance>, volume: Id<Volume>) -> Result<()> {
    let (host, vm, volume) = there(cx, vm, volume).await?;
    host.hypervisor()?.attach_volume(cx, &host, &vm.uuid.to_string(), told(volume, vm.virtio)).await
}

async fn unplug(cx: &Cx, vm: Id<VmInstance>, volume: Id<Volume>) -> Result<()> {
    let (host, vm, volume) = there(cx, vm, volume).await?;
    host.hypervisor()?.detach_volume(cx, &host, &vm.uuid.to_string(), told(volume, vm.virtio)).await
}

async fn there(
    cx: &Cx,
    vm: Id<VmInstance>,
    volume: Id<Volume>,
) -> Result<(crate::host::HostInventory, VmInstanceInventory, VolumeInventory)> {
    let host = life::host_of(cx, vm).await?;
    let mut tx = cx.read().await?;
    Ok((host, find(&mut tx, vm).await?, find(&mut tx, volume).await?))
}

/// The lowest number that none of its data volumes has; 0 is the root volume.
async fn free_device(tx: &mut Tx, vm: &VmInstanceInventory) -> Result<i64> {
    let taken: Vec<_> =
        volume::data_of(tx, vm.uuid.cast()).await?.iter().filter_map(|v| v.device_id).collect();
    let most = tx.engine().setting(&MOST);
    (1..=most).find(|device| !taken.contains(device)).ok_or_else(|| {
        let (category, name) = (MOST.category, MOST.name);
        codes::OPERATION
            .because(format!("vm \"{}\" has {most} data volumes, the most by {category}.{name}", vm.name))
    })
}

fn unattachable(volume: &VolumeInventory) -> engine::ErrorCode {
    let name = &volume.name;
    let why = match (&volume.vm_instance_uuid, volume.r#type.as_str(), volume.state.as_str()) {
        (_, "Root", _) => "is a root volume: it stays with its vm".to_owned(),
        (Some(vm), ..) => format!("is attached to vm {vm}: detach it first"),
        (None, _, "Disabled") => "is disabled: enable it first".to_owned(),
        (None, ..) if volume.status == "Ready" => "is being worked on: wait for the end of that".to_owned(),
        _ => format!("is {}", volume.status),
    };
    codes::STATE.because(format!("volume \"{name}\" {why}"))
}

api! {
    AttachDataVolumeToVm: POST "/volumes/{volumeUuid}/vm-instances/{vmInstanceUuid}" "params" {
        vm_instance_uuid: Id<VmInstance>,
        volume_uuid: Id<Volume>,
    }
}

impl Api for AttachDataVolumeToVm {
    const ROUTE: Route = AttachDataVolumeToVm::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.vm_instance_uuid).await?;
        let volume: VolumeInventory = find(&mut tx, self.volume_uuid).await?;
        drop(tx);
        let attach = Attach {
            vm: vm.uuid,
            vm_name: vm.name,
            volume: volume.uuid,
            name: volume.name,
            account: job.account(),
            fresh: false,
            running: false,
            placed: Placed::default(),
        };
        job.flow(attach).await
    }
}

api! {
    /// `vmUuid` only says whose it is thought to be: a volume is attached to one VM.
    DetachDataVolumeFromVm: DELETE "/volumes/{uuid}/vm-instances" {
        uuid: Id<Volume>,
        vm_uuid: Option<Id<VmInstance>>,
    }
}

impl Api for DetachDataVolumeFromVm {
    const ROUTE: Route = DetachDataVolumeFromVm::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let volume: VolumeInventory = find(&mut tx, self.uuid).await?;
        if volume.r#type != "Data" {
            return Err(unattachable(&volume));
        }
        let Some(vm) = self.vm_uuid.or(volume.vm_instance_uuid.map(Id::cast)) else {
            return Err(codes::STATE.because(format!("volume \"{}\" is attached to no vm", volume.name)));
        };
        let vm: VmInstanceInventory = find(&mut tx, vm).await?;
        drop(tx);
        let (volume, name) = (volume.uuid, volume.name);
        job.flow(Detach { vm: vm.uuid, vm_name: vm.name, volume, name, running: false }).await
    }
}

api! {
    /// The volumes that can be attached to the VM as it is.
    GetVmAttachableDataVolume: GET "/vm-instances/{vmInstanceUuid}/data-volume-candidates" {
        vm_instance_uuid: Id<VmInstance>,
    }
}

impl Ask for GetVmAttachableDataVolume {
    const ROUTE: Route = GetVmAttachableDataVolume::ROUTE;
    type Reply = Listed<VolumeInventory>;

    async fn answer(self, asked: Asked) -> Result<Self::Reply> {
        let account = asked.tenant();
        let mut tx = asked.engine.db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.vm_instance_uuid).await?;
        let volumes = store::attachable_volumes(&mut tx, &vm, account).await?;
        listed(&mut tx, &volumes).await
    }
}

api! {
    /// The VMs that the volume can be attached to as it is.
    GetDataVolumeAttachableVm: GET "/volumes/{volumeUuid}/candidate-vm-instances" {
        volume_uuid: Id<Volume>,
    }
}

impl Ask for GetDataVolumeAttachableVm {
    const ROUTE: Route = GetDataVolumeAttachableVm::ROUTE;
    type Reply = Listed<VmInstanceInventory>;

    async fn answer(self, asked: Asked) -> Result<Self::Reply> {
        let account = asked.tenant();
        let mut tx = asked.engine.db().read().await?;
        let volume: VolumeInventory = find(&mut tx, self.volume_uuid).await?;
        let free = volume.vm_instance_uuid.is_none()
            && ["Ready", "NotInstantiated"].contains(&volume.status.as_str());
        if !free || volume.r#type != "Data" || volume.state != "Enabled" {
            return Err(unattachable(&volume));
        }
        let vms = store::attaching_vms(&mut tx, &volume, account).await?;
        listed(&mut tx, &vms).await
    }
}
