//! Kinds of primary storage: how volumes come into being and go.

use std::collections::BTreeMap;

use engine::boxed;
use engine::driver::Family;
use engine::flow::Cx;
use engine::{Engine, Result};
use serde::{Deserialize, Serialize};
use wire::calls::localstorage::Downloaded;

use super::layout::signed;
use super::{PrimaryStorageInventory, local, nfs, shared_mount_point};
use crate::host::HostInventory;

/// What a storage has on a host, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    pub total: i64,
    pub available: i64,
}

/// An image to be fetched from a backup storage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Wanted {
    pub image: String,
    pub url: String,
    pub hostname: String,
    pub install_path: String,
    pub sha256: String,
    pub actual_size: i64,
}

/// A file on the storage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Placed {
    pub path: String,
    pub format: String,
    /// Bytes, virtual.
    pub size: i64,
    /// Bytes, allocated.
    pub actual_size: i64,
}

impl Placed {
    /// A qcow2 file as an agent made it; a size that it does not tell is `size`.
    pub(super) fn qcow2(path: &str, told: Option<u64>, actual_size: Option<u64>, size: i64) -> Placed {
        Placed {
            path: path.to_owned(),
            format: "qcow2".into(),
            size: told.map_or(size, signed),
            actual_size: actual_size.map_or(0, signed),
        }
    }

    pub(super) fn downloaded(path: String, done: Downloaded) -> Placed {
        let (size, actual_size) = (signed(done.size), signed(done.actual_size));
        Placed { path, format: done.format, size, actual_size }
    }
}

/// A volume to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NewVolume {
    pub uuid: String,
    pub account: String,
    /// Bytes; of a volume with a template at least the template's.
    pub size: i64,
}

/// One kind of primary storage. Every command succeeds when what it wants is so already.
#[boxed]
pub trait Driver: Sync {
    /// Whether all hosts that have such a storage see the same files. What lies there lies on no host, and
    /// images are cached once for all.
    fn is_shared(&self) -> bool {
        false
    }

    /// Where a root volume will lie.
    fn root_path(&self, storage: &PrimaryStorageInventory, volume: &NewVolume) -> String;

    /// Makes the storage usable on a host and tells its space there.
    async fn join(&self, cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<Space>;

    /// Takes away what the storage itself keeps on a host; volumes are gone by then.
    async fn leave(&self, cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()>;

    /// Takes away what a shared storage keeps for all its hosts, by way of one of them; volumes are gone by
    /// then.
    async fn clear(&self, _cx: &Cx, _host: &HostInventory, _storage: &PrimaryStorageInventory) -> Result<()> {
        Ok(())
    }

    /// Where an image lies in the storage's cache.
    fn cached_path(&self, storage: &PrimaryStorageInventory, image: &Wanted) -> String;

    /// Brings an image into the storage's cache.
    async fn cache(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        image: &Wanted,
    ) -> Result<Placed>;

    /// Makes a root volume from a cached image.
    async fn clone_volume(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        template: &Placed,
        volume: &NewVolume,
    ) -> Result<Placed> {
        let path = self.root_path(storage, volume);
        self.clone_volume_at(cx, host, storage, template, volume, &path).await
    }

    /// Makes one at `path`.
    async fn clone_volume_at(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        template: &Placed,
        volume: &NewVolume,
        path: &str,
    ) -> Result<Placed>;

    /// Where a data volume will lie.
    fn data_path(&self, storage: &PrimaryStorageInventory, volume: &NewVolume) -> String;

    /// Makes an empty volume at `path`.
    async fn create_volume(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        volume: &NewVolume,
        path: &str,
    ) -> Result<Placed>;

    /// The bytes of a volume, virtual and allocated.
    async fn volume_size(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        volume: &str,
        path: &str,
    ) -> Result<(i64, i64)>;

    /// The bytes allocated for each of the volumes at these paths, by their uuids; of those that are there.
    async fn actual_sizes(
        &self,
        engine: &Engine,
        host: &HostInventory,
        paths: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, i64>>;

    async fn delete_volume(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        path: &str,
    ) -> Result<()>;

    /// Where another file of a volume will lie, which has one at `path`: `name` is its own.
    fn layer_path(&self, path: &str, volume: &str, name: &str) -> String;

    /// Makes a volume at `path` that shows the file `base` until it is written to.
    async fn overlay(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        base: &str,
        path: &str,
    ) -> Result<Placed>;

    /// Puts the file at `path`, which nobody has open, directly on `base`, or on nothing, without changing
    /// what it shows.
    async fn put_on(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        path: &str,
        base: Option<&str>,
    ) -> Result<()>;

    /// Copies all that the file `from` shows, which nobody writes to, into one that stands alone.
    async fn copy(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        from: &str,
        to: &str,
    ) -> Result<Placed>;

    /// Brings a file that nobody writes to where a backup storage awaits it.
    async fn upload(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        path: &str,
        url: &str,
    ) -> Result<()>;
}

/// All of them; a new one is a file and a line here.
pub static PRIMARY_STORAGES: Family<dyn Driver> = Family::new(
    "primary storage",
    &[
        (local::TYPE, &local::LocalStorage),
        (shared_mount_point::TYPE, &shared_mount_point::SharedMountPoint),
        (nfs::TYPE, &nfs::Nfs),
    ],
);

impl PrimaryStorageInventory {
    pub fn driver(&self) -> Result<&'static dyn Driver> {
        PRIMARY_STORAGES.get(&self.r#type)
    }
}
