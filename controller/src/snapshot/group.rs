//! Groups: snapshots of all volumes of a VM, of one moment.

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes, deletion};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::create::{Create, NewGroup, Part};
use super::revert::{self, Revert};
use super::{VolumeSnapshotGroup, VolumeSnapshotGroupInventory, VolumeSnapshotInventory, store};
use crate::validate;
use crate::vm::{VmInstance, VmInstanceInventory};
use crate::volume::{self, Volume, VolumeInventory};

api! {
    /// Of all volumes of the VM that this is the root volume of.
    CreateVolumeSnapshotGroup: POST "/volume-snapshots/group" "params" {
        root_volume_uuid: Id<Volume>,
        name: String,
        description: Option<String>,
        with_memory: Option<bool>,
        resource_uuid: Option<Id<VolumeSnapshotGroup>>,
    }
}

impl Api for CreateVolumeSnapshotGroup {
    const ROUTE: Route = CreateVolumeSnapshotGroup::ROUTE;
    const MAKES: Option<&'static str> = Some(VolumeSnapshotGroupInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        validate::unsupported("withMemory", &self.with_memory.filter(|memory| *memory))?;
        let mut tx = job.engine().db().read().await?;
        let root: VolumeInventory = find(&mut tx, self.root_volume_uuid).await?;
        let Some(vm) = root.vm_instance_uuid.filter(|_| root.r#type == "Root") else {
            let details = format!("volume \"{}\" is no vm's root volume", root.name);
            return Err(codes::INVALID_ARGUMENT.because(details));
        };
        let vm: VmInstanceInventory = find(&mut tx, vm).await?;
        let data = volume::data_of(&mut tx, vm.uuid.cast()).await?;
        drop(tx);
        let uuid: Id<VolumeSnapshotGroup> = self.resource_uuid.unwrap_or(job.id().cast());
        let part = |volume: &VolumeInventory| {
            let own = Id::derived(&[&uuid.to_string(), &volume.uuid.to_string(), "snapshot"]);
            Part::new(own, &self.name, self.description.clone(), volume.uuid)
        };
        let create = Create {
            owner: vm.uuid.cast(),
            of: format!("vm \"{}\"", vm.name),
            vm: Some(vm.uuid),
            parts: [&root].into_iter().chain(&data).map(part).collect(),
            group: Some(NewGroup { uuid, name: self.name, description: self.description }),
            live: false,
        };
        job.flow(create).await
    }
}

api! {
    UpdateVolumeSnapshotGroup: PUT "/volume-snapshots/group/{uuid}/actions" "updateVolumeSnapshotGroup" {
        uuid: Id<VolumeSnapshotGroup>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateVolumeSnapshotGroup {
    const ROUTE: Route = UpdateVolumeSnapshotGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update_group(tx, self.uuid, self.name.as_deref(), self.description.as_deref()).await?;
                show::<VolumeSnapshotGroupInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    /// All volumes go back to the group's moment, or none does. The VM must be stopped.
    RevertVmFromSnapshotGroup: PUT "/volume-snapshots/group/{uuid}/actions" "revertVmFromSnapshotGroup" {
        uuid: Id<VolumeSnapshotGroup>,
    }
}

impl Api for RevertVmFromSnapshotGroup {
    const ROUTE: Route = RevertVmFromSnapshotGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let group: VolumeSnapshotGroupInventory = find(&mut tx, self.uuid).await?;
        if let Some(reason) = obstacle(&mut tx, &group).await? {
            let details = format!("snapshot group \"{}\" cannot be gone back to: {reason}", group.name);
            return Err(codes::STATE.because(details));
        }
        let vm: VmInstanceInventory = find(&mut tx, group.vm_instance_uuid).await?;
        let mut parts = Vec::new();
        for uuid in store::left_of(&mut tx, group.uuid).await? {
            let snapshot: VolumeSnapshotInventory = find(&mut tx, uuid).await?;
            let name = Id::derived(&[&job.id().to_string(), &uuid.to_string(), "revert"]);
            parts.push(revert::Part::new(&snapshot, name));
        }
        drop(tx);
        let of = format!("vm \"{}\"", vm.name);
        job.flow(Revert { owner: vm.uuid.cast(), of, vm: Some(vm.uuid), parts }).await
    }
}

/// Why the group cannot be gone back to, if it cannot.
async fn obstacle(tx: &mut engine::db::Tx, group: &VolumeSnapshotGroupInventory) -> Result<Option<String>> {
    let refs = store::refs(tx, vec![group.uuid.into()]).await?;
    let gone: Vec<_> = refs.iter().filter(|one| one.snapshot_deleted).collect();
    if let Some(one) = gone.first() {
        return Ok(Some(format!("the snapshot of volume \"{}\" is deleted", one.volume_name)));
    }
    let vm: Id<VmInstance> = group.vm_instance_uuid;
    for one in &refs {
        let volume: VolumeInventory = find(tx, one.volume_uuid).await?;
        if volume.vm_instance_uuid != Some(vm.cast()) {
            return Ok(Some(format!("volume \"{}\" is no longer attached to the vm", volume.name)));
        }
    }
    let all = 1 + volume::data_of(tx, vm.cast()).await?.len();
    match all > refs.len() {
        true => Ok(Some("volumes were attached to the vm since: detach them first".into())),
        false => Ok(None),
    }
}

deletion! { DeleteVolumeSnapshotGroup: "/volume-snapshots/group/{uuid}" of VolumeSnapshotGroup: VolumeSnapshotGroupInventory }

api! {
    /// The snapshots stay, each for itself.
    UngroupVolumeSnapshotGroup: DELETE "/volume-snapshots/ungroup/{uuid}" {
        uuid: Id<VolumeSnapshotGroup>,
    }
}

impl Api for UngroupVolumeSnapshotGroup {
    const ROUTE: Route = UngroupVolumeSnapshotGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<VolumeSnapshotGroupInventory>(tx, self.uuid).await?;
                store::delete_group(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    /// Whether the VM can go back to each of the groups.
    CheckVolumeSnapshotGroupAvailability: GET "/volume-snapshots/groups/availabilities" {
        #[serde(deserialize_with = "validate::list")]
        uuids: Vec<Id<VolumeSnapshotGroup>>,
    }
}

#[derive(Serialize, JsonSchema)]
pub struct Availabilities {
    results: Vec<Availability>,
}

/// Whether, and why not.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "VolumeSnapshotGroupAvailability")]
struct Availability {
    group_uuid: Id<VolumeSnapshotGroup>,
    available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Ask for CheckVolumeSnapshotGroupAvailability {
    const ROUTE: Route = CheckVolumeSnapshotGroupAvailability::ROUTE;
    type Reply = Availabilities;

    async fn answer(self, asked: Asked) -> Result<Availabilities> {
        let mut tx = asked.engine.db().read().await?;
        let mut results = Vec::new();
        for uuid in self.uuids {
            let group: VolumeSnapshotGroupInventory = find(&mut tx, uuid).await?;
            let reason = obstacle(&mut tx, &group).await?;
            results.push(Availability { group_uuid: uuid, available: reason.is_none(), reason });
        }
        Ok(Availabilities { results })
    }
}
