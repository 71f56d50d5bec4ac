//! How images go: the bits with their copies, the rows with the image.

use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result, codes};
use serde_json::json;

use super::{Image, store};
use crate::backup_storage::{BackupStorage, BackupStorageInventory, is_leaving};

pub(super) const IMAGE: &str = "Image";
pub(super) const COPY: &str = "ImageCopy";

pub(super) const IMAGE_EDGES: &[Edge] = &[
    Edge { parent: "BackupStorage", child: IMAGE, action: Action::Delete, find: store::ONLY_THERE },
    Edge { parent: "Account", child: IMAGE, action: Action::Delete, find: store::OF_ACCOUNT },
];
pub(super) const COPY_EDGES: &[Edge] = &[
    Edge { parent: "BackupStorage", child: COPY, action: Action::Delete, find: store::COPIES_ON },
    Edge { parent: IMAGE, child: COPY, action: Action::Delete, find: store::COPIES_OF },
];

pub(super) struct ImageKind;

#[boxed]
impl Kind for ImageKind {
    fn name(&self) -> &'static str {
        IMAGE
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        delete(tx, id.cast()).await
    }
}

pub(super) struct CopyKind;

#[boxed]
impl Kind for CopyKind {
    fn name(&self) -> &'static str {
        COPY
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::set_leaving(tx, id.cast(), true).await
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::set_leaving(tx, id.cast(), false).await
    }

    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let copy = store::copy(&mut cx.read().await?, id.cast()).await?;
        match copy {
            Some(copy) => delete_bits(cx, copy.image_uuid, copy.backup_storage_uuid).await,
            None => Ok(()),
        }
    }

    /// The last copy takes the image with it, unless the flow that brings the image still needs its row.
    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        let Some(copy) = store::copy(tx, id.cast()).await? else { return Ok(()) };
        store::delete_copy(tx, id.cast()).await?;
        match store::is_husk(tx, copy.image_uuid).await? {
            true => delete(tx, copy.image_uuid).await,
            false => Ok(()),
        }
    }
}

async fn delete(tx: &mut Tx, image: Id<Image>) -> Result<()> {
    match store::delete(tx, image).await? {
        true => tx.emit("/image/deleted", image.cast(), json!({ "recoverable": false })).await,
        false => Ok(()),
    }
}

/// Deletes an image's bits on a storage, also while they are coming. A storage that is itself being deleted
/// and does not answer keeps them; nobody will look for them there again.
pub(super) async fn delete_bits(cx: &Cx, image: Id<Image>, storage: Id<BackupStorage>) -> Result<()> {
    let mut tx = cx.read().await?;
    let leaving = is_leaving(&mut tx, storage).await?;
    let storage: BackupStorageInventory = match find(&mut tx, storage).await {
        Err(error) if error.is(codes::NOT_FOUND) => return Ok(()),
        found => found?,
    };
    drop(tx);
    if storage.is_connected() {
        return storage.driver()?.delete(cx, &storage, image.cast()).await;
    }
    if leaving {
        tracing::warn!(%image, backup_storage = storage.name, "it does not answer and keeps the image's bits");
        return Ok(());
    }
    let details = format!(
        "backup storage \"{}\" is {}, the image's bits on it cannot be deleted: reconnect it first",
        storage.name, storage.status
    );
    Err(codes::STATE.because(details))
}
