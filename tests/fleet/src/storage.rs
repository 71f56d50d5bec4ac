//! The storage-agent's part.

use std::sync::Arc;

use wire::Fault;
use wire::agent::{Cx, Owned, Routes};
use wire::calls::{Done, imagestore as call};

use crate::{World, lock, obey, owned};

pub(crate) fn routes(world: &Arc<World>) -> Routes<World> {
    Routes::new(Arc::clone(world))
        .on(echo)
        .on(connect)
        .on(disconnect)
        .on(ping)
        .on(download)
        .on(image_size)
        .on(delete)
        .inventory(inventory)
}

/// How often is looked for what was brought.
const LOOK: std::time::Duration = std::time::Duration::from_millis(10);
/// Where the simulated storage keeps its images, whatever it is told.
const STORE: &str = "/fleet_bs";

/// As the agent keeps images below the path that tests choose.
async fn inventory(world: Arc<World>) -> Result<Vec<Owned>, Fault> {
    let image = |uuid: &String| owned("image", &format!("{STORE}/images/{uuid}/image"), uuid);
    Ok(lock(&world.state).images.iter().map(image).collect())
}

fn capacity() -> call::Capacity {
    call::Capacity { total_capacity: Some(1 << 40), available_capacity: Some(1 << 40) }
}

async fn connect(cx: Cx<World>, command: call::Connect) -> Result<call::Capacity, Fault> {
    lock(&cx.state).stores.insert(command.uuid);
    Ok(capacity())
}

async fn echo(_: Cx<World>, _: call::Echo) -> Result<Done, Fault> {
    Ok(Done {})
}

async fn disconnect(cx: Cx<World>, command: call::Disconnect) -> Result<Done, Fault> {
    obey::<call::Disconnect>(&cx, |state| {
        state.stores.remove(&command.uuid);
        Ok(Done {})
    })
    .await
}

async fn ping(_: Cx<World>, command: call::Ping) -> Result<call::Pong, Fault> {
    Ok(call::Pong { uuid: command.uuid, ..Default::default() })
}

/// An upload is waited for.
async fn download(cx: Cx<World>, command: call::Download) -> Result<call::Downloaded, Fault> {
    let (image, upload) = (command.image_uuid.clone(), command.url.starts_with("upload://"));
    while upload && !lock(&cx.state).brought.contains(&image) && !lock(&cx.state).images.contains(&image) {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = cx.superseded().cancelled() => return Err(cx.stopped()),
        }
    }
    obey::<call::Download>(&cx, |state| {
        state.brought.remove(&image);
        state.images.insert(command.image_uuid);
        Ok(call::Downloaded {
            md5_sum: "0".repeat(32),
            sha256: "0".repeat(64),
            size: 1 << 20,
            actual_size: 1 << 20,
            format: command.format.unwrap_or_else(|| "qcow2".into()),
            ..Default::default()
        })
    })
    .await
}

async fn image_size(cx: Cx<World>, command: call::GetImageSize) -> Result<call::ImageSize, Fault> {
    match lock(&cx.state).images.contains(&command.image_uuid) {
        true => Ok(call::ImageSize { size: 1 << 20, actual_size: 1 << 20 }),
        false => Err(Fault::new(format!("there is no image {}", command.image_uuid))),
    }
}

async fn delete(cx: Cx<World>, command: call::Delete) -> Result<call::Capacity, Fault> {
    obey::<call::Delete>(&cx, |state| {
        state.brought.retain(|image| !command.install_url.contains(image.as_str()));
        state.images.retain(|image| !command.install_url.contains(image.as_str()));
        Ok(capacity())
    })
    .await
}
