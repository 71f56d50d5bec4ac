use engine::api::{Ask, Asked, Route};
use engine::inventory::{Listed, find, listed};
use engine::{Id, Result, api};

use super::{iso, store};
use crate::image::{Image, ImageInventory};
use crate::vm::{VmInstance, VmInstanceInventory};

api! {
    /// The ISOs that could be put into one of the VM's drives.
    GetCandidateIsoForAttachingVm: GET "/vm-instances/{vmInstanceUuid}/iso-candidates" {
        vm_instance_uuid: Id<VmInstance>,
    }
}

impl Ask for GetCandidateIsoForAttachingVm {
    const ROUTE: Route = GetCandidateIsoForAttachingVm::ROUTE;
    type Reply = Listed<ImageInventory>;

    async fn answer(self, asked: Asked) -> Result<Self::Reply> {
        let account = asked.tenant();
        let mut tx = asked.engine.db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.vm_instance_uuid).await?;
        let isos = store::isos(&mut tx, &vm, account).await?;
        listed(&mut tx, &isos).await
    }
}

api! {
    /// The VMs that have an empty drive for the ISO.
    GetCandidateVmForAttachingIso: GET "/images/iso/{isoUuid}/vm-candidates" {
        iso_uuid: Id<Image>,
    }
}

impl Ask for GetCandidateVmForAttachingIso {
    const ROUTE: Route = GetCandidateVmForAttachingIso::ROUTE;
    type Reply = Listed<VmInstanceInventory>;

    async fn answer(self, asked: Asked) -> Result<Self::Reply> {
        let account = asked.tenant();
        let mut tx = asked.engine.db().read().await?;
        let image: ImageInventory = find(&mut tx, self.iso_uuid).await?;
        iso::must_be_iso(&image.name, &image.media_type)?;
        let vms = store::vms(&mut tx, image.uuid, account).await?;
        listed(&mut tx, &vms).await
    }
}
