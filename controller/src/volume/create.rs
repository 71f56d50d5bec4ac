//! Making a data volume, and looking how large one is.

use std::time::Duration;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Lies, Volume, VolumeInventory, store};
use crate::host::{self, Host};
use crate::primary_storage::driver::{NewVolume, Placed, Through, Wanted};
use crate::primary_storage::{self, PrimaryStorage, PrimaryStorageInventory};

/// claim → make → ready. Without a storage nothing is made yet.
#[derive(Debug, Serialize, Deserialize)]
pub struct Create {
    pub uuid: Id<Volume>,
    pub account: Id<Any>,
    pub name: String,
    pub description: Option<String>,
    pub offering: Option<Id<Any>>,
    /// Bytes.
    pub size: i64,
    pub storage: Option<Id<PrimaryStorage>>,
    pub host: Option<Id<Host>>,
    pub placed: Option<Placed>,
    /// Otherwise it is empty.
    #[serde(default)]
    pub origin: Option<Origin>,
}

/// What a volume shows when it is made.
#[derive(Debug, Serialize, Deserialize)]
pub enum Origin {
    /// A file on its storage and host: it is copied.
    File(String),
    /// An image: the volume stands on it.
    Image(Wanted),
}

/// How long copying may take.
const COPYING: Duration = Duration::from_secs(6 * 3600);

impl Create {
    async fn claim(&mut self, tx: &mut Tx) -> Result<()> {
        store::insert(tx, self).await?;
        let Some(storage) = self.storage else { return Ok(()) };
        let host = match self.host {
            Some(host) => host,
            None => {
                let storage: PrimaryStorageInventory = find(tx, storage).await?;
                primary_storage::hand(tx, &storage, self.uuid.cast()).await?
            }
        };
        store::lay(tx, self.uuid, storage, host, self.size, self.account).await
    }

    async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        store::delete(tx, self.uuid).await
    }

    async fn make(&mut self, cx: &Cx) -> Result<()> {
        let lies = Lies::of(&mut cx.read().await?, self.uuid).await?;
        self.placed = Some(match &self.origin {
            None => lies.make(cx, self.account).await?,
            Some(origin) => lies.make_of(cx, origin).await?,
        });
        Ok(())
    }

    async fn unmake(&mut self, cx: &Cx) -> Result<()> {
        Lies::of(&mut cx.read().await?, self.uuid).await?.remove(cx).await
    }

    async fn ready(&mut self, tx: &mut Tx) -> Result<()> {
        if let Some(placed) = &self.placed {
            store::ready(tx, self.uuid, placed.size, placed.actual_size).await?;
        }
        tx.emit("/volume/created", self.uuid.cast(), json!({ "name": self.name, "size": self.size })).await
    }
}

impl Flow for Create {
    const NAME: &'static str = "volume.create";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("create volume \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("claim", Self::claim, Self::forget)
            .act_undo("make", Self::make, Self::unmake)
            .limit(COPYING)
            .unless(|create| create.storage.is_none())
            .record("ready", Self::ready)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VolumeInventory>(tx, self.uuid).await
    }
}

impl Lies {
    /// Where a volume lies that was laid somewhere, and who works on it ([`super::in_hand`]).
    pub async fn of(tx: &mut Tx, volume: Id<Volume>) -> Result<Lies> {
        let volume: VolumeInventory = find(tx, volume).await?;
        let host = match volume.host_uuid {
            Some(host) => Some(host),
            None => store::works(tx, volume.uuid).await?,
        };
        let (Some(storage), Some(host)) = (volume.primary_storage_uuid, host) else {
            return Err(codes::STATE.because(format!("volume \"{}\" lies nowhere yet", volume.name)));
        };
        let storage: PrimaryStorageInventory = find(tx, storage).await?;
        Ok(Lies { volume, storage, host: host::usable(tx, host).await? })
    }

