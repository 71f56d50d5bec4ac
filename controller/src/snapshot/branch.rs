//! A snapshot with all that stand on it: how they are taken away.

use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result, codes};

use super::{VolumeSnapshot, VolumeSnapshotInventory, owner, store};
use crate::vm::{self, VmInstanceInventory};
use crate::volume::{self, Lies, VolumeInventory};

pub(super) struct Branch {
    pub snapshot: VolumeSnapshotInventory,
    /// Those that stand on it.
    above: Vec<VolumeSnapshotInventory>,
    /// What it stands on.
    parent: Option<VolumeSnapshotInventory>,
    /// The volume stands on one of them.
    carries: bool,
}

impl Branch {
    /// None when the snapshot is gone.
    pub async fn of(tx: &mut Tx, id: Id<VolumeSnapshot>) -> Result<Option<Branch>> {
        let snapshot: VolumeSnapshotInventory = match find(tx, id).await {
            Err(error) if error.is(codes::NOT_FOUND) => return Ok(None),
            found => found?,
        };
        let above = store::above(tx, id).await?;
        let parent = match snapshot.parent_uuid {
            Some(parent) => Some(find(tx, parent).await?),
            None => None,
        };
        let latest = store::latest(tx, snapshot.volume_uuid).await?.map(|latest| latest.uuid);
        let carries = latest.is_some_and(|latest| {
            latest == snapshot.uuid || above.iter().any(|one: &VolumeSnapshotInventory| one.uuid == latest)
        });
        Ok(Some(Branch { snapshot, above, parent, carries }))
    }

    pub fn members(&self) -> impl Iterator<Item = &VolumeSnapshotInventory> {
        // What was taken last goes first.
        self.above.iter().rev().chain([&self.snapshot])
    }

    /// Nobody else may work on these, nor begin to.
    pub async fn mark(&self, tx: &mut Tx) -> Result<()> {
        let lies = Lies::to_read(tx, self.snapshot.volume_uuid).await?;
        if self.carries {
            super::volume::workable(tx, &lies.volume).await?;
        }
        for one in self.members() {
            if one.status != "Ready" {
                let details = format!("snapshot \"{}\" is {}: wait for its end", one.name, one.status);
                return Err(codes::STATE.because(details));
            }
            store::set_status(tx, one.uuid, "Deleting").await?;
        }
        Ok(())
    }

    pub async fn unmark(&self, tx: &mut Tx) -> Result<()> {
        for one in self.members().filter(|one| one.status == "Deleting") {
            store::set_status(tx, one.uuid, "Ready").await?;
        }
        Ok(())
    }

    /// Puts the volume on what the snapshot stands on.
    async fn lift(&self, cx: &Cx, lies: &Lies) -> Result<()> {
        let base = self.parent.as_ref().and_then(|parent| parent.primary_storage_install_path.as_deref());
        let vm = match lies.volume.vm_instance_uuid {
            Some(vm) => Some(find::<VmInstanceInventory>(&mut cx.read().await?, vm).await?),
            None => None,
        };
        match vm.filter(|vm| vm.host_uuid.is_some()) {
            Some(vm) => {
                let (uuid, volume) = (vm.uuid.to_string(), vm::told(lies.volume.clone(), vm.virtio));
                lies.host.hypervisor()?.merge_layers(cx, &lies.host, &uuid, volume, base).await
            }
            None => {
                let path = lies.volume.install_path.as_deref().unwrap_or_default();
                lies.storage.driver()?.put_on(lies.through(cx), path, base).await
            }
        }
    }

    /// The rows of all of them are gone; the volume stands where it was put.
    pub async fn forget(&self, tx: &mut Tx) -> Result<()> {
        for one in self.members() {
            store::forget_one(tx, one.uuid).await?;
            let payload = serde_json::json!({ "volumeUuid": one.volume_uuid });
            tx.emit("/volume/snapshot/deleted", one.uuid.cast(), payload).await?;
        }
        match (&self.parent, self.carries) {
            (Some(parent), true) => store::set_latest(tx, parent).await,
            _ => Ok(()),
        }
    }
}

/// Takes the snapshot and all that stand on it away, while nobody else works on their volume.
pub(super) async fn take_away(cx: &Cx, id: Id<VolumeSnapshot>) -> Result<()> {
    let Some(whose) = whose(cx, id).await? else { return Ok(()) };
    let _alone = cx.alone_with(whose, &format!("delete snapshot {id}")).await?;
    let Some(branch) = Branch::of(&mut cx.read().await?, id).await? else { return Ok(()) };
    let volume = branch.snapshot.volume_uuid;
    // Not before: only who has it alone says who works on it.
    let taken = cx.write(move |tx| Box::pin(async move { volume::in_hand(tx, volume).await.map(|_| ()) }));
    taken.await?;
    let lies = Lies::of(&mut cx.read().await?, volume).await?;
    if owner(&lies.volume) != whose {
        let name = &lies.volume.name;
        return Err(codes::STATE.because(format!("volume \"{name}\" was attached or detached meanwhile")));
    }
    if branch.carries {
        branch.lift(cx, &lies).await?;
    }
    for path in branch.members().filter_map(|one| one.primary_storage_install_path.as_deref()) {
        lies.delete(cx, path).await?;
    }
    Ok(())
}

async fn whose(cx: &Cx, id: Id<VolumeSnapshot>) -> Result<Option<Id<Any>>> {
    let mut tx = cx.read().await?;
    let Some(branch) = Branch::of(&mut tx, id).await? else { return Ok(None) };
    let volume: VolumeInventory = find(&mut tx, branch.snapshot.volume_uuid).await?;
    Ok(Some(owner(&volume)))
}
