//! A stopped VM boots from another of its volumes from now on. No file is touched: what was its root volume is
//! one of its data volumes in the place of that one.

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, ErrorCode, Id, Result, api, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::store;
use crate::vm::{VmInstance, VmInstanceInventory};
use crate::volume::{self, Volume, VolumeInventory};

/// Rows only.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::vm) struct SetBootVolume {
    vm: Id<VmInstance>,
    name: String,
    volume: Id<Volume>,
}

impl SetBootVolume {
    async fn swap(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.vm).await?;
        if vm.state != "Stopped" {
            let details =
                format!("vm \"{}\" is {}: stop it before it boots from another volume", vm.name, vm.state);
            return Err(codes::STATE.because(details));
        }
        let root = volume::root_of(tx, vm.uuid.cast()).await?;
        let volume: VolumeInventory = find(tx, self.volume).await?;
        if root.uuid == volume.uuid {
            return Ok(());
        }
        if let Some(refusal) = unfit(&vm, &root, &volume) {
            return Err(refusal);
        }
        store::swap(tx, vm.uuid, &root, &volume).await?;
        let payload = json!({ "rootVolumeUuid": volume.uuid, "before": root.uuid });
        tx.emit("/vm/bootVolume/changed", vm.uuid.cast(), payload).await
    }
}

/// Why the VM cannot boot from the volume.
fn unfit(vm: &VmInstanceInventory, root: &VolumeInventory, volume: &VolumeInventory) -> Option<ErrorCode> {
    let (name, vm_name) = (&volume.name, &vm.name);
    let details = if volume.vm_instance_uuid != Some(vm.uuid.cast()) {
        format!("volume \"{name}\" is not attached to vm \"{vm_name}\": attach it first")
    } else if volume.status != "Ready" {
        format!("volume \"{name}\" is {}", volume.status)
    } else if volume.state != "Enabled" {
        format!("volume \"{name}\" is {}: enable it first", volume.state)
    } else if (volume.primary_storage_uuid, volume.host_uuid) != (root.primary_storage_uuid, root.host_uuid) {
        // Its ISOs lie where its root volume does.
        format!(
            "volume \"{name}\" does not lie where the root volume of vm \"{vm_name}\" does: a vm changes between \
             volumes of one place only"
        )
    } else {
        return None;
    };
    Some(codes::STATE.because(details))
}

impl Flow for SetBootVolume {
    const NAME: &'static str = "vm.set_boot_volume";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("boot vm \"{}\" from another volume", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new().record("swap", Self::swap)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.vm).await
    }
}

api! {
    /// A data volume of the VM becomes its root volume, and its root volume a data volume. The VM must be stopped.
    SetVmBootVolume: PUT "/vm-instances/{vmInstanceUuid}/actions" "setVmBootVolume" {
        vm_instance_uuid: Id<VmInstance>,
        volume_uuid: Id<Volume>,
    }
}

impl Api for SetVmBootVolume {
    const ROUTE: Route = SetVmBootVolume::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let vm: VmInstanceInventory =
            find(&mut job.engine().db().read().await?, self.vm_instance_uuid).await?;
        job.flow(SetBootVolume { vm: vm.uuid, name: vm.name, volume: self.volume_uuid }).await
    }
}
