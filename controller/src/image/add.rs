//! Adding an image: its storages fetch it, or wait for its upload, and inspect it.

use std::time::Duration;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes, quota};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cascade::delete_bits;
use super::media::{Format, MediaType, is_upload, shown};
use super::{AFTER_ADD, BEFORE_ADD, Image, ImageInventory, NUM, SIZE, store};
use crate::backup_storage::driver::{Order, Stored};
use crate::backup_storage::{BackupStorage, BackupStorageInventory, takes_images};

/// How long the storages may take to answer before the work begins.
const REACH_LIMIT: Duration = Duration::from_secs(30);
/// How long an image may be on its way.
pub(super) const DOWNLOAD_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// A storage that gives up after [`DOWNLOAD_LIMIT`] is heard until then.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(24 * 3600 + 600);

/// Adds an image: enter → reach → download → ready.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Add {
    pub uuid: Id<Image>,
    pub name: String,
    pub description: Option<String>,
    pub url: String,
    pub media_type: MediaType,
    pub guest_os_type: Option<String>,
    pub platform: String,
    pub architecture: String,
    pub format: Option<Format>,
    pub system: bool,
    pub virtio: bool,
    pub storages: Vec<Id<BackupStorage>>,
    /// What who uploads must present.
    pub token: Option<String>,
    pub found: Vec<Stored>,
}

impl Add {
    pub(super) async fn enter(&mut self, tx: &mut Tx) -> Result<()> {
        if is_upload(&self.url) {
            self.token = Some(hex::encode(rand::random::<[u8; 32]>()));
        }
        store::insert(tx, self).await?;
        quota::check(tx, self.uuid, &[(&NUM, 1)]).await?;
        for storage in &self.storages {
            let storage = takes_images(tx, *storage).await?;
            let path = self.path_on(tx, &storage)?;
            store::insert_copy(tx, self.uuid, storage.uuid, &path).await?;
        }
        Ok(())
    }

    /// Where the bits will lie, or where they are to be put.
    fn path_on(&self, tx: &Tx, storage: &BackupStorageInventory) -> Result<String> {
        let (driver, image) = (storage.driver()?, self.uuid.cast());
        Ok(match &self.token {
            Some(token) => driver.upload_url(&tx.engine(), storage, image, token),
            None => driver.install_path(image),
        })
    }

    pub(super) async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        store::delete(tx, self.uuid).await.map(|_| ())
    }

    /// A storage that does not answer is told now, not after [`DOWNLOAD_LIMIT`].
    pub(super) async fn reach(&mut self, cx: &Cx) -> Result<()> {
        let pings = self.storages.iter().map(async |uuid| {
            let storage: BackupStorageInventory = find(&mut cx.read().await?, *uuid).await?;
            storage.driver()?.ping(cx.engine(), &storage).await
        });
        try_join_all(pings).await.map(|_| ())
    }

    async fn told(&self, cx: &Cx) -> Result<ImageInventory> {
        find(&mut cx.read().await?, self.uuid).await
    }

    async fn download(&mut self, cx: &Cx) -> Result<()> {
        let order = self.order();
        let downloads = self.storages.iter().map(async |uuid| {
            let storage: BackupStorageInventory = find(&mut cx.read().await?, *uuid).await?;
            storage.driver()?.download(cx, &storage, &order).await
        });
        self.found = try_join_all(downloads).await?;
        Ok(())
    }

    fn order(&self) -> Order {
        let iso = (self.media_type == MediaType::Iso).then_some(Format::Iso);
        Order {
            image: self.uuid.cast(),
            url: self.url.clone(),
            format: self.format.or(iso).map(|format| format.name().to_owned()),
            upload_token: self.token.clone(),
            limit: DOWNLOAD_LIMIT,
        }
    }

    /// Under this flow's new epoch: a download that is under way stops for it, one that is late is refused.
    pub(super) async fn discard(&mut self, cx: &Cx) -> Result<()> {
        let deletions = self.storages.iter().map(|storage| delete_bits(cx, self.uuid, *storage));
        try_join_all(deletions).await.map(|_| ())
    }

    pub(super) async fn ready(&mut self, tx: &mut Tx) -> Result<()> {
        let found =
            self.found.first().cloned().ok_or_else(|| codes::INTERNAL.because("no storage took it"))?;
        if let Some(other) = self.found.iter().find(|other| other.sha256 != found.sha256) {
            let details = format!(
                "the backup storages got different images from \"{}\" (sha256 {} and {}): add it to one of \
                 them at a time",
                shown(&self.url),
                found.sha256,
                other.sha256
            );
            return Err(codes::OPERATION.because(details));
        }
        self.media_type.suits(&found.format)?;
        for uuid in &self.storages {
            let storage: BackupStorageInventory = find(tx, *uuid).await?;
            let path = storage.driver()?.install_path(self.uuid.cast());
            if !store::copy_ready(tx, self.uuid, *uuid, &path).await? {
                return Err(codes::STATE.because(format!("image \"{}\" was deleted meanwhile", self.name)));
            }
        }
        store::ready(tx, self.uuid, &found).await?;
        quota::check(tx, self.uuid, &[(&SIZE, found.size)]).await?;
        (self.url, self.token) = (shown(&self.url), None);
        let payload = json!({ "name": self.name, "sha256": found.sha256 });
        tx.emit("/image/added", self.uuid.cast(), payload).await
    }
}

impl Flow for Add {
    const NAME: &'static str = "image.add";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("add image \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("enter", Self::enter, Self::forget)
            .act("reach", Self::reach)
            .limit(REACH_LIMIT)
            .point(&BEFORE_ADD, |add, cx| Box::pin(add.told(cx)))
            .act_undo("download", Self::download, Self::discard)
            .limit(ANSWER_LIMIT)
            .point(&AFTER_ADD, |add, cx| Box::pin(add.told(cx)))
            .record("ready", Self::ready)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<ImageInventory>(tx, self.uuid).await
    }
}
