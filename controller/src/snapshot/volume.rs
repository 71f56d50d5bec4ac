//! A volume whose files are about to be worked on: whose it is, and in which states that may be.

use engine::db::Tx;
use engine::inventory::find;
use engine::{Any, Id, Result, codes};

use super::store;
use crate::host;
use crate::vm::{VmInstance, VmInstanceInventory};
use crate::volume::{self, Lies, Volume, VolumeInventory};

/// The VM, which must be in one of these states, on a host that answers.
pub(super) async fn vm_in(
    tx: &mut Tx,
    vm: Id<VmInstance>,
    states: &[&str],
    what: &str,
) -> Result<VmInstanceInventory> {
    let vm: VmInstanceInventory = find(tx, vm).await?;
    if let Some(host) = vm.host_uuid {
        host::usable(tx, host).await?;
    }
    match states.contains(&vm.state.as_str()) {
        true => Ok(vm),
        false => {
            let details =
                format!("vm \"{}\" is {}: {what} when it is {}", vm.name, vm.state, states.join(" or "));
            Err(codes::STATE.because(details))
        }
    }
}

/// The volume, in hand: it must be such that somebody can work on it, and belong to whom the flow knows it to
/// belong.
pub(super) async fn settled(tx: &mut Tx, volume: Id<Volume>, vm: Option<Id<VmInstance>>) -> Result<Lies> {
    let volume: VolumeInventory = find(tx, volume).await?;
    let name = &volume.name;
    if volume.vm_instance_uuid != vm.map(Id::cast::<Any>) {
        return Err(
            codes::STATE.because(format!("volume \"{name}\" was attached or detached meanwhile: try again"))
        );
    }
    if volume.primary_storage_uuid.is_none() {
        return Err(codes::STATE.because(format!("volume \"{name}\" lies nowhere yet: attach it first")));
    }
    if volume.status != "Ready" {
        return Err(codes::STATE.because(format!("volume \"{name}\" is {}", volume.status)));
    }
    if let Some(snapshot) = store::unsteady(tx, volume.uuid).await? {
        let details = format!(
            "snapshot \"{}\" of volume \"{name}\" is {}: wait for its end",
            snapshot.name, snapshot.status
        );
        return Err(codes::STATE.because(details));
    }
    volume::in_hand(tx, volume.uuid).await
}

/// Refuses to work on a volume whose VM is on its way from one state to another.
pub(super) async fn workable(tx: &mut Tx, volume: &VolumeInventory) -> Result<()> {
    const STATES: &[&str] = &["Running", "Paused", "Stopped", "Destroyed"];
    match volume.vm_instance_uuid {
        Some(vm) => vm_in(tx, vm.cast(), STATES, "its volumes are worked on").await.map(|_| ()),
        None => Ok(()),
    }
}
