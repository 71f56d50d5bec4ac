//! SharedMountPoint: a directory that the hosts of several clusters have mounted, by way of their kvm-agents.
//! What one host makes there is used on all.
//!
//! A host that has mounted something else is refused: it leaves a trace, and a host that has the storage
//! already must see it. When there is none that answers, the storage's mark must be there if volumes are.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::boxed;
use engine::flow::Cx;
use engine::{Engine, Result, codes};
use wire::calls::localstorage;
use wire::calls::mount_point as call;

use super::driver::{Driver, NewVolume, Placed, Space, Wanted};
use super::layout::{self, signed};
use super::{PrimaryStorageInventory, store};
use crate::host::HostInventory;
use crate::host::kvm::agent;

pub(super) const TYPE: &str = "SharedMountPoint";

pub(super) struct SharedMountPoint;

/// How long looking at a file may take.
const ASKING: Duration = Duration::from_secs(60);
/// How long a host may take to say what it sees, and how many are asked.
const LOOKING: Duration = Duration::from_secs(10);
const WITNESSES: usize = 3;

/// By which a host shows that it sees what the others see.
fn trace(storage: &PrimaryStorageInventory, host: &HostInventory) -> String {
    format!("{}/hosts/{}", storage.url, host.uuid)
}

async fn leave_trace(cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
    let make = call::CreateFolder {
        mount_point: storage.url.clone(),
        install_path: format!("{}/here", trace(storage, host)),
    };
    cx.call(&agent(cx.engine(), host), &make).await.map(|_| ())
}

/// Whether another host sees the trace; nothing when none says so or not.
async fn is_seen(
    cx: &Cx,
    host: &HostInventory,
    storage: &PrimaryStorageInventory,
    others: &[HostInventory],
) -> Option<(bool, String)> {
    let look = call::CheckBits { mount_point: storage.url.clone(), path: trace(storage, host) };
    for other in others.iter().take(WITNESSES) {
        match cx.engine().ask(&agent(cx.engine(), other), &look, LOOKING).await {
            Ok(told) => return Some((told.existing, other.name.clone())),
            Err(error) => tracing::info!(host = other.name, %error, "does not say what it has mounted"),
        }
    }
    None
}

/// Refuses a host that has not mounted what the others have.
async fn must_be_the_same(
    cx: &Cx,
    host: &HostInventory,
    storage: &PrimaryStorageInventory,
    is_first: bool,
) -> Result<()> {
    let mut tx = cx.read().await?;
    let mut others = store::hosts_of(&mut tx, storage.uuid).await?;
    let in_use = store::holds_volumes(&mut tx, storage.uuid).await?;
    drop(tx);
    others.retain(|other| other.uuid != host.uuid && other.is_connected());
    leave_trace(cx, host, storage).await?;
    let (url, name) = (&storage.url, &host.name);
    let details = match is_seen(cx, host, storage, &others).await {
        Some((true, _)) => return Ok(()),
        Some((false, other)) => format!(
            "{url} on host \"{name}\" is not what it is on host \"{other}\": mount the same share on both"
        ),
        None if is_first && in_use => format!(
            "{url} on host \"{name}\" is empty, but primary storage \"{}\" holds volumes: mount its share there",
            storage.name
        ),
        None => return Ok(()),
    };
    Err(codes::OPERATION.because(details))
}

#[boxed]
impl Driver for SharedMountPoint {
    fn is_shared(&self) -> bool {
        true
    }

    fn root_path(&self, storage: &PrimaryStorageInventory, volume: &NewVolume) -> String {
        layout::root(storage, volume)
    }

