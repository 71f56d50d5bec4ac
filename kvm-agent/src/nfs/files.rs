//! Volumes and images on a share.

use std::path::{Path, PathBuf};

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::localstorage::{self as local, Capacity, Deleted, VolumeMade};
use wire::calls::nfs::{
    BatchGetSize, CheckBits, CleanMeta, CreateEmpty, CreateFolder, CreateFromTemplate, CreateTemplate,
    Delete, Download, Estimate, GetBackingChain, GetBaseImage, GetHash, GetSize, HardLink, Merge,
    MergeAndRebase, Move, OfflineMerge, RebaseBacking, Reinit, Resize, Revert, Unlink, Upload, WithBacking,
};

use crate::localstorage as files;
use crate::state::Host;

/// Declares operations that are those of a host's own storage under other names; `at` is the path that tells
/// the storage.
macro_rules! as_local {
    ($($name:ident($cmd:ident: $command:ty, $root:ident at $path:expr) -> $reply:ident = $operation:ident($local:expr);)*) => {
        $(pub async fn $name(cx: Cx<Host>, $cmd: $command) -> Result<local::$reply, Fault> {
            let $root = root_of(&cx, &$path).await?;
            files::$operation(cx, $local).await
        })*
    };
}

/// Those that need not be told the storage.
macro_rules! as_it_is {
    ($($name:ident($cmd:ident: $command:ty) -> $reply:ident = $operation:ident($local:expr);)*) => {
        $(pub async fn $name(cx: Cx<Host>, $cmd: $command) -> Result<local::$reply, Fault> {
            files::$operation(cx, $local).await
        })*
    };
}

pub async fn create_empty(cx: Cx<Host>, cmd: CreateEmpty) -> Result<VolumeMade, Fault> {
    let storage_path = root_of(&cx, &cmd.install_url).await?;
    if cmd.without_volume {
        let made =
            files::create_folder(cx, local::CreateFolder { storage_path, install_url: cmd.install_url });
        let Capacity { total_capacity, available_capacity } = made.await?;
        return Ok(VolumeMade { total_capacity, available_capacity, ..VolumeMade::default() });
    }
    let CreateEmpty { install_url, name, volume_uuid, size, backing_file, .. } = cmd;
    let uuid = String::new();
    let local = local::CreateEmpty { uuid, storage_path, install_url, size, name, volume_uuid, backing_file };
    files::create_empty(cx, local).await
}

pub async fn delete(cx: Cx<Host>, cmd: Delete) -> Result<Deleted, Fault> {
    let (storage_path, path) = (root_of(&cx, &cmd.install_path).await?, cmd.install_path);
    match cmd.folder {
        true => files::delete_dir(cx, local::DeleteDir { storage_path, path, ..Default::default() }).await,
        false => files::delete(cx, local::Delete { storage_path, path, ..Default::default() }).await,
    }
}

/// Both must lie in one storage: a rename is whole or has not happened.
pub async fn move_bits(cx: Cx<Host>, cmd: Move) -> Result<Capacity, Fault> {
    let storage = files::storage_of(&cx, &cmd.src_path).await?;
    let (from, to) = (storage.resolve(&cmd.src_path)?, storage.resolve(&cmd.dest_path)?);
    let _one = cx.files.lock(from.clone()).await;
    tokio::task::spawn_blocking(move || {
        match (from.exists(), to.exists()) {
            (false, true) => {}
            (false, false) => return Err(Fault::new(format!("srcPath {from:?} is not there"))),
            (true, true) => return Err(Fault::new(format!("destPath {to:?} is there already"))),
            (true, false) => {
                let mut inside = storage.files()?.into_iter().filter(|file| file.starts_with(&from));
                inside.try_for_each(|file| files::check_idle(&file))?;
                storage.publish(&from, &to)?;
            }
        }
        let space = storage.space()?;
        Ok(Capacity { total_capacity: Some(space.total), available_capacity: Some(space.available) })
    })
    .await?
}

/// What is not there under its own name is looked for among the new share's cached images.
pub async fn rebase_backing(cx: Cx<Host>, cmd: RebaseBacking) -> Result<Done, Fault> {
    let storage = files::storage_of(&cx, &cmd.dst_volume_folder_path).await?;
    let folder = storage.resolve(&cmd.dst_volume_folder_path)?;
    let inside = tokio::task::spawn_blocking(move || {
        let files = storage.files()?.into_iter().filter(|file| file.starts_with(&folder));
        Ok::<Vec<PathBuf>, Fault>(files.collect())
    });
    for file in inside.await?? {
        let Some(base) = files::backing(&file)? else { continue };
        let Ok(rest) = base.strip_prefix(&cmd.src_ps_mount_path) else { continue };
        let there = Path::new(&cmd.dst_ps_mount_path).join(rest);
        let cached =
            Path::new(&cmd.dst_image_cache_template_folder_path).join(base.file_name().unwrap_or_default());
        let new = if there.is_file() { there } else { cached };
        files::relink(&cx, &file.to_string_lossy(), &new.to_string_lossy()).await?;
    }
    Ok(Done {})
}

