//! Taking snapshots: of one volume, or of all volumes of a VM at one moment.

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes, quota};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::calls::snapshot as call;

use super::volume::{settled, vm_in};
use super::{
    DEEPEST, NUM, VolumeSnapshot, VolumeSnapshotGroup, VolumeSnapshotGroupInventory, VolumeSnapshotInventory,
    store,
};
use crate::host::HostInventory;
use crate::host::driver::VmState;
use crate::primary_storage;
use crate::vm::{self, VmInstance, VmInstanceInventory};
use crate::volume::{Lies, Volume, VolumeInventory};

/// A VM's states in which snapshots of its volumes are taken.
const STEADY: &[&str] = &["Running", "Paused", "Stopped"];

/// claim → take → taken
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Create {
    pub owner: Id<Any>,
    /// Of what, for people.
    pub of: String,
    pub vm: Option<Id<VmInstance>>,
    pub group: Option<NewGroup>,
    pub parts: Vec<Part>,
    /// The VM has the volumes open.
    pub live: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NewGroup {
    pub uuid: Id<VolumeSnapshotGroup>,
    pub name: String,
    pub description: Option<String>,
}

/// The snapshot of one volume.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub uuid: Id<VolumeSnapshot>,
    pub name: String,
    pub description: Option<String>,
    pub volume: Id<Volume>,
    /// What was the volume's file, and where the volume goes on.
    pub from: String,
    pub to: String,
    /// Bytes.
    pub size: i64,
}

impl Part {
    pub fn new(
        uuid: Id<VolumeSnapshot>,
        name: &str,
        description: Option<String>,
        volume: Id<Volume>,
    ) -> Part {
        let (from, to) = (String::new(), String::new());
        Part { uuid, name: name.to_owned(), description, volume, from, to, size: 0 }
    }

    async fn claim(&mut self, tx: &mut Tx, vm: Option<Id<VmInstance>>) -> Result<()> {
        let lies = settled(tx, self.volume, vm).await?;
        let Lies { volume, storage, .. } = &lies;
        let latest = store::latest(tx, self.volume).await?;
        let deepest = tx.engine().setting(&DEEPEST);
        if latest.as_ref().is_some_and(|latest| latest.distance + 1 >= deepest) {
            let (category, name) = (DEEPEST.category, DEEPEST.name);
            return Err(codes::OPERATION.because(format!(
                "volume \"{}\" stands on {deepest} snapshots, the most by {category}.{name}: delete some",
                volume.name
            )));
        }
        self.from = volume.install_path.clone().unwrap_or_default();
        self.to = storage.driver()?.layer_path(&self.from, &volume.uuid.to_string(), &self.uuid.to_string());
        has_room(tx, &lies).await?;
        store::enter(tx, self, volume, latest.as_ref()).await
    }

    async fn told(&self, cx: &Cx, virtio: bool) -> Result<wire::calls::vm::Volume> {
        let volume: VolumeInventory = find(&mut cx.read().await?, self.volume).await?;
        Ok(vm::told(volume, virtio))
    }
}

/// What a volume takes may grow by as much once it goes on in another file.
async fn has_room(tx: &mut Tx, lies: &Lies) -> Result<()> {
    let (volume, needed) = (&lies.volume, lies.volume.actual_size.unwrap_or(0));
    let candidates = primary_storage::candidates(tx, lies.host.uuid, "").await?;
    let there = candidates.into_iter().find(|one| one.storage == lies.storage.uuid);
    match there {
        Some(there) if there.available >= needed => Ok(()),
        there => {
            let left = there.map_or(0, |there| there.available.max(0));
            let details = format!(
                "the primary storage of volume \"{}\" has {left} bytes left for it, a snapshot needs {needed}",
                volume.name
            );
            Err(codes::OPERATION.because(details))
        }
    }
}

impl Create {
    async fn claim(&mut self, tx: &mut Tx) -> Result<()> {
        let vm = match self.vm {
            Some(vm) => Some(vm_in(tx, vm, STEADY, "snapshots are taken").await?),
            None => None,
        };
        self.live = vm.is_some_and(|vm| vm.host_uuid.is_some());
        for part in &mut self.parts {
            part.claim(tx, self.vm).await?;
        }
        if let (Some(group), Some(vm)) = (&self.group, self.vm) {
            store::enter_group(tx, group, vm, &self.parts).await?;
        }
        let many = i64::try_from(self.parts.len()).unwrap_or(i64::MAX);
        match self.parts.first() {
            Some(one) => quota::check(tx, one.uuid, &[(&NUM, many)]).await,
            None => Err(codes::INVALID_ARGUMENT.because("there is no volume to take a snapshot of")),
        }
    }

