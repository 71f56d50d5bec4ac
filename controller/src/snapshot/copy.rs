//! Data volumes that show what a snapshot shows.

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find};
use engine::{Id, Result, api, codes};

use super::{VolumeSnapshot, VolumeSnapshotInventory};
use crate::primary_storage::PrimaryStorage;
use crate::validate;
use crate::volume::{Create, Lies, Origin, Volume, VolumeInventory};

api! {
    /// Where the snapshot lies, and no longer dependent on it.
    CreateDataVolumeFromVolumeSnapshot: POST "/volumes/data/from/volume-snapshots/{volumeSnapshotUuid}" "params" {
        volume_snapshot_uuid: Id<VolumeSnapshot>,
        name: String,
        description: Option<String>,
        primary_storage_uuid: Option<Id<PrimaryStorage>>,
        resource_uuid: Option<Id<Volume>>,
    }
}

impl CreateDataVolumeFromVolumeSnapshot {
    async fn plan(self, tx: &mut Tx, job: &Job) -> Result<Create> {
        let snapshot: VolumeSnapshotInventory = find(tx, self.volume_snapshot_uuid).await?;
        snapshot.must_be_ready()?;
        let lies = Lies::to_read(tx, snapshot.volume_uuid).await?;
        if self.primary_storage_uuid.is_some_and(|wanted| wanted != lies.storage.uuid) {
            let details = format!(
                "snapshot \"{}\" lies on primary storage \"{}\": a volume is made of it there only",
                snapshot.name, lies.storage.name
            );
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        Ok(Create {
            uuid: self.resource_uuid.unwrap_or(job.id().cast()),
            account: job.account(),
            name: self.name,
            description: self.description,
            offering: None,
            size: lies.volume.size,
            storage: Some(lies.storage.uuid),
            host: lies.volume.host_uuid,
            placed: None,
            origin: snapshot.primary_storage_install_path.map(Origin::File),
        })
    }
}

impl Api for CreateDataVolumeFromVolumeSnapshot {
    const ROUTE: Route = CreateDataVolumeFromVolumeSnapshot::ROUTE;
    const MAKES: Option<&'static str> = Some(VolumeInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        let mut tx = job.engine().db().read().await?;
        let create = self.plan(&mut tx, &job).await?;
        drop(tx);
        job.flow(create).await
    }
}
