//! Adding a backup storage, and connecting one again.

use std::time::Duration;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::driver::Space;
use super::{BackupStorage, BackupStorageInventory, store};

/// A storage that does not answer for so long is not there.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Adds a backup storage: enter → reach → connect → connected. One that does not answer is not connected,
/// so there is nothing to undo on it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Add {
    pub uuid: Id<BackupStorage>,
    pub name: String,
    pub description: Option<String>,
    pub url: String,
    pub hostname: String,
    pub username: String,
    pub ssh_port: i64,
    pub r#type: String,
    pub space: Space,
}

impl Add {
    async fn enter(&mut self, tx: &mut Tx) -> Result<()> {
        store::insert(tx, self).await?;
        store::identify(tx, self.uuid).await
    }

    async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        store::delete(tx, self.uuid).await
    }

    async fn reach(&mut self, cx: &Cx) -> Result<()> {
        let storage: BackupStorageInventory = find(&mut cx.read().await?, self.uuid).await?;
        storage.driver()?.reach(cx.engine(), &storage).await
    }

    async fn connect(&mut self, cx: &Cx) -> Result<()> {
        self.space = connect(cx, self.uuid).await?;
        Ok(())
    }

    async fn disconnect(&mut self, cx: &Cx) -> Result<()> {
        disconnect(cx, self.uuid).await
    }

    async fn connected(&mut self, tx: &mut Tx) -> Result<()> {
        set_status(tx, self.uuid, "Connected", self.space).await
    }
}

impl Flow for Add {
    const NAME: &'static str = "backup_storage.add";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("add backup storage \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("enter", Self::enter, Self::forget)
            .act("reach", Self::reach)
            .act_undo("connect", Self::connect, Self::disconnect)
            .limit(CONNECT_LIMIT)
            .record("connected", Self::connected)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<BackupStorageInventory>(tx, self.uuid).await
    }
}

/// Connects a backup storage again, when an operator wants it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reconnect {
    pub uuid: Id<BackupStorage>,
    pub name: String,
    pub space: Space,
}

impl Reconnect {
    async fn connecting(&mut self, tx: &mut Tx) -> Result<()> {
        store::identify(tx, self.uuid).await?;
        set_status(tx, self.uuid, "Connecting", self.space).await
    }

    async fn lost(&mut self, tx: &mut Tx) -> Result<()> {
        set_status(tx, self.uuid, "Disconnected", self.space).await
    }

    async fn connect(&mut self, cx: &Cx) -> Result<()> {
        self.space = connect(cx, self.uuid).await?;
        Ok(())
    }

    async fn connected(&mut self, tx: &mut Tx) -> Result<()> {
        set_status(tx, self.uuid, "Connected", self.space).await
    }
}

impl Flow for Reconnect {
    const NAME: &'static str = "backup_storage.reconnect";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("reconnect backup storage \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("connecting", Self::connecting, Self::lost)
            .act("connect", Self::connect)
            .limit(CONNECT_LIMIT)
            .record("connected", Self::connected)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<BackupStorageInventory>(tx, self.uuid).await
    }
}

async fn connect(cx: &Cx, uuid: Id<BackupStorage>) -> Result<Space> {
    let storage: BackupStorageInventory = find(&mut cx.read().await?, uuid).await?;
    storage.driver()?.connect(cx, &storage).await
}

/// Changes the status and what is known of the space, and says so.
async fn set_status(tx: &mut Tx, uuid: Id<BackupStorage>, status: &str, space: Space) -> Result<()> {
    store::set_status(tx, uuid, status, space).await?;
    tx.emit("/backup-storage/status/changed", uuid.cast(), json!({ "status": status })).await
}

/// Gives the storage's directory free again.
pub(super) async fn disconnect(cx: &Cx, uuid: Id<BackupStorage>) -> Result<()> {
    let storage: BackupStorageInventory = find(&mut cx.read().await?, uuid).await?;
    storage.driver()?.disconnect(cx, &storage).await
}
