use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes, deletion};

use super::create::{Create, Part};
use super::look::Look;
use super::revert::{self, Revert};
use super::{VolumeSnapshot, VolumeSnapshotInventory, owner, store};
use crate::validate;
use crate::volume::{Volume, VolumeInventory};

api! {
    /// Of a volume that its VM has open, or of one that nobody has.
    CreateVolumeSnapshot: POST "/volumes/{volumeUuid}/volume-snapshots" "params" {
        volume_uuid: Id<Volume>,
        name: String,
        description: Option<String>,
        resource_uuid: Option<Id<VolumeSnapshot>>,
    }
}

impl Api for CreateVolumeSnapshot {
    const ROUTE: Route = CreateVolumeSnapshot::ROUTE;
    const MAKES: Option<&'static str> = Some(VolumeSnapshotInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        let volume: VolumeInventory = find(&mut job.engine().db().read().await?, self.volume_uuid).await?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        let create = Create {
            owner: owner(&volume),
            of: format!("volume \"{}\"", volume.name),
            vm: volume.vm_instance_uuid.map(Id::cast),
            group: None,
            parts: vec![Part::new(uuid, &self.name, self.description, volume.uuid)],
            live: false,
        };
        job.flow(create).await
    }
}

api! {
    UpdateVolumeSnapshot: PUT "/volume-snapshots/{uuid}/actions" "updateVolumeSnapshot" {
        uuid: Id<VolumeSnapshot>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateVolumeSnapshot {
    const ROUTE: Route = UpdateVolumeSnapshot::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, self.uuid, self.name.as_deref(), self.description.as_deref()).await?;
                show::<VolumeSnapshotInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    /// Looks how large the snapshot is on its storage.
    GetVolumeSnapshotSize: PUT "/volume-snapshots/{uuid}/actions" "getVolumeSnapshotSize" {
        uuid: Id<VolumeSnapshot>,
    }
}

impl Api for GetVolumeSnapshotSize {
    const ROUTE: Route = GetVolumeSnapshotSize::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let snapshot = ready(&job, self.uuid).await?;
        job.flow(Look { uuid: snapshot.uuid, name: snapshot.name, found: (0, 0) }).await
    }
}

api! {
    /// What the volume has had since is lost. Its VM must be stopped.
    RevertVolumeFromSnapshot: PUT "/volume-snapshots/{uuid}/actions" "revertVolumeFromSnapshot" {
        uuid: Id<VolumeSnapshot>,
    }
}

impl Api for RevertVolumeFromSnapshot {
    const ROUTE: Route = RevertVolumeFromSnapshot::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let snapshot = ready(&job, self.uuid).await?;
        let mut tx = job.engine().db().read().await?;
        let volume: VolumeInventory = find(&mut tx, snapshot.volume_uuid).await?;
        drop(tx);
        let name = Id::derived(&[&job.id().to_string(), "revert"]);
        let revert = Revert {
            owner: owner(&volume),
            of: format!("volume \"{}\"", volume.name),
            vm: volume.vm_instance_uuid.map(Id::cast),
            parts: vec![revert::Part::new(&snapshot, name)],
        };
        job.flow(revert).await
    }
}

async fn ready(job: &Job, uuid: Id<VolumeSnapshot>) -> Result<VolumeSnapshotInventory> {
    let snapshot: VolumeSnapshotInventory = find(&mut job.engine().db().read().await?, uuid).await?;
    match snapshot.status.as_str() {
        "Ready" => Ok(snapshot),
        status => Err(codes::STATE.because(format!("snapshot \"{}\" is {status}", snapshot.name))),
    }
}

deletion! { DeleteVolumeSnapshot: "/volume-snapshots/{uuid}" of VolumeSnapshot: VolumeSnapshotInventory }
