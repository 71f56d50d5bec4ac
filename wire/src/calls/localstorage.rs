//! `/localstorage/*`: primary storage on a hypervisor's own disks (kvm-agent). Sizes are bytes; every
//! reply may carry the storage's capacity.

use super::{call, message};

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
