//! `/sharedmountpointprimarystorage/*`: primary storage in a directory that several hosts have mounted. Files
//! are handled as those of a host's own storage; what differs is how it is opened: never on the host's root
//! file system (a share that is not mounted would be taken for an empty one), and its mark tells whether all
//! hosts see the same.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::localstorage as local;
use wire::calls::mount_point::{
    CheckBits, CleanMeta, Connect, Connected, CreateEmpty, CreateFolder, CreateRoot, CreateTemplate, Delete,
    Download, Estimate, GetBackingChain, GetHash, GetSize, HardLink, Merge, OfflineMerge, Reinit, Resize,
    Revert, Unlink, Upload, WithBacking,
};

use crate::localstorage::{self as files, Storage};
use crate::state::Host;

/// Declares operations that are those of a host's own storage under other names.
macro_rules! as_local {
    ($($name:ident($cmd:ident: $command:ty) -> $reply:ident = $operation:ident($local:expr);)*) => {
        $(pub async fn $name(cx: Cx<Host>, $cmd: $command) -> Result<local::$reply, Fault> {
            files::$operation(cx, $local).await
        })*
    };
}

pub async fn connect(cx: Cx<Host>, cmd: Connect) -> Result<Connected, Fault> {
    let storage = Storage::at(&cmd.mount_point)?;
    let (opened, uuid) = (storage.clone(), cmd.uuid.clone());
    let (is_first, space) = tokio::task::spawn_blocking(move || {
        check_mounted(opened.root())?;
        let is_first = match opened.owner()? {
            Some(owner) if owner != uuid && cmd.exist_uuids.contains(&owner) => {
                let root = opened.root();
                return Err(Fault::new(format!(
                    "{root:?} is primary storage {owner}: mount another share there"
                )));
            }
            owner => owner.is_none(),
        };
        files::claim(&opened, &uuid)?;
        Ok::<_, Fault>((is_first, opened.space()?))
    })
    .await??;
    cx.storages.remember(&storage, &cmd.uuid).await?;
    Ok(Connected { is_first, total_capacity: Some(space.total), available_capacity: Some(space.available) })
}

pub async fn delete(cx: Cx<Host>, cmd: Delete) -> Result<local::Deleted, Fault> {
    let Delete { mount_point: storage_path, path, folder } = cmd;
    match folder {
        true => files::delete_dir(cx, local::DeleteDir { storage_path, path, ..Default::default() }).await,
        false => files::delete(cx, local::Delete { storage_path, path, ..Default::default() }).await,
    }
}

as_local! {
    create_root(cmd: CreateRoot) -> VolumeMade = create_from_cache(local::CreateFromCache {
        storage_path: cmd.mount_point,
        template_path_in_cache: cmd.template_path_in_cache,
        install_url: cmd.install_path,
        volume_uuid: cmd.volume_uuid,
        virtual_size: cmd.virtual_size,
        ..Default::default()
    });
    with_backing(cmd: WithBacking) -> VolumeMade = with_backing(local::WithBacking {
        storage_path: cmd.mount_point,
        template_path_in_cache: cmd.template_path_in_cache,
        install_path: cmd.install_path,
        volume_uuid: cmd.volume_uuid,
    });
    create_empty(cmd: CreateEmpty) -> VolumeMade = create_empty(local::CreateEmpty {
        storage_path: cmd.mount_point,
        install_url: cmd.install_path,
        size: cmd.size,
        name: cmd.name,
        volume_uuid: cmd.volume_uuid,
        backing_file: cmd.backing_file,
        ..Default::default()
    });
    create_folder(cmd: CreateFolder) -> Capacity = create_folder(local::CreateFolder {
        storage_path: cmd.mount_point,
        install_url: cmd.install_path,
    });
    unlink(cmd: Unlink) -> Capacity = unlink(local::Unlink {
        storage_path: cmd.mount_point,
        install_path: cmd.install_path,
        only_linked_file: cmd.only_linked_file,
    });
    check_bits(cmd: CheckBits) -> BitsChecked = check_bits(local::CheckBits {
        storage_path: cmd.mount_point,
        path: cmd.path,
        ..Default::default()
    });
    get_size(cmd: GetSize) -> Size = get_size(local::GetSize {
        storage_path: cmd.mount_point,
        install_path: cmd.install_path,
        ..Default::default()
    });
    resize(cmd: Resize) -> Resized = resize(local::Resize {
        storage_path: cmd.mount_point,
        install_path: cmd.install_path,
        size: cmd.size,
        force: cmd.force,
    });
    create_template(cmd: CreateTemplate) -> Merged = create_template(local::CreateTemplate {
        install_path: cmd.install_path,
        volume_path: cmd.volume_path,
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
        image_path: cmd.image_install_path,
        volume_path: cmd.volume_install_path,
        ..Default::default()
    });
    merge(cmd: Merge) -> Merged = merge(local::Merge {
        snapshot_install_path: cmd.snapshot_install_path,
        workspace_install_path: cmd.workspace_install_path,
        ..Default::default()
    });
    offline_merge(cmd: OfflineMerge) -> Capacity = offline_merge(local::OfflineMerge {
        src_path: cmd.src_path,
        dest_path: cmd.dest_path,
        full_rebase: cmd.full_rebase,
        ..Default::default()
    });
    get_backing_chain(cmd: GetBackingChain) -> BackingChain = get_backing_chain(local::GetBackingChain {
        install_path: cmd.install_path,
        ..Default::default()
    });
    hard_link(cmd: HardLink) -> Capacity = hard_link(local::HardLink {
        storage_path: cmd.mount_point,
        src_dir: cmd.src_dir,
        dst_dir: cmd.dst_dir,
        ..Default::default()
    });
    get_hash(cmd: GetHash) -> Hash = get_hash(local::GetHash {
        install_path: cmd.install_path,
        ..Default::default()
    });
    download(cmd: Download) -> Downloaded = download(local::Download {
        storage_path: cmd.mount_point,
        image_uuid: cmd.image_uuid,
        primary_storage_install_path: cmd.primary_storage_install_path,
        url: cmd.url,
        sha256: cmd.sha256,
        size: cmd.size,
        ..Default::default()
    });
    upload(cmd: Upload) -> Uploaded = upload(local::Upload {
        storage_path: cmd.mount_point,
        install_path: cmd.install_path,
        url: cmd.url,
    });
}

pub async fn clean_meta(cx: Cx<Host>, cmd: CleanMeta) -> Result<Done, Fault> {
    files::clean_meta(&cx, &cmd.primary_storage_install_path).await
}

fn check_mounted(root: &Path) -> Result<(), Fault> {
    let here = std::fs::metadata(root);
    let here = here.map_err(|error| Fault::new(format!("{root:?}: {error}: mount the share there first")))?;
    if here.dev() == std::fs::metadata("/")?.dev() {
        return Err(Fault::new(format!(
            "{root:?} lies on the root file system: mount the share there first"
        )));
    }
    Ok(())
}
