//! Kinds of primary storage: how volumes come into being and go.

use async_trait::async_trait;
use engine::Result;
use engine::driver::Family;
use engine::flow::Cx;
use serde::{Deserialize, Serialize};

use super::{PrimaryStorageInventory, local};
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

/// A volume to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NewVolume {
    pub uuid: String,
    pub account: String,
    /// Bytes; at least the template's.
    pub size: i64,
}

/// One kind of primary storage. Every command succeeds when what it wants is so already.
#[async_trait]
pub trait Driver: Sync {
    /// Where a root volume will lie.
    fn root_path(&self, storage: &PrimaryStorageInventory, volume: &NewVolume) -> String;

    /// Makes the storage usable on a host and tells its space there.
    async fn join(&self, cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<Space>;

    /// Takes away what the storage itself keeps on a host; volumes are gone by then.
    async fn leave(&self, cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()>;

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
    ) -> Result<Placed>;

    async fn delete_volume(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        path: &str,
    ) -> Result<()>;
}

/// All of them; a new one is a file and a line here.
pub static PRIMARY_STORAGES: Family<dyn Driver> =
    Family { kind: "primary storage", drivers: &[("LocalStorage", &local::LocalStorage)] };

impl PrimaryStorageInventory {
    pub fn driver(&self) -> Result<&'static dyn Driver> {
        PRIMARY_STORAGES.get(&self.r#type)
    }
}
