//! `/sharedmountpointprimarystorage/*`: primary storage in a directory that several hosts have mounted
//! (kvm-agent). The answers are those of `/localstorage/*`.

use super::localstorage::{
    BackingChain, BitsChecked, Capacity, Deleted, Downloaded, Hash, Merged, NewVolume, Resized, Size,
    Uploaded, VolumeMade,
};
use super::{Done, call, message};

message! {
    /// Opens the storage on this host. `exist_uuids` are storages that must not lie there.
    Connect {
        uuid: String,
        mount_point: String,
        exist_uuids: Vec<String>,
    }
    Connected {
        /// Nobody had opened it before.
        is_first: bool,
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    CreateRoot {
        mount_point: String,
        template_path_in_cache: String,
        install_path: String,
        volume_uuid: String,
        virtual_size: u64,
    }
    WithBacking {
        mount_point: String,
        template_path_in_cache: String,
        install_path: String,
        volume_uuid: String,
    }
    CreateEmpty {
        mount_point: String,
        install_path: String,
        size: u64,
        name: String,
        volume_uuid: String,
        backing_file: Option<String>,
    }
    CreateFolder { mount_point: String, install_path: String }
    Delete {
        mount_point: String,
        path: String,
        folder: bool,
    }
    Unlink {
        mount_point: String,
        install_path: String,
        only_linked_file: Option<bool>,
    }
    CheckBits { mount_point: String, path: String }
    GetSize {
        mount_point: String,
        volume_uuid: String,
        install_path: String,
    }
    Resize {
        mount_point: String,
        install_path: String,
        size: u64,
        force: bool,
    }
    CreateTemplate {
        mount_point: String,
        install_path: String,
        volume_path: String,
    }
    Estimate { mount_point: String, volume_path: String }
    Revert { mount_point: String, snapshot_install_path: String }
    Reinit {
        mount_point: String,
        volume_install_path: String,
        image_install_path: String,
    }
    Merge {
        mount_point: String,
        volume_uuid: String,
        snapshot_install_path: String,
        workspace_install_path: String,
    }
    OfflineMerge {
        mount_point: String,
        src_path: String,
        dest_path: String,
        full_rebase: bool,
    }
    GetBackingChain {
        mount_point: String,
        volume_uuid: String,
        install_path: String,
    }
    HardLink {
        mount_point: String,
        volume_uuid: String,
        src_dir: String,
        dst_dir: String,
    }
    GetHash { mount_point: String, install_path: String }
    /// `url`, `sha256` and `size` are ours.
    Download {
        mount_point: String,
        image_uuid: String,
        hostname: String,
        backup_storage_install_path: String,
        primary_storage_install_path: String,
        url: String,
        sha256: String,
        size: u64,
    }
    /// Ours: as that of `/localstorage/*`.
    Upload {
        mount_point: String,
        install_path: String,
        url: String,
    }
    CleanMeta { mount_point: String, primary_storage_install_path: String }
}

call!(Connect, "/sharedmountpointprimarystorage/connect", Async, Acts, Connected);
call!(CreateRoot, "/sharedmountpointprimarystorage/createrootvolume", Async, Acts, VolumeMade);
call!(WithBacking, "/sharedmountpointprimarystorage/createvolumewithbacking", Async, Acts, VolumeMade);
call!(CreateEmpty, "/sharedmountpointprimarystorage/volume/createempty", Async, Acts, VolumeMade);
call!(CreateFolder, "/sharedmountpointprimarystorage/volume/createfolder", Async, Acts, Capacity);
call!(Delete, "/sharedmountpointprimarystorage/bits/delete", Async, Acts, Deleted);
call!(Unlink, "/sharedmountpointprimarystorage/bits/unlink", Async, Acts, Capacity);
call!(CheckBits, "/sharedmountpointprimarystorage/bits/check", Async, Reads, BitsChecked);
call!(GetSize, "/sharedmountpointprimarystorage/volume/getsize", Async, Reads, Size);
call!(Resize, "/sharedmountpointprimarystorage/volume/resize", Async, Acts, Resized);
call!(CreateTemplate, "/sharedmountpointprimarystorage/createtemplatefromvolume", Async, Acts, Merged);
call!(Estimate, "/sharedmountpointprimarystorage/estimatetemplatesize", Async, Reads, Size);
call!(Revert, "/sharedmountpointprimarystorage/volume/revertfromsnapshot", Async, Acts, NewVolume);
call!(Reinit, "/sharedmountpointprimarystorage/volume/reinitimage", Async, Acts, NewVolume);
call!(Merge, "/sharedmountpointprimarystorage/snapshot/merge", Async, Acts, Merged);
call!(OfflineMerge, "/sharedmountpointprimarystorage/snapshot/offlinemerge", Async, Acts, Capacity);
call!(GetBackingChain, "/sharedmountpointprimarystorage/volume/getbackingchain", Async, Reads, BackingChain);
call!(HardLink, "/sharedmountpointprimarystorage/volume/hardlink", Async, Acts, Capacity);
call!(GetHash, "/sharedmountpointprimarystorage/getqcow2hash", Async, Reads, Hash);
call!(Download, "/sharedmountpointprimarystorage/imagestore/download", Async, Acts, Downloaded);
call!(Upload, "/sharedmountpointprimarystorage/imagestore/upload", Async, Acts, Uploaded);
call!(CleanMeta, "/sharedmountpointprimarystorage/imagestore/meta/clean", Async, Acts, Done);
