//! Kinds of backup storage: how images come to one, and how they go.

use std::time::Duration;

use engine::boxed;
use engine::driver::Family;
use engine::flow::Cx;
use engine::{Any, Engine, Id, Result};
use serde::{Deserialize, Serialize};

use super::{BackupStorageInventory, sftp};

/// What a storage has, bytes; absent when it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    pub total: Option<i64>,
    pub available: Option<i64>,
}

/// An image to be brought to a storage.
#[derive(Clone, Debug)]
pub struct Order {
    pub image: Id<Any>,
    pub url: String,
    /// What the image must be; found out when absent.
    pub format: Option<String>,
    /// What who uploads must present; only for `upload://`.
    pub upload_token: Option<String>,
    /// How long it may take.
    pub limit: Duration,
}

/// An image that was brought, inspected and is kept. Sizes in bytes, `size` is the virtual one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub size: i64,
    pub actual_size: i64,
    pub md5_sum: String,
    pub sha256: String,
    pub format: String,
}

/// How far an image is on its way, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    pub total: Option<u64>,
}

/// One kind of backup storage. Every command succeeds when what it wants is so already.
#[boxed]
pub trait Driver: Sync {
    async fn connect(&self, cx: &Cx, storage: &BackupStorageInventory) -> Result<Space>;

    /// Whether its agent answers at all.
    async fn reach(&self, engine: &Engine, storage: &BackupStorageInventory) -> Result<()>;

    /// Gives the storage's directory free again; refused while images are in it.
    async fn disconnect(&self, cx: &Cx, storage: &BackupStorageInventory) -> Result<()>;

    /// Fails when the storage cannot be used, whether or not its agent answers.
    async fn ping(&self, engine: &Engine, storage: &BackupStorageInventory) -> Result<Space>;

    /// Where an image lies on a storage.
    fn install_path(&self, image: Id<Any>) -> String;

    /// Brings an image; the storage inspects it and keeps nothing of one that it refuses.
    async fn download(&self, cx: &Cx, storage: &BackupStorageInventory, order: &Order) -> Result<Stored>;

    /// Deletes an image's bits, also while they are coming.
    async fn delete(&self, cx: &Cx, storage: &BackupStorageInventory, image: Id<Any>) -> Result<()>;

    /// The bytes of an image that it has, virtual and of the file.
    async fn image_size(
        &self,
        engine: &Engine,
        storage: &BackupStorageInventory,
        image: Id<Any>,
    ) -> Result<(i64, i64)>;

    async fn progress(
        &self,
        engine: &Engine,
        storage: &BackupStorageInventory,
        image: Id<Any>,
    ) -> Result<Progress>;

    /// Where a host fetches an image's bits.
    fn bits_url(&self, engine: &Engine, storage: &BackupStorageInventory, image: Id<Any>) -> String;

    /// Where a host PUTs the bits of an image that is awaited.
    fn bring_url(
        &self,
        engine: &Engine,
        storage: &BackupStorageInventory,
        image: Id<Any>,
        token: &str,
    ) -> String;

    /// Where a client PUTs the bits of an image that is awaited.
    fn upload_url(
        &self,
        engine: &Engine,
        storage: &BackupStorageInventory,
        image: Id<Any>,
        token: &str,
    ) -> String;
}

/// All of them; a new one is a file and a line here.
pub static BACKUP_STORAGES: Family<dyn Driver> = Family::new("backup storage", &[(sftp::TYPE, &sftp::Sftp)]);

impl BackupStorageInventory {
    pub fn driver(&self) -> Result<&'static dyn Driver> {
        BACKUP_STORAGES.get(&self.r#type)
    }
}