    async fn join(&self, cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<Space> {
        let others = store::others(&mut cx.read().await?, storage.uuid).await?;
        let connect = call::Connect {
            uuid: storage.uuid.to_string(),
            mount_point: storage.url.clone(),
            exist_uuids: others.iter().map(ToString::to_string).collect(),
        };
        let opened = cx.call(&agent(cx.engine(), host), &connect).await?;
        must_be_the_same(cx, host, storage, opened.is_first).await?;
        Ok(Space {
            total: signed(opened.total_capacity.unwrap_or(0)),
            available: signed(opened.available_capacity.unwrap_or(0)),
        })
    }

    async fn leave(&self, cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
        match self.delete_folder(cx, host, storage, trace(storage, host)).await {
            // It was refused because nothing is mounted there.
            Err(error) if error.is(codes::OPERATION) => {
                tracing::info!(host = host.name, storage = storage.name, %error, "its trace is not taken away");
                Ok(())
            }
            left => left,
        }
    }

    async fn clear(&self, cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
        self.delete_folder(cx, host, storage, layout::cache(storage)).await
    }

    fn cached_path(&self, storage: &PrimaryStorageInventory, image: &Wanted) -> String {
        layout::cached(storage, image)
    }

    async fn cache(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        image: &Wanted,
    ) -> Result<Placed> {
        let path = self.cached_path(storage, image);
        let download = call::Download {
            mount_point: storage.url.clone(),
            image_uuid: image.image.clone(),
            hostname: image.hostname.clone(),
            backup_storage_install_path: image.install_path.clone(),
            primary_storage_install_path: path.clone(),
            url: image.url.clone(),
            sha256: image.sha256.clone(),
            size: image.actual_size.unsigned_abs(),
        };
        let done = cx.call(&agent(cx.engine(), host), &download).await?;
        let (size, actual_size) = (signed(done.size), signed(done.actual_size));
        Ok(Placed { path, format: done.format, size, actual_size })
    }

    async fn clone_volume_at(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        template: &Placed,
        volume: &NewVolume,
        path: &str,
    ) -> Result<Placed> {
        let create = call::CreateRoot {
            mount_point: storage.url.clone(),
            template_path_in_cache: template.path.clone(),
            install_path: path.to_owned(),
            volume_uuid: volume.uuid.clone(),
            virtual_size: if volume.size > template.size { volume.size.unsigned_abs() } else { 0 },
        };
        let made = cx.call(&agent(cx.engine(), host), &create).await?;
        Ok(placed(path, made.size, made.actual_size, volume.size))
    }

    fn data_path(&self, storage: &PrimaryStorageInventory, volume: &NewVolume) -> String {
        layout::data(storage, volume)
    }

    async fn create_volume(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        volume: &NewVolume,
        path: &str,
    ) -> Result<Placed> {
        let create = call::CreateEmpty {
            mount_point: storage.url.clone(),
            install_path: path.to_owned(),
            size: volume.size.unsigned_abs(),
            name: volume.uuid.clone(),
            volume_uuid: volume.uuid.clone(),
            backing_file: None,
        };
        let made = cx.call(&agent(cx.engine(), host), &create).await?;
        Ok(placed(path, made.size, made.actual_size, volume.size))
    }

    async fn volume_size(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        volume: &str,
        path: &str,
    ) -> Result<(i64, i64)> {
        let get = call::GetSize {
            mount_point: storage.url.clone(),
            volume_uuid: volume.to_owned(),
            install_path: path.to_owned(),
        };
        let told = cx.engine().ask(&agent(cx.engine(), host), &get, ASKING).await?;
        Ok((signed(told.size), signed(told.actual_size)))
    }

    async fn actual_sizes(
        &self,
        engine: &Engine,
        host: &HostInventory,
        paths: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, i64>> {
        // Of any storage that the host has.
        let get = localstorage::BatchGetSize { volume_uuid_install_paths: paths.clone() };
        let told = engine.ask(&agent(engine, host), &get, ASKING).await?;
        Ok(told.actual_sizes.into_iter().map(|(uuid, size)| (uuid, signed(size))).collect())
    }

    async fn delete_volume(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        path: &str,
    ) -> Result<()> {
        let (mount_point, path) = (storage.url.clone(), path.to_owned());
        let delete = call::Delete { mount_point, path, folder: false };
        cx.call(&agent(cx.engine(), host), &delete).await.map(|_| ())
    }

    fn layer_path(&self, path: &str, volume: &str, name: &str) -> String {
        layout::layer(path, volume, name)
    }

    async fn overlay(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        base: &str,
        path: &str,
    ) -> Result<Placed> {
        let make = call::WithBacking {
            mount_point: storage.url.clone(),
            template_path_in_cache: base.to_owned(),
            install_path: path.to_owned(),
            volume_uuid: String::new(),
        };
        let made = cx.call(&agent(cx.engine(), host), &make).await?;
        Ok(placed(path, made.size, made.actual_size, 0))
    }

    async fn put_on(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        path: &str,
        base: Option<&str>,
    ) -> Result<()> {
        let merge = call::OfflineMerge {
            mount_point: storage.url.clone(),
            src_path: base.unwrap_or_default().to_owned(),
            dest_path: path.to_owned(),
            full_rebase: base.is_none(),
        };
        cx.call(&agent(cx.engine(), host), &merge).await.map(|_| ())
    }

    async fn copy(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        from: &str,
        to: &str,
    ) -> Result<Placed> {
        let copy = call::CreateTemplate {
            mount_point: storage.url.clone(),
            install_path: to.to_owned(),
            volume_path: from.to_owned(),
        };
        let made = cx.call(&agent(cx.engine(), host), &copy).await?;
        Ok(placed(to, Some(made.size), Some(made.actual_size), 0))
    }

    async fn upload(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        path: &str,
        url: &str,
    ) -> Result<()> {
        // ZStack has no path of this storage's own for it.
        let upload = localstorage::Upload {
            storage_path: storage.url.clone(),
            install_path: path.to_owned(),
            url: url.to_owned(),
        };
        cx.call(&agent(cx.engine(), host), &upload).await.map(|_| ())
    }
}

impl SharedMountPoint {
    async fn delete_folder(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        path: String,
    ) -> Result<()> {
        let delete = call::Delete { mount_point: storage.url.clone(), path, folder: true };
        cx.call(&agent(cx.engine(), host), &delete).await.map(|_| ())
    }
}

/// A qcow2 file as an agent made it; a size that it does not tell is `size`.
fn placed(path: &str, told: Option<u64>, actual_size: Option<u64>, size: i64) -> Placed {
    Placed {
        path: path.to_owned(),
        format: "qcow2".into(),
        size: told.map_or(size, signed),
        actual_size: actual_size.map_or(0, signed),
    }
}
