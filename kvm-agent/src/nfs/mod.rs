//! `/nfsprimarystorage/*`: primary storage on an NFS share that this agent mounts. Files are handled as those of
//! a host's own storage.
//!
//! A share is mounted where the controller says, once; what else is mounted there is left alone and named. A
//! server that is silent lets whoever touches the share wait for ever: questions whether it answers are asked
//! on threads of their own, one at a time ([`Shares`]).

mod files;
mod share;

pub use files::{
    base_image, batch_get_size, check_bits, clean_meta, create_empty, create_folder, create_from_template,
    create_template, delete, download, estimate, get_backing_chain, get_hash, get_size, hard_link, merge,
    merge_and_rebase, move_bits, offline_merge, rebase_backing, reinit, resize, revert, unlink, upload,
    with_backing,
};
pub use share::{Shares, get_capacity, mount, ping, remount, unmount, update_mount_point};