pub async fn clean_meta(cx: Cx<Host>, cmd: CleanMeta) -> Result<Done, Fault> {
    files::clean_meta(&cx, &cmd.primary_storage_install_path).await
}

as_local! {
    create_from_template(cmd: CreateFromTemplate, root at cmd.install_url) -> VolumeMade
        = create_from_cache(local::CreateFromCache {
            storage_path: root,
            template_path_in_cache: cmd.template_path_in_cache,
            install_url: cmd.install_url,
            volume_uuid: cmd.volume_uuid,
            virtual_size: cmd.virtual_size,
            ..Default::default()
        });
    with_backing(cmd: WithBacking, root at cmd.install_url) -> VolumeMade = with_backing(local::WithBacking {
        storage_path: root,
        template_path_in_cache: cmd.template_path_in_cache,
        install_path: cmd.install_url,
        volume_uuid: cmd.volume_uuid,
    });
    create_folder(cmd: CreateFolder, root at cmd.install_url) -> Capacity = create_folder(local::CreateFolder {
        storage_path: root,
        install_url: cmd.install_url,
    });
    unlink(cmd: Unlink, root at cmd.install_path) -> Capacity = unlink(local::Unlink {
        storage_path: root,
        install_path: cmd.install_path,
        only_linked_file: cmd.only_linked_file,
    });
    check_bits(cmd: CheckBits, root at cmd.install_path) -> BitsChecked = check_bits(local::CheckBits {
        storage_path: root,
        path: cmd.install_path,
        ..Default::default()
    });
    get_size(cmd: GetSize, root at cmd.install_path) -> Size = get_size(local::GetSize {
        storage_path: root,
        install_path: cmd.install_path,
        ..Default::default()
    });
    hard_link(cmd: HardLink, root at cmd.src_dir) -> Capacity = hard_link(local::HardLink {
        storage_path: root,
        volume_uuid: cmd.volume_uuid,
        src_dir: cmd.src_dir,
        dst_dir: cmd.dst_dir,
    });
    download(cmd: Download, root at cmd.primary_storage_install_path) -> Downloaded = download(local::Download {
        storage_path: root,
        image_uuid: cmd.image_uuid,
        primary_storage_install_path: cmd.primary_storage_install_path,
        url: cmd.url,
        sha256: cmd.sha256,
        size: cmd.size,
        ..Default::default()
    });
}

as_it_is! {
    create_template(cmd: CreateTemplate) -> Merged = create_template(local::CreateTemplate {
        install_path: cmd.install_path,
        volume_path: cmd.root_volume_path,
        ..Default::default()
    });
    estimate(cmd: Estimate) -> Size = estimate(local::Estimate {
        volume_path: cmd.volume_path,
        ..Default::default()
    });
    revert(cmd: Revert) -> NewVolume = revert(local::Revert {
        snapshot_install_path: cmd.snapshot_install_path,
        ..Default::default()
    });
    reinit(cmd: Reinit) -> NewVolume = reinit(local::Reinit {
        image_path: cmd.image_path,
        volume_path: cmd.volume_path,
        ..Default::default()
    });
    merge(cmd: Merge) -> Merged = merge(local::Merge {
        snapshot_install_path: cmd.snapshot_install_path,
        workspace_install_path: cmd.workspace_install_path,
        ..Default::default()
    });
    merge_and_rebase(cmd: MergeAndRebase) -> Merged = merge_and_rebase(local::MergeAndRebase {
        snapshot_install_paths: cmd.snapshot_install_paths,
        workspace_install_path: cmd.workspace_install_path,
        ..Default::default()
    });
    offline_merge(cmd: OfflineMerge) -> Capacity = offline_merge(local::OfflineMerge {
        src_path: cmd.src_path,
        dest_path: cmd.dest_path,
        full_rebase: cmd.full_rebase,
        ..Default::default()
    });
    batch_get_size(cmd: BatchGetSize) -> Sizes = batch_get_size(local::BatchGetSize {
        volume_uuid_install_paths: cmd.volume_uuid_install_paths,
    });
    base_image(cmd: GetBaseImage) -> BaseImage = base_image(local::GetBaseImage {
        volume_uuid: cmd.volume_uuid,
        image_cache_dir: cmd.image_cache_dir,
        volume_install_dir: cmd.volume_install_dir,
        volume_install_path: cmd.volume_install_path,
    });
    get_backing_chain(cmd: GetBackingChain) -> BackingChain = get_backing_chain(local::GetBackingChain {
        volume_uuid: cmd.volume_uuid,
        install_path: cmd.install_path,
    });
    resize(cmd: Resize) -> Resized = resize(local::Resize {
        install_path: cmd.install_path,
        size: cmd.size,
        force: cmd.force,
        ..Default::default()
    });
    get_hash(cmd: GetHash) -> Hash = get_hash(local::GetHash {
        host_uuid: cmd.host_uuid,
        install_path: cmd.install_path,
    });
    upload(cmd: Upload) -> Uploaded = upload(local::Upload {
        install_path: cmd.install_path,
        url: cmd.url,
        ..Default::default()
    });
}

async fn root_of(cx: &Cx<Host>, path: &str) -> Result<String, Fault> {
    Ok(files::storage_of(cx, path).await?.root().to_string_lossy().into_owned())
}
