//! The commands of `/sftpbackupstorage/*`.

use std::path::Path;
use std::sync::Arc;

use wire::Fault;
use wire::agent::{Cx, Owned};
use wire::calls::Done;
use wire::calls::imagestore::{
    Capacity, Connect, Delete, Disconnect, Download, Downloaded, Echo, GetImageSize, GetProgress, ImageSize,
    Ping, Pong, Progress,
};

use crate::import::{self, Order, on_store};
use crate::store::{self, Image, ImageId, Store};
use crate::{Storage, blocking};

pub async fn connect(cx: Cx<Storage>, command: Connect) -> Result<Capacity, Fault> {
    let capacity = cx.stores.connect(&command.uuid, Path::new(&command.storage_path)).await?;
    tracing::info!(store = command.uuid, path = command.storage_path, "connected");
    Ok(told(capacity))
}

pub async fn disconnect(cx: Cx<Storage>, command: Disconnect) -> Result<Done, Fault> {
    cx.stores.disconnect(&command.uuid).await?;
    tracing::info!(store = command.uuid, "disconnected");
    Ok(Done {})
}

pub async fn echo(_: Cx<Storage>, _: Echo) -> Result<Done, Fault> {
    Ok(Done {})
}

pub async fn ping(cx: Cx<Storage>, command: Ping) -> Result<Pong, Fault> {
    let store = cx.stores.get(&command.uuid).await?;
    let Capacity { total_capacity, available_capacity } = capacity(&store).await?;
    Ok(Pong { uuid: store.uuid, total_capacity, available_capacity })
}

pub async fn download(cx: Cx<Storage>, command: Download) -> Result<Downloaded, Fault> {
    let store = cx.stores.get(&command.uuid).await?;
    let id: ImageId = command.image_uuid.parse()?;
    store.check_path(&id, &command.install_path)?;
    let imported = cx.imports.run(&store, &id, Order::of(&command)?, cx.superseded()).await;
    let image = imported.map_err(|error| match error {
        import::Error::Superseded => cx.stopped(),
        error => error.into(),
    })?;
    Ok(downloaded(image, Some(capacity(&store).await?)))
}

pub async fn delete(cx: Cx<Storage>, command: Delete) -> Result<Capacity, Fault> {
    let store = cx.stores.get(&command.uuid).await?;
    let id = store.image_at(&command.install_url)?;
    cx.imports.without(&id, on_store(&store, &id, Store::delete)).await?;
    tracing::info!(store = store.uuid, image = %id, "deleted");
    Ok(capacity(&store).await?)
}

pub async fn get_image_size(cx: Cx<Storage>, command: GetImageSize) -> Result<ImageSize, Fault> {
    let store = cx.stores.get(&command.uuid).await?;
    let id: ImageId = command.image_uuid.parse()?;
    store.check_path(&id, &command.install_path)?;
    let image = on_store(&store, &id, Store::need_image).await?;
    Ok(ImageSize { size: image.virtual_size, actual_size: image.length })
}

pub async fn get_progress(cx: Cx<Storage>, command: GetProgress) -> Result<Progress, Fault> {
    let id: ImageId = command.image_uuid.parse()?;
    if let Some(progress) = cx.imports.progress(&id) {
        return Ok(Progress { done: progress.done(), total: progress.total() });
    }
    for store in cx.stores.all().await {
        if let Some(image) = on_store(&store, &id, Store::image).await? {
            return Ok(Progress { done: image.length, total: Some(image.length) });
        }
    }
    Err(Fault::new(format!("image {id} is neither here nor on its way")))
}

/// Whole images, and those on their way.
pub async fn inventory(storage: Arc<Storage>) -> Result<Vec<Owned>, Fault> {
    let mut owned = Vec::new();
    for store in storage.stores.all().await {
        owned.extend(blocking(move || own(&store)).await?);
    }
    Ok(owned)
}

fn own(store: &Store) -> Result<Vec<Owned>, store::Error> {
    let owned = |id: ImageId, kind: &str| {
        let name = store.bits(&id).to_string_lossy().into_owned();
        Owned { kind: kind.into(), name, resource: Some(id.to_string()) }
    };
    let whole = store.images()?.into_iter().map(|id| owned(id, "image"));
    let arriving = store.arriving()?.into_iter().map(|id| owned(id, "import"));
    Ok(whole.chain(arriving).collect())
}

pub fn downloaded(image: Image, capacity: Option<Capacity>) -> Downloaded {
    let Capacity { total_capacity, available_capacity } = capacity.unwrap_or_default();
    Downloaded {
        md5_sum: image.md5,
        sha256: image.sha256,
        size: image.virtual_size,
        actual_size: image.length,
        format: image.format.to_string(),
        total_capacity,
        available_capacity,
    }
}

async fn capacity(store: &Store) -> Result<Capacity, store::Error> {
    let store = store.clone();
    blocking(move || store.capacity()).await.map(told)
}

fn told(capacity: store::Capacity) -> Capacity {
    Capacity { total_capacity: Some(capacity.total), available_capacity: Some(capacity.available) }
}
