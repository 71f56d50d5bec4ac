//! Deleting, expunging and recovering images.

use engine::api::{Api, Job, Route, Settled};
use engine::cascade::{Delete, DeleteMode, Root};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, api, codes, quota};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cascade::{COPY, IMAGE};
use super::store::CopyRow;
use super::{DELETION_POLICY, Image, ImageCopy, ImageInventory, NUM, SIZE, store};
use crate::backup_storage::BackupStorage;
use crate::validate;

/// What deleting an image means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Direct,
    Delay,
}

impl Policy {
    pub(super) fn read(text: &str) -> Result<Policy> {
        match text {
            "Direct" => Ok(Policy::Direct),
            "Delay" => Ok(Policy::Delay),
            _ => Err(codes::INVALID_ARGUMENT.because(format!("\"{text}\" is neither Direct nor Delay"))),
        }
    }
}

/// Deletes copies for good, and the image with its last one. Owned apart from the image, so that it can end
/// a download.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Purge {
    pub image: Id<Image>,
    pub name: String,
    pub copies: Vec<Id<ImageCopy>>,
}

impl Purge {
    async fn copies(&mut self, cx: &Cx) -> Result<()> {
        let copies = self.copies.iter().map(async |copy| {
            cx.sub(&copy.to_string(), Delete::new(Root::new(COPY, copy.cast(), &self.name))).await
        });
        try_join_all(copies).await.map(|_| ())
    }

    /// What brings the image, if anything does, has ended when this has.
    async fn image(&mut self, cx: &Cx) -> Result<()> {
        let left = store::copies(&mut cx.read().await?, self.image).await?;
        if left.is_empty() {
            cx.sub("image", Delete::new(Root::new(IMAGE, self.image.cast(), &self.name))).await?;
        }
        Ok(())
    }
}

impl Flow for Purge {
    const NAME: &'static str = "image.purge";

    fn resource(&self) -> Id<Any> {
        Id::derived(&[&self.image.to_string(), "purge"])
    }

    fn title(&self) -> String {
        format!("delete the bits of image \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new().act("copies", Self::copies).act("image", Self::image)
    }
}

api! {
    /// By the setting `image.deletionPolicy` at once, or so that it can be recovered for a while; an image
    /// that is still on its way goes at once.
    DeleteImage: DELETE "/images/{uuid}" {
        uuid: Id<Image>,
        #[serde(default, deserialize_with = "validate::list")]
        backup_storage_uuids: Vec<Id<BackupStorage>>,
        delete_mode: Option<DeleteMode>,
    }
}

/// Nothing else is touched while the image can be recovered, or has copies elsewhere.
fn root(image: &ImageInventory, direct: bool, everywhere: bool) -> Root {
    let root = Root::new(IMAGE, image.uuid.cast(), &image.name);
    if direct && everywhere { root } else { root.recoverable() }
}

impl Api for DeleteImage {
    const ROUTE: Route = DeleteImage::ROUTE;

    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let image: ImageInventory = find(tx, self.uuid).await?;
        let direct = tx.engine().setting(&DELETION_POLICY) == Policy::Direct || image.status == "Downloading";
        let root = root(&image, direct, self.backup_storage_uuids.is_empty());
        Ok(Some(Delete::new(root).mode(self.delete_mode)))
    }

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let image: ImageInventory = find(&mut tx, self.uuid).await?;
        let copies = chosen(&mut tx, &image, &self.backup_storage_uuids).await?;
        drop(tx);
        let direct = job.engine().setting(&DELETION_POLICY) == Policy::Direct;
        if direct || image.status == "Downloading" {
            return job.flow(purge(image, copies)).await;
        }
        job.write(move |tx| {
            Box::pin(async move {
                if store::trash(tx, image.uuid, &copies).await? {
                    tx.emit("/image/deleted", image.uuid.cast(), json!({ "recoverable": true })).await?;
                }
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    /// Deletes for good what was deleted.
    ExpungeImage: PUT "/images/{imageUuid}/actions" "expungeImage" {
        image_uuid: Id<Image>,
        #[serde(default, deserialize_with = "validate::list")]
        backup_storage_uuids: Vec<Id<BackupStorage>>,
    }
}

impl Api for ExpungeImage {
    const ROUTE: Route = ExpungeImage::ROUTE;

    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let image: ImageInventory = find(tx, self.image_uuid).await?;
        Ok(Some(Delete::new(root(&image, true, self.backup_storage_uuids.is_empty()))))
    }

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let image: ImageInventory = find(&mut tx, self.image_uuid).await?;
        let copies = chosen(&mut tx, &image, &self.backup_storage_uuids).await?;
        drop(tx);
        if let Some(copy) = copies.iter().find(|copy| copy.status != "Deleted") {
            let details = format!(
                "image \"{}\" is {} on backup storage {}: delete it first",
                image.name, copy.status, copy.backup_storage_uuid
            );
            return Err(codes::STATE.because(details));
        }
        job.flow(purge(image, copies)).await
    }
}

api! {
    /// Takes back a deletion.
    RecoverImage: PUT "/images/{imageUuid}/actions" "recoverImage" {
        image_uuid: Id<Image>,
        #[serde(default, deserialize_with = "validate::list")]
        backup_storage_uuids: Vec<Id<BackupStorage>>,
    }
}

impl Api for RecoverImage {
    const ROUTE: Route = RecoverImage::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let image: ImageInventory = find(tx, self.image_uuid).await?;
                let copies = chosen(tx, &image, &self.backup_storage_uuids).await?;
                if !store::recover(tx, image.uuid, &copies).await? {
                    return Err(codes::STATE
                        .because(format!("image \"{}\" is not deleted, or is being expunged", image.name)));
                }
                quota::check(tx, image.uuid, &[(&NUM, 1), (&SIZE, image.size)]).await?;
                tx.emit("/image/recovered", image.uuid.cast(), json!({})).await?;
                show::<ImageInventory>(tx, image.uuid).await
            })
        })
        .await
    }
}

fn purge(image: ImageInventory, copies: Vec<CopyRow>) -> Purge {
    Purge { image: image.uuid, name: image.name, copies: copies.into_iter().map(|copy| copy.uuid).collect() }
}

/// The copies on these storages; all of them when none is named.
async fn chosen(tx: &mut Tx, image: &ImageInventory, storages: &[Id<BackupStorage>]) -> Result<Vec<CopyRow>> {
    let mut copies = store::copies(tx, image.uuid).await?;
    let there = |storage: &Id<BackupStorage>| copies.iter().any(|copy| copy.backup_storage_uuid == *storage);
    if let Some(storage) = storages.iter().find(|storage| !there(storage)) {
        return Err(codes::INVALID_ARGUMENT
            .because(format!("image \"{}\" is not on backup storage {storage}", image.name)));
    }
    copies.retain(|copy| storages.is_empty() || storages.contains(&copy.backup_storage_uuid));
    Ok(copies)
}