    async fn give_up(&mut self, tx: &mut Tx) -> Result<()> {
        for part in &self.parts {
            store::forget_one(tx, part.uuid).await?;
            store::set_spare(tx, part.volume, None).await?;
        }
        match &self.group {
            Some(group) => store::delete_group(tx, group.uuid).await,
            None => Ok(()),
        }
    }

    /// One host has them all: where the VM runs, or where its root volume lies, or is worked on.
    async fn host(&self, cx: &Cx) -> Result<(HostInventory, bool)> {
        let mut tx = cx.read().await?;
        let virtio = match self.vm {
            Some(vm) => find::<VmInstanceInventory>(&mut tx, vm).await?.virtio,
            None => true,
        };
        let first = self.parts.first().ok_or_else(|| codes::INTERNAL.because("no part"))?;
        Ok((Lies::of(&mut tx, first.volume).await?.host, virtio))
    }

    fn vm_text(&self) -> Option<String> {
        self.vm.map(|vm| vm.to_string())
    }

    async fn take(&mut self, cx: &Cx) -> Result<()> {
        let (host, virtio) = self.host(cx).await?;
        let mut jobs = Vec::new();
        for part in &self.parts {
            jobs.push(call::Job {
                vm_instance_uuid: self.vm_text(),
                volume_uuid: part.volume.to_string(),
                install_path: part.to.clone(),
                previous_install_path: part.from.clone(),
                new_volume_install_path: Some(part.to.clone()),
                live: self.live,
                full: false,
                volume: part.told(cx, virtio).await?,
            });
        }
        for taken in host.hypervisor()?.take_snapshots(cx, &host, jobs).await? {
            let part = self.parts.iter_mut().find(|part| part.volume.to_string() == taken.volume_uuid);
            if let Some(part) = part {
                part.size = i64::try_from(taken.size).unwrap_or(i64::MAX);
            }
        }
        Ok(())
    }

    /// What was written since is in the new files: of a VM that runs it is written back.
    async fn take_back(&mut self, cx: &Cx) -> Result<()> {
        let (host, virtio) = self.host(cx).await?;
        for part in &self.parts {
            if let Some(vm) = self.vm_text().filter(|_| self.live) {
                let hypervisor = host.hypervisor()?;
                if hypervisor.vm_state(cx, &host, &vm).await? == VmState::Absent {
                    return Err(codes::STATE.because(format!(
                        "{} stopped while its snapshot was taken back: what it has written since is in \"{}\"",
                        self.of, part.to
                    )));
                }
                let volume = part.told(cx, virtio).await?;
                hypervisor.commit_layers(cx, &host, &vm, volume, &part.to, &part.from).await?;
            }
            Lies::of(&mut cx.read().await?, part.volume).await?.delete(cx, &part.to).await?;
        }
        Ok(())
    }

    async fn taken(&mut self, tx: &mut Tx) -> Result<()> {
        for part in &self.parts {
            store::taken(tx, part).await?;
            let payload = json!({ "volumeUuid": part.volume, "size": part.size });
            tx.emit("/volume/snapshot/created", part.uuid.cast(), payload).await?;
        }
        Ok(())
    }
}

impl Flow for Create {
    const NAME: &'static str = "snapshot.create";

    fn resource(&self) -> Id<Any> {
        self.owner
    }

    fn title(&self) -> String {
        format!("take a snapshot of {}", self.of)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("claim", Self::claim, Self::give_up)
            .act_undo("take", Self::take, Self::take_back)
            .record("taken", Self::taken)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        match (&self.group, self.parts.first()) {
            (Some(group), _) => show::<VolumeSnapshotGroupInventory>(tx, group.uuid).await,
            (None, Some(part)) => show::<VolumeSnapshotInventory>(tx, part.uuid).await,
            (None, None) => Ok(json!({})),
        }
    }
}
