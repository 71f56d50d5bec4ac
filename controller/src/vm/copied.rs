//! Disks of a new VM that are copies of what is there already: of a snapshot, or of a volume that no VM has open.
//! The copy lies where that lies, stands alone, and what it was made of stays as it was.
//!
//! A volume that is copied is kept from others meanwhile; where that is not enough, as with a volume that no VM
//! has, it must be unchanged since the creation was asked for when the copy is there.

use std::time::Duration;

use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};

use super::VmInstanceInventory;
use crate::host::Host;
use crate::primary_storage::PrimaryStorage;
use crate::primary_storage::driver::{Placed, Through};
use crate::volume::{Volume, VolumeInventory};

/// How long copying may take.
pub(super) const COPYING: Duration = Duration::from_secs(6 * 3600);
/// How long who works on a volume is waited for: who waits for the new VM may be among them.
const TURN: Duration = Duration::from_secs(30);

/// What a disk is copied from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Source {
    /// The file of a snapshot: nobody writes to it.
    Snapshot(String),
    Volume(Still),
}

/// A volume, and whether it is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Still {
    volume: Id<Volume>,
    path: String,
    /// The VM that has it.
    vm: Option<Id<Any>>,
    /// When something was done to it and to its VM last, in milliseconds.
    touched: (u64, Option<u64>),
}

/// What is to be copied, and what is known of it.
pub struct Original {
    /// For people: `snapshot "before"`.
    pub name: String,
    pub source: Source,
    pub storage: Option<Id<PrimaryStorage>>,
    /// Where it lies, if on one host.
    pub home: Option<Id<Host>>,
    /// Bytes.
    pub size: i64,
    /// The VM that boots from it, or did.
    pub like: Option<Id<Any>>,
}

impl Original {
    /// The volume as it is.
    pub(super) async fn volume(tx: &mut Tx, volume: Id<Volume>) -> Result<Original> {
        let volume: VolumeInventory = find(tx, volume).await?;
        let like = volume.vm_instance_uuid.filter(|_| volume.r#type == "Root");
        Ok(Original {
            name: format!("volume \"{}\"", volume.name),
            source: Source::Volume(Still::of(tx, &volume).await?),
            storage: volume.primary_storage_uuid,
            home: volume.host_uuid,
            size: volume.size,
            like,
        })
    }
}

impl Still {
    async fn of(tx: &mut Tx, volume: &VolumeInventory) -> Result<Still> {
        let vm = closed(tx, volume, "make the vm of that").await?;
        Ok(Still {
            volume: volume.uuid,
            path: volume.install_path.clone().unwrap_or_default(),
            vm: volume.vm_instance_uuid,
            touched: (volume.last_op_date.millis(), vm.map(|vm| vm.last_op_date.millis())),
        })
    }

    /// Refuses when anything was done to it.
    async fn check(&self, cx: &Cx) -> Result<()> {
        let mut tx = cx.read().await?;
        let volume: VolumeInventory = find(&mut tx, self.volume).await?;
        match Still::of(&mut tx, &volume).await? == *self {
            true => Ok(()),
            false => {
                let name = &volume.name;
                Err(codes::STATE.because(format!("volume \"{name}\" was worked on meanwhile: try again")))
            }
        }
    }

    /// Nobody works on it meanwhile.
    async fn copy(&self, cx: &Cx, copy: impl Future<Output = Result<Placed>> + Send) -> Result<Placed> {
        let whose = self.vm.unwrap_or(self.volume.cast());
        let alone = cx.alone_with(whose, "copy a volume for a new vm");
        let Ok(alone) = tokio::time::timeout(TURN, alone).await else {
            let details = format!(
                "volume {} is being worked on: wait for the end of that, or take a snapshot and make the vm of it",
                self.volume
            );
            return Err(codes::STATE.because(details));
        };
        let _alone = alone?;
        self.check(cx).await?;
        let made = copy.await?;
        self.check(cx).await?;
        Ok(made)
    }
}

impl Source {
    /// Makes the copy at `to`.
    pub(super) async fn copy(&self, at: Through<'_>, to: &str) -> Result<Placed> {
        let driver = at.storage.driver()?;
        match self {
            Source::Snapshot(from) => driver.copy(at, from, to).await,
            Source::Volume(still) => still.copy(at.cx, driver.copy(at, &still.path, to)).await,
        }
    }
}

/// Refuses a volume that is not ready or that a VM has open; `instead` says what a snapshot of it is good for.
/// The VM that has it, if one.
pub async fn closed(
    tx: &mut Tx,
    volume: &VolumeInventory,
    instead: &str,
) -> Result<Option<VmInstanceInventory>> {
    let name = &volume.name;
    if volume.status == "NotInstantiated" {
        let details = format!("volume \"{name}\" lies nowhere yet: there is nothing in it");
        return Err(codes::STATE.because(details));
    }
    if volume.status != "Ready" {
        return Err(codes::STATE.because(format!("volume \"{name}\" is {}", volume.status)));
    }
    let Some(vm) = volume.vm_instance_uuid else { return Ok(None) };
    let vm: VmInstanceInventory = find(tx, vm).await?;
    match vm.state.as_str() {
        "Stopped" => Ok(Some(vm)),
        state => {
            let details = format!(
                "vm \"{}\" is {state} and writes to volume \"{name}\": stop it, or take a snapshot and {instead}",
                vm.name
            );
            Err(codes::STATE.because(details))
        }
    }
}
