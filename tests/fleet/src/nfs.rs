//! Shares that hosts mount when they are told to. What lies there is a [`Share`](crate::Share); a host that has not
//! mounted it reaches nothing of it.

use wire::agent::{Cx, Routes};
use wire::calls::{localstorage as local, nfs as call};
use wire::{Call, Fault};

use crate::share::{CAPACITY, SIZE, below};
use crate::{State, World, obey};

type Outcome<C> = Result<<C as Call>::Reply, Fault>;

pub(crate) fn add_to(routes: Routes<World>) -> Routes<World> {
    routes
        .on(remount)
        .on(unmount)
        .on(create_root)
        .on(with_backing)
        .on(create_empty)
        .on(delete)
        .on(check_bits)
        .on(get_size)
        .on(batch_sizes)
        .on(create_template)
        .on(offline_merge)
        .on(download)
}

/// Fails for a path on a share that is not mounted.
fn mounted(state: &State, path: &str) -> Result<(), Fault> {
    match state.mounts.keys().any(|mount| below(mount, path)) {
        true => Ok(()),
        false => Err(Fault::new(format!("{path} lies on no share that is mounted here"))),
    }
}

async fn remount(cx: Cx<World>, command: call::Remount) -> Outcome<call::Remount> {
    obey::<call::Remount>(&cx, |state| {
        state.marks.insert(command.mount_path.clone(), command.uuid);
        let options = command.options.map(|options| format!(" {options}")).unwrap_or_default();
        state.mounts.insert(command.mount_path, command.url + &options);
        Ok(local::Capacity { total_capacity: CAPACITY, available_capacity: CAPACITY })
    })
    .await
}

async fn unmount(cx: Cx<World>, command: call::Unmount) -> Outcome<call::Unmount> {
    obey::<call::Unmount>(&cx, |state| {
        if state.open.values().any(|path| below(&command.mount_path, path)) {
            return Err(Fault::new(format!("{} is in use", command.mount_path)));
        }
        state.mounts.remove(&command.mount_path);
        Ok(local::Capacity::default())
    })
    .await
}

async fn create_root(cx: Cx<World>, command: call::CreateFromTemplate) -> Outcome<call::CreateFromTemplate> {
    obey::<call::CreateFromTemplate>(&cx, |state| {
        mounted(state, &command.install_url)?;
        if !state.cache.contains(&command.template_path_in_cache) {
            return Err(Fault::new("unable to find image in cache"));
        }
        state.make(command.install_url)?;
        Ok(local::VolumeMade { size: Some(SIZE), ..Default::default() })
    })
    .await
}

async fn with_backing(cx: Cx<World>, command: call::WithBacking) -> Outcome<call::WithBacking> {
    obey::<call::WithBacking>(&cx, |state| {
        mounted(state, &command.install_url)?;
        state.lay(&command.install_url, &command.template_path_in_cache)?;
        Ok(local::VolumeMade { size: Some(1 << 30), actual_size: Some(SIZE), ..Default::default() })
    })
    .await
}

async fn create_empty(cx: Cx<World>, command: call::CreateEmpty) -> Outcome<call::CreateEmpty> {
    obey::<call::CreateEmpty>(&cx, |state| {
        mounted(state, &command.install_url)?;
        state.make(command.install_url)?;
        Ok(local::VolumeMade { size: Some(command.size), ..Default::default() })
    })
    .await
}

async fn delete(cx: Cx<World>, command: call::Delete) -> Outcome<call::Delete> {
    obey::<call::Delete>(&cx, |state| {
        mounted(state, &command.install_path)?;
        match command.folder {
            true => state.cache.retain(|path| !below(&command.install_path, path)),
            false => state.remove(&command.install_path)?,
        }
        Ok(local::Deleted::default())
    })
    .await
}

async fn check_bits(cx: Cx<World>, command: call::CheckBits) -> Outcome<call::CheckBits> {
    let (state, path) = (cx.here(), &command.install_path);
    mounted(&state, path)?;
    Ok(local::BitsChecked { existing: state.volumes.contains(path) || state.cache.contains(path) })
}

async fn get_size(cx: Cx<World>, command: call::GetSize) -> Outcome<call::GetSize> {
    let (state, path) = (cx.here(), &command.install_path);
    mounted(&state, path)?;
    match state.volumes.contains(path) || state.cache.contains(path) {
        true => Ok(local::Size { size: 1 << 30, actual_size: SIZE }),
        false => Err(Fault::new(format!("there is no volume {path}"))),
    }
}

async fn batch_sizes(cx: Cx<World>, command: call::BatchGetSize) -> Outcome<call::BatchGetSize> {
    let state = cx.here();
    let there =
        command.volume_uuid_install_paths.into_iter().filter(|(_, path)| state.volumes.contains(path));
    Ok(local::Sizes { actual_sizes: there.map(|(uuid, _)| (uuid, SIZE)).collect() })
}

async fn create_template(cx: Cx<World>, command: call::CreateTemplate) -> Outcome<call::CreateTemplate> {
    obey::<call::CreateTemplate>(&cx, |state| {
        mounted(state, &command.install_path)?;
        state.copy(&command.root_volume_path, command.install_path)?;
        Ok(local::Merged { size: 1 << 30, actual_size: SIZE, ..Default::default() })
    })
    .await
}

async fn offline_merge(cx: Cx<World>, command: call::OfflineMerge) -> Outcome<call::OfflineMerge> {
    obey::<call::OfflineMerge>(&cx, |state| {
        mounted(state, &command.dest_path)?;
        state.idle(&command.dest_path)?;
        state.put(&command.dest_path, Some(command.src_path.as_str()).filter(|_| !command.full_rebase))?;
        Ok(local::Capacity::default())
    })
    .await
}

async fn download(cx: Cx<World>, command: call::Download) -> Outcome<call::Download> {
    obey::<call::Download>(&cx, |state| {
        mounted(state, &command.primary_storage_install_path)?;
        state.cache.insert(command.primary_storage_install_path);
        let (format, size) = ("qcow2".into(), command.size);
        Ok(local::Downloaded { format, size, actual_size: size, ..Default::default() })
    })
    .await
}
