use engine::api::{Api, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes};
use serde_json::json;

use super::{MOST, VmCdRom, VmCdRomInventory, iso, must_be_stopped, store};
use crate::image::Image;
use crate::validate;
use crate::vm::{VmInstance, VmInstanceInventory};

api! {
    /// The VM must be stopped. What lies in the drive is fetched when the VM starts.
    CreateVmCdRom: POST "/vm-instances/cdroms" "params" changes ["vmInstanceUuid"] {
        name: String,
        vm_instance_uuid: Id<VmInstance>,
        iso_uuid: Option<Id<Image>>,
        description: Option<String>,
        resource_uuid: Option<Id<VmCdRom>>,
    }
}

impl CreateVmCdRom {
    async fn make(self, tx: &mut Tx, uuid: Id<VmCdRom>) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.vm_instance_uuid).await?;
        must_be_stopped(&vm)?;
        let drives = store::of_vm(tx, vm.uuid).await?;
        let most = tx.engine().setting(&MOST);
        let taken = |device: &i64| drives.iter().any(|drive| drive.device_id == *device);
        let Some(device) = (0..most).find(|device| !taken(device)) else {
            let details = format!(
                "vm \"{}\" has {} cd-rom drives, the most by vm.maximumCdRomNum",
                vm.name,
                drives.len()
            );
            return Err(codes::OPERATION.because(details));
        };
        if let Some(iso) = self.iso_uuid {
            iso::look(tx, &vm, &drives, iso).await?;
        }
        let description = self.description.as_deref();
        store::insert(tx, uuid, vm.uuid, device, &self.name, description, self.iso_uuid).await
    }
}

impl Api for CreateVmCdRom {
    const ROUTE: Route = CreateVmCdRom::ROUTE;
    const MAKES: Option<&'static str> = Some(VmCdRomInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                self.make(tx, uuid).await?;
                show::<VmCdRomInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    UpdateVmCdRom: PUT "/vm-instances/cdroms/{uuid}/actions" "updateVmCdRom" {
        uuid: Id<VmCdRom>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateVmCdRom {
    const ROUTE: Route = UpdateVmCdRom::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, self.uuid, self.name.as_deref(), self.description.as_deref()).await?;
                show::<VmCdRomInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    /// The VM must be stopped.
    DeleteVmCdRom: DELETE "/vm-instances/cdroms/{uuid}" {
        uuid: Id<VmCdRom>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteVmCdRom {
    const ROUTE: Route = DeleteVmCdRom::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let drive: VmCdRomInventory = find(tx, self.uuid).await?;
                must_be_stopped(&find(tx, drive.vm_instance_uuid).await?)?;
                store::delete(tx, drive.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    /// It becomes the first drive, and the first one takes its place; the VM must be stopped.
    SetVmInstanceDefaultCdRom: PUT "/vm-instances/{vmInstanceUuid}/cdroms/{uuid}/actions"
        "setVmInstanceDefaultCdRom" {
        uuid: Id<VmCdRom>,
        vm_instance_uuid: Id<VmInstance>,
    }
}

impl Api for SetVmInstanceDefaultCdRom {
    const ROUTE: Route = SetVmInstanceDefaultCdRom::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let vm: VmInstanceInventory = find(tx, self.vm_instance_uuid).await?;
                must_be_stopped(&vm)?;
                let drives = store::of_vm(tx, vm.uuid).await?;
                let Some(chosen) = drives.iter().find(|drive| drive.uuid == self.uuid) else {
                    let details = format!("vm \"{}\" has no cd-rom drive {}", vm.name, self.uuid);
                    return Err(codes::INVALID_ARGUMENT.because(details));
                };
                if let Some(first) = drives.iter().find(|drive| drive.device_id == 0) {
                    store::number(tx, first.uuid, chosen.device_id).await?;
                }
                store::number(tx, chosen.uuid, 0).await?;
                show::<VmCdRomInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}
