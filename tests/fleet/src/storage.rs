//! The storage-agent's part.

use std::sync::Arc;

use wire::Fault;
use wire::agent::{Cx, Routes};
use wire::calls::{Done, imagestore as call};

use crate::{World, obey};

pub(crate) fn routes(world: &Arc<World>) -> Routes<World> {
    Routes::new(Arc::clone(world)).on(echo).on(connect).on(disconnect).on(ping).on(download).on(delete)
}

fn capacity() -> call::Capacity {
    call::Capacity { total_capacity: Some(1 << 40), available_capacity: Some(1 << 40) }
}

async fn connect(_: Cx<World>, _: call::Connect) -> Result<call::Capacity, Fault> {
    Ok(capacity())
}

async fn echo(_: Cx<World>, _: call::Echo) -> Result<Done, Fault> {
    Ok(Done {})
}

async fn disconnect(_: Cx<World>, _: call::Disconnect) -> Result<Done, Fault> {
    Ok(Done {})
}

async fn ping(_: Cx<World>, command: call::Ping) -> Result<call::Pong, Fault> {
    Ok(call::Pong { uuid: command.uuid, ..Default::default() })
}

async fn download(cx: Cx<World>, command: call::Download) -> Result<call::Downloaded, Fault> {
    obey::<call::Download>(&cx, |state| {
        state.images.insert(command.image_uuid);
        Ok(call::Downloaded {
            md5_sum: "0".repeat(32),
            sha256: "0".repeat(64),
            size: 1 << 20,
            actual_size: 1 << 20,
            format: "qcow2".into(),
            ..Default::default()
        })
    })
    .await
}

async fn delete(cx: Cx<World>, command: call::Delete) -> Result<call::Capacity, Fault> {
    obey::<call::Delete>(&cx, |state| {
        state.images.retain(|image| !command.install_url.contains(image.as_str()));
        Ok(capacity())
    })
    .await
}
