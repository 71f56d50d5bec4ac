//! Looking how large a snapshot is.

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::find;
use engine::{Any, Id, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{VolumeSnapshot, VolumeSnapshotInventory, store};
use crate::volume::Lies;

/// ask → write down
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Look {
    pub uuid: Id<VolumeSnapshot>,
    pub name: String,
    /// Bytes, virtual and allocated.
    pub found: (i64, i64),
}

impl Look {
    async fn look(&mut self, cx: &Cx) -> Result<()> {
        let mut tx = cx.read().await?;
        let snapshot: VolumeSnapshotInventory = find(&mut tx, self.uuid).await?;
        let lies = Lies::to_read(&mut tx, snapshot.volume_uuid).await?;
        drop(tx);
        let path = snapshot.primary_storage_install_path.as_deref().unwrap_or_default();
        let (driver, uuid) = (lies.storage.driver()?, self.uuid.to_string());
        self.found = driver.volume_size(lies.through(cx), &uuid, path).await?;
        Ok(())
    }

    async fn record(&mut self, tx: &mut Tx) -> Result<()> {
        store::set_size(tx, self.uuid, self.found.1).await
    }
}

impl Flow for Look {
    const NAME: &'static str = "snapshot.look";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("look how large snapshot \"{}\" is", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new().act("look", Self::look).record("record", Self::record)
    }

    async fn answer(&self, _tx: &mut Tx) -> Result<Value> {
        Ok(json!({ "size": self.found.0, "actualSize": self.found.1 }))
    }
}
