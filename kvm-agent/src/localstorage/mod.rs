//! `/localstorage/*`: primary storage on this host's own disks.
//!
//! A storage is a directory that was opened by `init` and carries [`MARK`]. Nothing is read, written or
//! deleted outside of one: every path must lie below its storage, without `..` and without a symbolic
//! link on the way, and the mark must be there (a disk that is not mounted has none). What is made is made
//! under another name in the storage's `.tmp` and renamed when it is whole; the host's own directory there is
//! emptied when the agent starts (other hosts may work in theirs, where the storage is shared).

mod capacity;
mod delete;
mod download;
mod images;
mod init;
mod layers;
mod snapshot;
mod storage;
mod upload;
mod volume;

pub use capacity::{check_bits, get_capacity, get_size};
pub use delete::{delete, delete_dir};
pub use download::{download, http};
pub use host::qcow2::Format;
pub use images::{
    base_image, batch_get_size, check_initialized, check_md5, clean_local_meta, clean_meta, create_folder,
    create_initialized, create_template, estimate, get_backing_chain, get_backing_file, get_hash, get_md5,
    get_references, hard_link, relink_volume, resize, unlink, with_backing,
};
pub use init::{claim, init};
pub use layers::{
    allocated, backing, check_alone, check_idle, copy, fresh_overlay, overlay, relink, sibling, storage_of,
};
pub use snapshot::{merge, merge_and_rebase, offline_merge, rebase_all, reinit, revert, verify_chain};
pub use storage::{Storage, Storages};
pub use upload::upload;
pub use volume::{create_empty, create_from_cache};

/// The file that makes a directory a storage.
const MARK: &str = ".cumulet";
/// Where hosts that share the storage keep their leases.
pub const LEASES: &str = ".leases";
/// Where things are made, each host in a directory of its own.
const WORKSHOP: &str = ".tmp";
/// A directory of this name in a storage holds images that volumes stand on.
pub const CACHE: &str = "imagecache";

#[cfg(test)]
mod tests;
