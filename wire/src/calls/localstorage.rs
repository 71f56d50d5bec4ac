//! `/localstorage/*`: primary storage on a hypervisor's own disks (kvm-agent). Sizes are bytes; every
//! reply may carry the storage's capacity.

use std::collections::BTreeMap;

use super::{Done, call, message};

message! {
    /// Makes the directory and tells its capacity.
    Init {
        uuid: String,
        storage_path: String,
        path: String,
        host_uuid: String,
        init_file_path: Option<String>,
    }
    Initialized {
        local_storage_used_capacity: Option<u64>,
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    GetCapacity { uuid: String, storage_path: String, host_uuid: String }
    Capacity {
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    CreateEmpty {
        uuid: String,
        storage_path: String,
        install_url: String,
        size: u64,
        name: String,
        volume_uuid: String,
        backing_file: Option<String>,
    }
    /// Fails with "unable to find image in cache" when the template is missing.
    CreateFromCache {
        uuid: String,
        storage_path: String,
        template_path_in_cache: String,
        install_url: String,
        volume_uuid: String,
        /// 0 keeps the template's size.
        virtual_size: u64,
    }
    VolumeMade {
        size: Option<u64>,
        actual_size: Option<u64>,
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    /// Deletes a file; succeeds when it is gone; a file in use is refused with `inUse`.
    Delete {
        uuid: String,
        storage_path: String,
        host_uuid: String,
        path: String,
    }
    DeleteDir {
        uuid: String,
        storage_path: String,
        host_uuid: String,
        path: String,
    }
    Deleted {
        in_use: bool,
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    CheckBits { uuid: String, storage_path: String, path: String }
    BitsChecked { existing: bool }
    GetSize {
        uuid: String,
        storage_path: String,
        volume_uuid: String,
        install_path: String,
    }
    /// `size` is virtual, `actual_size` allocated.
    Size { size: u64, actual_size: u64 }
    /// Fetches an image from a storage-agent's image store into this storage's cache; succeeds when it is
    /// there already. ZStack's path; `url`, `sha256` and `size` are ours.
    Download {
        uuid: String,
        storage_path: String,
        image_uuid: String,
        hostname: String,
        backup_storage_install_path: String,
        primary_storage_install_path: String,
        url: String,
        sha256: String,
        size: u64,
    }
    Downloaded {
        /// `qcow2` or `raw`, found by our own reading of the header.
        format: String,
        size: u64,
        actual_size: u64,
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    /// Ours: PUTs a file that nobody writes to where an image store awaits it; succeeds when the store has
    /// the image already.
    Upload {
        storage_path: String,
        install_path: String,
        url: String,
    }
    Uploaded { size: u64 }
    /// A volume that shows a snapshot, beside it.
    Revert { storage_path: String, snapshot_install_path: String }
    /// A volume that shows its image again, beside the old one.
    Reinit {
        storage_path: String,
        image_path: String,
        volume_path: String,
    }
    NewVolume { new_volume_install_path: String, size: u64 }
    /// Copies all that a snapshot shows into one file.
    Merge {
        storage_path: String,
        volume_uuid: String,
        snapshot_install_path: String,
        workspace_install_path: String,
    }
    /// The snapshots from the ground up: each is put on the one before it, the last is copied.
    MergeAndRebase {
        storage_path: String,
        volume_uuid: String,
        snapshot_install_paths: Vec<String>,
        workspace_install_path: String,
    }
    Merged {
        size: u64,
        actual_size: u64,
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    /// Puts `dest_path` directly on `src_path`, or on nothing, keeping what it shows.
    OfflineMerge {
        storage_path: String,
        src_path: String,
        dest_path: String,
        full_rebase: bool,
    }
    Layer {
        snapshot_uuid: String,
        path: String,
        parent_path: Option<String>,
    }
    VerifyChain { storage_path: String, snapshots: Vec<Layer> }
    RebaseAll { storage_path: String, snapshots: Vec<Layer> }
    /// Copies all that a volume shows into an image. ZStack misspells its path on one way.
    CreateTemplate {
        storage_path: String,
        install_path: String,
        insall_path: String,
        volume_path: String,
    }
    Estimate { storage_path: String, volume_path: String }
    WithBacking {
        storage_path: String,
        template_path_in_cache: String,
        install_path: String,
        volume_uuid: String,
    }
    CreateFolder { storage_path: String, install_url: String }
    /// Removes a name; by default only when the file has another one.
    Unlink {
        storage_path: String,
        install_path: String,
        only_linked_file: Option<bool>,
    }
    /// Grows a volume that nobody has open; never shrinks.
    Resize {
        storage_path: String,
        install_path: String,
        size: u64,
        force: bool,
    }
    Resized { size: u64 }
    GetBackingFile { path: String, volume_uuid: String }
    BackingFile { backing_file_path: Option<String>, size: Option<u64> }
    GetBackingChain { volume_uuid: String, install_path: String }
    /// `backing_chain` is what the volume stands on, from the top down; the size is of all with it.
    BackingChain { backing_chain: Vec<String>, total_size: u64 }
    BatchGetSize { volume_uuid_install_paths: BTreeMap<String, String> }
    Sizes { actual_sizes: BTreeMap<String, u64> }
    GetBaseImage {
        volume_uuid: String,
        image_cache_dir: String,
        volume_install_dir: String,
        volume_install_path: String,
    }
    BaseImage {
        path: Option<String>,
        other_paths: Vec<String>,
        size: Option<u64>,
    }
    GetReferences { path: String, searching_dir: String }
    References { reference_paths: Vec<String> }
    HardLink {
        storage_path: String,
        volume_uuid: String,
        src_dir: String,
        dst_dir: String,
    }
    RelinkVolume { root_volume_path: String, backing_file_path: String }
    CheckInitialized { storage_path: String, file_path: String }
    Initialised {
        existed: bool,
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    CreateInitialized { storage_path: String, file_path: String }
    Md5 {
        resource_uuid: String,
        path: String,
        md5: String,
    }
    GetMd5 { volume_uuid: String, md5s: Vec<Md5> }
    Md5s { md5s: Vec<Md5> }
    CheckMd5 { volume_uuid: String, md5s: Vec<Md5> }
    GetHash { host_uuid: String, install_path: String }
    /// Removes what ZStack's image store kept beside the file.
    CleanMeta { primary_storage_install_path: String }
    /// SHA-256.
    Hash { hash_value: String }
}

call!(Init, "/localstorage/init", Async, Acts, Initialized);
call!(GetCapacity, "/localstorage/getphysicalcapacity", Async, Reads, Capacity);
call!(CreateEmpty, "/localstorage/volume/createempty", Async, Acts, VolumeMade);
call!(CreateFromCache, "/localstorage/volume/createvolumefromcache", Async, Acts, VolumeMade);
call!(Delete, "/localstorage/delete", Async, Acts, Deleted);
call!(DeleteDir, "/localstorage/deletedir", Async, Acts, Deleted);
call!(CheckBits, "/localstorage/checkbits", Async, Reads, BitsChecked);
call!(GetSize, "/localstorage/volume/getsize", Async, Reads, Size);
call!(Download, "/localstorage/imagestore/download", Async, Acts, Downloaded);
call!(Upload, "/localstorage/imagestore/upload", Async, Acts, Uploaded);
call!(Revert, "/localstorage/snapshot/revert", Async, Acts, NewVolume);
call!(Reinit, "/localstorage/reinit/image", Async, Acts, NewVolume);
call!(Merge, "/localstorage/snapshot/merge", Async, Acts, Merged);
call!(MergeAndRebase, "/localstorage/snapshot/mergeandrebase", Async, Acts, Merged);
call!(OfflineMerge, "/localstorage/snapshot/offlinemerge", Async, Acts, Capacity);
call!(VerifyChain, "/localstorage/snapshot/verifychain", Async, Reads, Done);
call!(RebaseAll, "/localstorage/snapshot/rebasebackingfiles", Async, Acts, Done);
call!(CreateTemplate, "/localstorage/volume/createtemplate", Async, Acts, Merged);
call!(Estimate, "/localstorage/volume/estimatetemplatesize", Async, Reads, Size);
call!(WithBacking, "/localstorage/volume/createwithbacking", Async, Acts, VolumeMade);
call!(CreateFolder, "/localstorage/volume/createfolder", Async, Acts, Capacity);
call!(Unlink, "/localstorage/unlink", Async, Acts, Capacity);
call!(Resize, "/localstorage/volume/resize", Async, Acts, Resized);
call!(GetBackingFile, "/localstorage/volume/getbackingfile", Async, Reads, BackingFile);
call!(GetBackingChain, "/localstorage/volume/getbackingchain", Async, Reads, BackingChain);
call!(BatchGetSize, "/localstorage/volume/batchgetsize", Async, Reads, Sizes);
call!(GetBaseImage, "/localstorage/volume/getbaseimagepath", Async, Reads, BaseImage);
call!(GetReferences, "/localstorage/getqcow2reference", Async, Reads, References);
call!(HardLink, "/localstorage/volume/hardlink", Async, Acts, Capacity);
call!(RelinkVolume, "/localstorage/volume/rebaserootvolumetobackingfile", Async, Acts, Done);
call!(CheckInitialized, "/localstorage/check/initializedfile", Async, Reads, Initialised);
call!(CreateInitialized, "/localstorage/create/initializedfile", Async, Acts, Done);
call!(GetMd5, "/localstorage/getmd5", Async, Reads, Md5s);
call!(CheckMd5, "/localstorage/checkmd5", Async, Reads, Done);
call!(GetHash, "/localstorage/getqcow2hash", Async, Reads, Hash);
call!(CleanMeta, "/localstorage/imagestore/meta/clean", Async, Acts, Done);
