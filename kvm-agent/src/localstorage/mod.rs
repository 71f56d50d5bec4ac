//! `/localstorage/*`: primary storage on this host's own disks.
//!
//! A storage is a directory that was opened by `init` and carries [`MARK`]. Nothing is read, written or
//! deleted outside of one: every path must lie below its storage, without `..` and without a symbolic
//! link on the way, and the mark must be there (a disk that is not mounted has none). What is made is made
//! under another name in the storage's `.tmp` and renamed when it is whole; `.tmp` is emptied when the
//! agent starts.

mod capacity;
mod delete;
mod download;
mod init;
mod storage;
mod volume;

pub use capacity::{check_bits, get_capacity, get_size};
pub use delete::{delete, delete_dir};
pub use download::{download, http};
pub use init::init;
pub use storage::{Storage, Storages};
pub use volume::{create_empty, create_from_cache};

/// The file that makes a directory a storage.
const MARK: &str = ".cumulet";
/// Where things are made.
const WORKSHOP: &str = ".tmp";
/// A directory of this name in a storage holds images that volumes stand on.
pub const CACHE: &str = "imagecache";

#[cfg(test)]
mod tests;
