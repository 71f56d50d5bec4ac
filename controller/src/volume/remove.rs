//! Deleting, recovering and expunging data volumes.

use engine::api::{Api, Job, Route, Settled};
use engine::cascade::{Delete, DeleteMode, Root};
use engine::db::Tx;
use engine::inventory::{find, show};
use engine::{Engine, ErrorCode, Id, Result, Stamp, api, codes};
use serde_json::json;

use super::{DELETION_POLICY, EXPUNGE_PERIOD, Volume, VolumeInventory, store};

/// What becomes of a data volume that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It is expunged at once.
    Direct,
    /// It can be recovered until it is expunged.
    Delay,
}

impl std::str::FromStr for DeletionPolicy {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "Direct" => Ok(DeletionPolicy::Direct),
            "Delay" => Ok(DeletionPolicy::Delay),
            _ => Err("must be Direct or Delay"),
        }
    }
}

/// A data volume that no VM has.
async fn loose(tx: &mut Tx, uuid: Id<Volume>) -> Result<VolumeInventory> {
    let volume: VolumeInventory = find(tx, uuid).await?;
    if volume.r#type != "Data" {
        let details = format!("volume \"{}\" is a VM's root volume: it goes with the VM", volume.name);
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    match volume.vm_instance_uuid {
        None => Ok(volume),
        Some(vm) => Err(codes::STATE
            .because(format!("volume \"{}\" is attached to vm {vm}: detach it first", volume.name))),
    }
}

/// It was never made, so there is nothing to recover.
fn goes_at_once(tx: &Tx, volume: &VolumeInventory) -> bool {
    volume.status != "Ready" || tx.engine().setting(&DELETION_POLICY) == DeletionPolicy::Direct
}

fn whole(volume: &VolumeInventory) -> Delete {
    Delete::new(Root::new("Volume", volume.uuid.cast(), &volume.name))
}

fn not_deleted(volume: &VolumeInventory, wanted: &str) -> ErrorCode {
    let (name, status) = (&volume.name, &volume.status);
    codes::STATE.because(format!("volume \"{name}\" is {status}: what is deleted can be {wanted}"))
}

api! {
    /// By the setting `volume.deletionPolicy` at once, or so that it can be recovered for a while.
    DeleteDataVolume: DELETE "/volumes/{uuid}" {
        uuid: Id<Volume>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteDataVolume {
    const ROUTE: Route = DeleteDataVolume::ROUTE;

    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let volume = loose(tx, self.uuid).await?;
        Ok(Some(whole(&volume).mode(self.delete_mode)))
    }

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let volume = loose(&mut tx, self.uuid).await?;
        let at_once = goes_at_once(&tx, &volume);
        drop(tx);
        if at_once {
            return job.delete(&self).await;
        }
        job.write(move |tx| {
            Box::pin(async move {
                loose(tx, self.uuid).await?;
                store::going(tx, self.uuid).await?;
                tx.emit("/volume/deleted", self.uuid.cast(), json!({ "recoverable": true })).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    /// Takes back a deletion.
    RecoverDataVolume: PUT "/volumes/{uuid}/actions" "recoverDataVolume" {
        uuid: Id<Volume>,
    }
}

impl Api for RecoverDataVolume {
    const ROUTE: Route = RecoverDataVolume::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let volume: VolumeInventory = find(tx, self.uuid).await?;
                if volume.status != "Deleted" {
                    return Err(not_deleted(&volume, "recovered"));
                }
                store::recover(tx, self.uuid).await?;
                tx.emit("/volume/recovered", self.uuid.cast(), json!({})).await?;
                show::<VolumeInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    /// Deletes for good what was deleted.
    ExpungeDataVolume: PUT "/volumes/{uuid}/actions" "expungeDataVolume" {
        uuid: Id<Volume>,
    }
}

impl Api for ExpungeDataVolume {
    const ROUTE: Route = ExpungeDataVolume::ROUTE;

    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let volume = loose(tx, self.uuid).await?;
        match volume.status.as_str() {
            "Deleted" => Ok(Some(whole(&volume))),
            _ => Err(not_deleted(&volume, "expunged")),
        }
    }

    async fn run(self, job: Job) -> Result<Settled> {
        job.delete(&self).await
    }
}

/// Expunges the deleted volumes whose time is over. One that fails is tried again at the next pass.
pub(super) async fn expunge_overdue(engine: Engine) -> Result<()> {
    let limit = Stamp::now().minus(engine.setting(&EXPUNGE_PERIOD));
    for (uuid, name) in store::deleted_before(&mut engine.db().read().await?, limit).await? {
        if let Err(error) = engine.run(Delete::new(Root::new("Volume", uuid, &name))).await {
            tracing::warn!(volume = name, %error, "could not be expunged");
        }
    }
    Ok(())
}
