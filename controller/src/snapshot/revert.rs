//! Going back to a snapshot: the volume goes on in a new file on it, and what it had since is deleted.

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::find;
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::volume::{settled, vm_in};
use super::{VolumeSnapshot, VolumeSnapshotInventory, store};
use crate::vm::VmInstance;
use crate::volume::{Lies, Volume};

/// claim → make new files → go on in them → discard the old ones → discarded
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Revert {
    pub owner: Id<Any>,
    /// What is reverted, for people.
    pub of: String,
    pub vm: Option<Id<VmInstance>>,
    pub parts: Vec<Part>,
}

/// One volume and where it goes back to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub snapshot: Id<VolumeSnapshot>,
    pub volume: Id<Volume>,
    /// Of the new file.
    pub name: Id<Any>,
    pub base: String,
    pub from: String,
    pub to: String,
    /// Bytes, virtual and allocated.
    pub size: (i64, i64),
}

impl Part {
    pub fn new(snapshot: &VolumeSnapshotInventory, name: Id<Any>) -> Part {
        Part {
            snapshot: snapshot.uuid,
            volume: snapshot.volume_uuid,
            name,
            base: snapshot.primary_storage_install_path.clone().unwrap_or_default(),
            from: String::new(),
            to: String::new(),
            size: (0, 0),
        }
    }

    async fn claim(&mut self, tx: &mut Tx, vm: Option<Id<VmInstance>>) -> Result<()> {
        let Lies { volume, storage, .. } = settled(tx, self.volume, vm).await?;
        let snapshot: VolumeSnapshotInventory = find(tx, self.snapshot).await?;
        if snapshot.host_uuid != volume.host_uuid {
            let name = &snapshot.name;
            return Err(codes::STATE.because(format!("snapshot \"{name}\" lies on another host")));
        }
        self.from = volume.install_path.clone().unwrap_or_default();
        self.to = storage.driver()?.layer_path(&self.from, &volume.uuid.to_string(), &self.name.to_string());
        store::set_spare(tx, self.volume, Some(&self.to)).await
    }
}

impl Revert {
    async fn claim(&mut self, tx: &mut Tx) -> Result<()> {
        if let Some(vm) = self.vm {
            vm_in(tx, vm, &["Stopped"], "its volumes go back to a snapshot").await?;
        }
        for part in &mut self.parts {
            part.claim(tx, self.vm).await?;
        }
        Ok(())
    }

    async fn give_up(&mut self, tx: &mut Tx) -> Result<()> {
        for part in &self.parts {
            store::set_spare(tx, part.volume, None).await?;
        }
        Ok(())
    }

    async fn make(&mut self, cx: &Cx) -> Result<()> {
        for part in &mut self.parts {
            let lies = Lies::of(&mut cx.read().await?, part.volume).await?;
            let driver = lies.storage.driver()?;
            let made = driver.overlay(lies.through(cx), &part.base, &part.to).await?;
            part.size = (made.size, made.actual_size);
        }
        Ok(())
    }

    async fn unmake(&mut self, cx: &Cx) -> Result<()> {
        for part in &self.parts {
            Lies::of(&mut cx.read().await?, part.volume).await?.delete(cx, &part.to).await?;
        }
        Ok(())
    }

    async fn go_on(&mut self, tx: &mut Tx) -> Result<()> {
        for part in &self.parts {
            store::move_to(tx, part.volume, &part.to, part.size).await?;
            let snapshot = find(tx, part.snapshot).await?;
            store::set_latest(tx, &snapshot).await?;
        }
        Ok(())
    }

    async fn discard(&mut self, cx: &Cx) -> Result<()> {
        for part in &self.parts {
            Lies::of(&mut cx.read().await?, part.volume).await?.delete(cx, &part.from).await?;
        }
        Ok(())
    }

    async fn discarded(&mut self, tx: &mut Tx) -> Result<()> {
        for part in &self.parts {
            store::set_spare(tx, part.volume, None).await?;
            let payload = json!({ "volumeSnapshotUuid": part.snapshot });
            tx.emit("/volume/reverted", part.volume.cast(), payload).await?;
        }
        Ok(())
    }
}

impl Flow for Revert {
    const NAME: &'static str = "snapshot.revert";

    fn resource(&self) -> Id<Any> {
        self.owner
    }

    fn title(&self) -> String {
        format!("take {} back to a snapshot", self.of)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("claim", Self::claim, Self::give_up)
            .act_undo("make", Self::make, Self::unmake)
            .record("go on", Self::go_on)
            .act("discard", Self::discard)
            .onward()
            .record("discarded", Self::discarded)
    }

    async fn answer(&self, _tx: &mut Tx) -> Result<Value> {
        let told = |part: &Part| json!({ "snapshotUuid": part.snapshot, "success": true });
        Ok(json!({ "results": self.parts.iter().map(told).collect::<Vec<_>>() }))
    }
}
