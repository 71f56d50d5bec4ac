//! Kinds of primary storage: how volumes come into being and go.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::boxed;
use engine::driver::Family;
use engine::flow::Cx;
use engine::{Engine, Result};
use serde::{Deserialize, Serialize};
use wire::Call;
use wire::calls::localstorage::{BatchGetSize, Downloaded};

use super::layout::{self, signed};
use super::{PrimaryStorageInventory, local, nfs, shared_mount_point};
use crate::host::HostInventory;
use crate::host::kvm::agent;

/// What a storage has on a host, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    pub total: i64,
    pub available: i64,
}

impl Space {
    /// As an agent tells it.
    pub(super) fn told(total: Option<u64>, available: Option<u64>) -> Space {
        Space { total: signed(total.unwrap_or(0)), available: signed(available.unwrap_or(0)) }
    }
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

impl NewVolume {
    /// The size to be asked for where `template` alone would be smaller, else nothing.
    pub(super) fn beyond(&self, template: &Placed) -> u64 {
        if self.size > template.size { self.size.unsigned_abs() } else { 0 }
    }
}

/// A storage on one of its hosts, for a step of a flow.
#[derive(Clone, Copy)]
pub struct Through<'a> {
    pub cx: &'a Cx,
    pub host: &'a HostInventory,
    pub storage: &'a PrimaryStorageInventory,
}

impl Through<'_> {
    /// Where the storage lies there.
    pub(super) fn directory(&self) -> String {
        self.storage.mount_path.clone()
    }

    /// Has the agent of the host carry out `command` and waits for its outcome.
    pub(super) async fn call<C: Call>(&self, command: &C) -> Result<C::Reply> {
        self.cx.call(&agent(self.cx.engine(), self.host), command).await
    }

    /// Asks the agent of the host; only calls without effect.
    pub(super) async fn ask<C: Call>(&self, question: &C) -> Result<C::Reply> {
        self.cx.engine().ask(&agent(self.cx.engine(), self.host), question, ASKING).await
    }
}

/// How long looking at a file may take.
pub(super) const ASKING: Duration = Duration::from_secs(60);

/// One kind of primary storage. Every command succeeds when what it wants is so already. What has a body here is
/// what storages do that are directories of their hosts.
#[boxed]
pub trait Driver: Sync {
    /// Whether all hosts that have such a storage see the same files. What lies there lies on no host, and
    /// images are cached once for all.
    fn is_shared(&self) -> bool {
        false
    }

    /// Where a root volume will lie.
    fn root_path(&self, storage: &PrimaryStorageInventory, volume: &NewVolume) -> String {
        layout::root(storage, volume)
    }

    /// Makes the storage usable on a host and tells its space there.
    async fn join(&self, at: Through<'_>) -> Result<Space>;

    /// Takes away what the storage itself keeps on a host; volumes are gone by then.
    async fn leave(&self, at: Through<'_>) -> Result<()>;

    /// Takes away what a shared storage keeps for all its hosts, by way of one of them; volumes are gone by
    /// then.
    async fn clear(&self, _at: Through<'_>) -> Result<()> {
        Ok(())
    }

    /// Where an image lies in the storage's cache.
    fn cached_path(&self, storage: &PrimaryStorageInventory, image: &Wanted) -> String {
        layout::cached(storage, image)
    }

    /// Brings an image into the storage's cache.
    async fn cache(&self, at: Through<'_>, image: &Wanted) -> Result<Placed>;

    /// Makes a root volume from a cached image.
    async fn clone_volume(&self, at: Through<'_>, template: &Placed, volume: &NewVolume) -> Result<Placed> {
        let path = self.root_path(at.storage, volume);
        self.clone_volume_at(at, template, volume, &path).await
    }

    /// Makes one at `path`.
    async fn clone_volume_at(
        &self,
        at: Through<'_>,
        template: &Placed,
        volume: &NewVolume,
        path: &str,
    ) -> Result<Placed>;

    /// Where a data volume will lie.
    fn data_path(&self, storage: &PrimaryStorageInventory, volume: &NewVolume) -> String {
        layout::data(storage, volume)
    }

    /// Makes an empty volume at `path`.
    async fn create_volume(&self, at: Through<'_>, volume: &NewVolume, path: &str) -> Result<Placed>;

    /// The bytes of a volume, virtual and allocated.
    async fn volume_size(&self, at: Through<'_>, volume: &str, path: &str) -> Result<(i64, i64)>;

    /// The bytes allocated for each of the volumes at these paths, by their uuids; of those that are there.
    async fn actual_sizes(
        &self,
        engine: &Engine,
        host: &HostInventory,
        paths: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, i64>> {
        // An agent answers it of any directory.
        let get = BatchGetSize { volume_uuid_install_paths: paths.clone() };
        let told = engine.ask(&agent(engine, host), &get, ASKING).await?;
        Ok(told.actual_sizes.into_iter().map(|(uuid, size)| (uuid, signed(size))).collect())
    }

    async fn delete_volume(&self, at: Through<'_>, path: &str) -> Result<()>;

    /// Where another file of a volume will lie, which has one at `path`: `name` is its own.
    fn layer_path(&self, path: &str, volume: &str, name: &str) -> String {
        layout::layer(path, volume, name)
    }

    /// Makes a volume at `path` that shows the file `base` until it is written to.
    async fn overlay(&self, at: Through<'_>, base: &str, path: &str) -> Result<Placed>;

    /// Puts the file at `path`, which nobody has open, directly on `base`, or on nothing, without changing
    /// what it shows.
    async fn put_on(&self, at: Through<'_>, path: &str, base: Option<&str>) -> Result<()>;

    /// Copies all that the file `from` shows, which nobody writes to, into one that stands alone.
    async fn copy(&self, at: Through<'_>, from: &str, to: &str) -> Result<Placed>;

    /// Brings a file that nobody writes to where a backup storage awaits it.
    async fn upload(&self, at: Through<'_>, path: &str, url: &str) -> Result<()>;
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
    /// This storage by way of `host`.
    pub fn through<'a>(&'a self, cx: &'a Cx, host: &'a HostInventory) -> Through<'a> {
        Through { cx, host, storage: self }
    }

    pub fn driver(&self) -> Result<&'static dyn Driver> {
        PRIMARY_STORAGES.get(&self.r#type)
    }
}