    /// The volume with a host that can look at it; what works on its files must take it in hand.
    pub async fn to_read(tx: &mut Tx, volume: Id<Volume>) -> Result<Lies> {
        let volume: VolumeInventory = find(tx, volume).await?;
        let Some(storage) = volume.primary_storage_uuid else { return Lies::of(tx, volume.uuid).await };
        let storage: PrimaryStorageInventory = find(tx, storage).await?;
        let host = match volume.host_uuid {
            Some(host) => host,
            None => primary_storage::hand(tx, &storage, volume.uuid.cast()).await?,
        };
        Ok(Lies { volume, storage, host: host::usable(tx, host).await? })
    }

    /// The volume with this host, whoever has it in hand.
    pub async fn by(tx: &mut Tx, volume: Id<Volume>, host: Id<Host>) -> Result<Lies> {
        let volume: VolumeInventory = find(tx, volume).await?;
        let Some(storage) = volume.primary_storage_uuid else { return Lies::of(tx, volume.uuid).await };
        let host = host::usable(tx, host).await?;
        Ok(Lies { storage: find(tx, storage).await?, volume, host })
    }

    /// Its storage, by way of who works on its files.
    pub fn through<'a>(&'a self, cx: &'a Cx) -> Through<'a> {
        self.storage.through(cx, &self.host)
    }

    /// Makes it, empty.
    pub async fn make(&self, cx: &Cx, account: Id<Any>) -> Result<Placed> {
        let new = NewVolume {
            uuid: self.volume.uuid.to_string(),
            account: account.to_string(),
            size: self.volume.size,
        };
        let path = self.volume.install_path.as_deref().unwrap_or_default();
        self.storage.driver()?.create_volume(self.through(cx), &new, path).await
    }

    /// Makes it, showing what it is made of.
    async fn make_of(&self, cx: &Cx, origin: &Origin) -> Result<Placed> {
        let Lies { volume, storage, host } = self;
        let (driver, path) = (storage.driver()?, volume.install_path.as_deref().unwrap_or_default());
        let at = self.through(cx);
        match origin {
            Origin::File(from) => driver.copy(at, from, path).await,
            Origin::Image(wanted) => {
                let cached = primary_storage::cached(cx, host, storage, wanted, false).await?;
                driver.overlay(at, &cached.path, path).await
            }
        }
    }

    /// Deletes what was made of it, and its snapshots: its own file first.
    pub async fn remove(&self, cx: &Cx) -> Result<()> {
        for path in store::files(&mut cx.read().await?, &self.volume).await? {
            self.delete(cx, &path).await?;
        }
        Ok(())
    }

    /// Deletes one of its files.
    pub async fn delete(&self, cx: &Cx, path: &str) -> Result<()> {
        self.storage.driver()?.delete_volume(self.through(cx), path).await
    }

    async fn look(&self, cx: &Cx) -> Result<(i64, i64)> {
        let path = self.volume.install_path.as_deref().unwrap_or_default();
        let uuid = self.volume.uuid.to_string();
        self.storage.driver()?.volume_size(self.through(cx), &uuid, path).await
    }
}

/// Asks the storage how large a volume is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Look {
    pub uuid: Id<Volume>,
    pub name: String,
    /// Bytes, virtual and allocated.
    pub found: (i64, i64),
}

impl Look {
    async fn look(&mut self, cx: &Cx) -> Result<()> {
        let lies = Lies::to_read(&mut cx.read().await?, self.uuid).await?;
        self.found = lies.look(cx).await?;
        Ok(())
    }

    async fn record(&mut self, tx: &mut Tx) -> Result<()> {
        store::looked(tx, self.uuid, self.found).await
    }
}

impl Flow for Look {
    const NAME: &'static str = "volume.look";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("look how large volume \"{}\" is", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new().act("look", Self::look).record("record", Self::record)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VolumeInventory>(tx, self.uuid).await
    }
}
