use std::time::Duration;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::host::Host;
use crate::image::ImageInventory;
use crate::image::made::{ANSWER_LIMIT, Made};
use crate::primary_storage;
use crate::primary_storage::driver::{Placed, Wanted};
use crate::snapshot::{VolumeSnapshot, VolumeSnapshotInventory};
use crate::vm;
use crate::volume::{Lies, Volume};

/// How long the storages may take to answer before the work begins.
const REACH_LIMIT: Duration = Duration::from_secs(30);
/// How long copying may take.
const COPYING: Duration = Duration::from_secs(6 * 3600);

/// enter → reach → copy → bring → ready
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Create {
    pub owner: Id<Any>,
    pub made: Made,
    pub volume: Id<Volume>,
    pub snapshot: Option<Id<VolumeSnapshot>>,
    /// The file that shows what the image is to be.
    pub from: String,
    /// Who copies it: a volume of a shared storage may come into another hand meanwhile.
    #[serde(default)]
    pub host: Option<Id<Host>>,
    pub placed: Placed,
}

impl Create {
    /// A volume that a VM has open changes while it is copied; a snapshot never does.
    async fn enter(&mut self, tx: &mut Tx) -> Result<()> {
        let lies = Lies::to_read(tx, self.volume).await?;
        self.host = Some(lies.host.uuid);
        self.from = match self.snapshot {
            Some(snapshot) => {
                let snapshot: VolumeSnapshotInventory = find(tx, snapshot).await?;
                snapshot.must_be_ready()?;
                snapshot.primary_storage_install_path.unwrap_or_default()
            }
            None => {
                self.is_closed(tx, &lies).await?;
                lies.volume.install_path.clone().unwrap_or_default()
            }
        };
        self.made.enter(tx).await
    }

    async fn is_closed(&self, tx: &mut Tx, lies: &Lies) -> Result<()> {
        let whose = lies.volume.vm_instance_uuid.unwrap_or(lies.volume.uuid.cast());
        if whose != self.owner {
            let name = &lies.volume.name;
            return Err(codes::STATE.because(format!("volume \"{name}\" was attached or detached meanwhile")));
        }
        vm::closed(tx, &lies.volume, "make the image of that").await.map(|_| ())
    }

    async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        self.made.forget(tx).await
    }

    async fn reach(&mut self, cx: &Cx) -> Result<()> {
        self.made.reach(cx).await
    }

    async fn found(&self, tx: &mut Tx) -> Result<Lies> {
        match self.host {
            Some(host) => Lies::by(tx, self.volume, host).await,
            None => Lies::of(tx, self.volume).await,
        }
    }

    async fn lies(&self, cx: &Cx) -> Result<(Lies, String)> {
        let lies = self.found(&mut cx.read().await?).await?;
        let wanted = Wanted { image: self.made.uuid().to_string(), ..Wanted::default() };
        let path = lies.storage.driver()?.cached_path(&lies.storage, &wanted);
        Ok((lies, path))
    }

    async fn copy(&mut self, cx: &Cx) -> Result<()> {
        let (lies, path) = self.lies(cx).await?;
        let driver = lies.storage.driver()?;
        self.placed = driver.copy(lies.through(cx), &self.from, &path).await?;
        Ok(())
    }

    async fn delete_copy(&mut self, cx: &Cx) -> Result<()> {
        let (lies, path) = self.lies(cx).await?;
        lies.delete(cx, &path).await
    }

    async fn bring(&mut self, cx: &Cx) -> Result<()> {
        let (lies, path) = self.lies(cx).await?;
        let driver = lies.storage.driver()?;
        let bring = |url: String| {
            let (lies, path) = (&lies, &path);
            async move { driver.upload(lies.through(cx), path, &url).await }
        };
        self.made.take(cx, bring).await
    }

    async fn discard(&mut self, cx: &Cx) -> Result<()> {
        self.made.discard(cx).await
    }

    async fn ready(&mut self, tx: &mut Tx) -> Result<()> {
        let lies = self.found(tx).await?;
        let image = self.made.uuid().to_string();
        primary_storage::remember_cached(tx, &image, lies.storage.uuid, lies.host.uuid, &self.placed).await?;
        self.made.ready(tx).await
    }
}

impl Flow for Create {
    const NAME: &'static str = "template.create";

    fn resource(&self) -> Id<Any> {
        self.owner
    }

    fn title(&self) -> String {
        format!("make image \"{}\"", self.made.name())
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("enter", Self::enter, Self::forget)
            .act("reach", Self::reach)
            .limit(REACH_LIMIT)
            .act_undo("copy", Self::copy, Self::delete_copy)
            .limit(COPYING)
            .act_undo("bring", Self::bring, Self::discard)
            .limit(ANSWER_LIMIT)
            .record("ready", Self::ready)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<ImageInventory>(tx, self.made.uuid()).await
    }
}
