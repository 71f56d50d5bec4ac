//! `/nfsprimarystorage/*`: primary storage on an NFS share (kvm-agent). The answers are those of
//! `/localstorage/*`. Commands name files, not the storage: it is told by where they lie.

use std::collections::BTreeMap;

use super::localstorage::{
    BackingChain, BaseImage, BitsChecked, Capacity, Deleted, Downloaded, Hash, Merged, NewVolume, Resized,
    Size, Sizes, Uploaded, VolumeMade,
};
use super::{Done, call, message};

message! {
    /// Mounts the share unless it is mounted, and opens it as a storage.
    Mount {
        uuid: String,
        /// `server:/path`.
        url: String,
        mount_path: String,
        options: Option<String>,
    }
    Remount {
        uuid: String,
        url: String,
        mount_path: String,
        options: Option<String>,
    }
    /// Succeeds when it is not mounted; refused while something there is in use.
    Unmount {
        uuid: String,
        url: String,
        mount_path: String,
    }
    /// Another address for the same share.
    UpdateMountPoint {
        uuid: String,
        old_mount_point: String,
        new_mount_point: String,
        mount_path: String,
        options: Option<String>,
    }
    /// Whether the share is mounted, answers, and can be written to.
    Ping {
        uuid: String,
        url: String,
        mount_path: String,
    }
    GetCapacity { uuid: String, mount_path: String }
    CreateEmpty {
        install_url: String,
        name: String,
        volume_uuid: String,
        size: u64,
        /// Only the directory is made.
        without_volume: bool,
        backing_file: Option<String>,
    }
    CreateFromTemplate {
        install_url: String,
        volume_uuid: String,
        template_path_in_cache: String,
        virtual_size: u64,
    }
    WithBacking {
        install_url: String,
        volume_uuid: String,
        template_path_in_cache: String,
    }
    CreateFolder { install_url: String }
    Delete { install_path: String, folder: bool }
    Unlink { install_path: String, only_linked_file: Option<bool> }
    CheckBits { install_path: String, host_uuid: String }
    CreateTemplate { install_path: String, root_volume_path: String }
    Estimate { volume_path: String }
    Revert { snapshot_install_path: String }
    Reinit { image_path: String, volume_path: String }
    Merge {
        volume_uuid: String,
        snapshot_install_path: String,
        workspace_install_path: String,
    }
    MergeAndRebase {
        volume_uuid: String,
        snapshot_install_paths: Vec<String>,
        workspace_install_path: String,
    }
    OfflineMerge {
        src_path: String,
        dest_path: String,
        full_rebase: bool,
    }
    /// Renames within the share; succeeds when it was moved before.
    Move { src_path: String, dest_path: String }
    GetSize { volume_uuid: String, install_path: String }
    BatchGetSize { volume_uuid_install_paths: BTreeMap<String, String> }
    GetBaseImage {
        volume_uuid: String,
        volume_install_dir: String,
        image_cache_dir: String,
        volume_install_path: String,
    }
    GetBackingChain { volume_uuid: String, install_path: String }
    Resize {
        install_path: String,
        size: u64,
        force: bool,
    }
    HardLink {
        volume_uuid: String,
        src_dir: String,
        dst_dir: String,
    }
    /// After a move between shares: what stands on files of the one stands on those of the other.
    RebaseBacking {
        src_ps_mount_path: String,
        dst_ps_mount_path: String,
        dst_volume_folder_path: String,
        dst_image_cache_template_folder_path: String,
    }
    GetHash { host_uuid: String, install_path: String }
    /// `url`, `sha256` and `size` are ours.
    Download {
        image_uuid: String,
        primary_storage_install_path: String,
        url: String,
        sha256: String,
        size: u64,
    }
    /// Ours: as that of `/localstorage/*`.
    Upload { install_path: String, url: String }
    CleanMeta { primary_storage_install_path: String }
}

call!(Mount, "/nfsprimarystorage/mount", Sync, Acts, Capacity);
call!(Unmount, "/nfsprimarystorage/unmount", Sync, Acts, Capacity);
call!(Remount, "/nfsprimarystorage/remount", Async, Acts, Capacity);
call!(UpdateMountPoint, "/nfsprimarystorage/updatemountpoint", Async, Acts, Capacity);
call!(Ping, "/nfsprimarystorage/ping", Async, Reads, Capacity);
call!(GetCapacity, "/nfsprimarystorage/getcapacity", Async, Reads, Capacity);
call!(CreateEmpty, "/nfsprimarystorage/createemptyvolume", Async, Acts, VolumeMade);
call!(CreateFromTemplate, "/nfsprimarystorage/sftp/createvolumefromtemplate", Async, Acts, VolumeMade);
call!(WithBacking, "/nfsprimarystorage/createvolumewithbacking", Async, Acts, VolumeMade);
call!(CreateFolder, "/nfsprimarystorage/createfolder", Async, Acts, Capacity);
call!(Delete, "/nfsprimarystorage/delete", Async, Acts, Deleted);
call!(Unlink, "/nfsprimarystorage/unlink", Async, Acts, Capacity);
call!(CheckBits, "/nfsprimarystorage/checkbits", Async, Reads, BitsChecked);
call!(CreateTemplate, "/nfsprimarystorage/sftp/createtemplatefromvolume", Async, Acts, Merged);
call!(Estimate, "/nfsprimarystorage/estimatetemplatesize", Async, Reads, Size);
call!(Revert, "/nfsprimarystorage/revertvolumefromsnapshot", Async, Acts, NewVolume);
call!(Reinit, "/nfsprimarystorage/reinitimage", Async, Acts, NewVolume);
call!(Merge, "/nfsprimarystorage/mergesnapshot", Async, Acts, Merged);
call!(MergeAndRebase, "/nfsprimarystorage/rebaseandmergesnapshot", Async, Acts, Merged);
call!(OfflineMerge, "/nfsprimarystorage/offlinesnapshotmerge", Async, Acts, Capacity);
call!(Move, "/nfsprimarystorage/movebits", Async, Acts, Capacity);
call!(GetSize, "/nfsprimarystorage/getvolumesize", Async, Reads, Size);
call!(BatchGetSize, "/nfsprimarystorage/batchgetvolumesize", Async, Reads, Sizes);
call!(GetBaseImage, "/nfsprimarystorage/getvolumebaseimage", Async, Reads, BaseImage);
call!(GetBackingChain, "/nfsprimarystorage/volume/getbackingchain", Async, Reads, BackingChain);
call!(Resize, "/nfsprimarystorage/volume/resize", Async, Acts, Resized);
call!(HardLink, "/nfsprimarystorage/volume/hardlink", Async, Acts, Capacity);
call!(RebaseBacking, "/nfsprimarystorage/rebasevolumebackingfile", Async, Acts, Done);
call!(GetHash, "/nfsprimarystorage/getqcow2hash", Async, Reads, Hash);
call!(Download, "/nfsprimarystorage/imagestore/download", Async, Acts, Downloaded);
call!(Upload, "/nfsprimarystorage/imagestore/upload", Async, Acts, Uploaded);
call!(CleanMeta, "/nfsprimarystorage/imagestore/meta/clean", Async, Acts, Done);
