//! SharedMountPoint: a directory that the hosts of several clusters have mounted, by way of their kvm-agents.
//! What one host makes there is used on all.
//!
//! A host that has mounted something else is refused: it leaves a trace, and a host that has the storage
//! already must see it. When there is none that answers, volumes must be there if the storage has some.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::boxed;
use engine::flow::Cx;
use engine::{Engine, Result, codes};
use wire::calls::localstorage;
use wire::calls::mount_point as call;

use super::driver::{Driver, NewVolume, Placed, Space, Wanted};
use super::layout::{self, signed};
use super::witness::must_see_volumes;
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
    format!("{}/hosts/{}", storage.mount_path, host.uuid)
}

async fn leave_trace(cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
    let make = call::CreateFolder {
        mount_point: storage.mount_path.clone(),
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
    let look = look_for(storage, &trace(storage, host));
    for other in others.iter().take(WITNESSES) {
        match cx.engine().ask(&agent(cx.engine(), other), &look, LOOKING).await {
            Ok(told) => return Some((told.existing, other.name.clone())),
            Err(error) => tracing::info!(host = other.name, %error, "does not say what it has mounted"),
        }
    }
    None
}

/// Refuses a host that has not mounted what the others have.
async fn must_be_the_same(cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
    let mut others = store::hosts_of(&mut cx.read().await?, storage.uuid).await?;
    others.retain(|other| other.uuid != host.uuid && other.is_connected());
    leave_trace(cx, host, storage).await?;
    match is_seen(cx, host, storage, &others).await {
        Some((true, _)) => Ok(()),
        Some((false, other)) => Err(codes::OPERATION.because(format!(
            "{} on host \"{}\" is not what it is on host \"{other}\": mount the same share on both",
            storage.mount_path, host.name
        ))),
        None => must_see_volumes(cx, host, storage, look_for).await,
    }
}

fn look_for(storage: &PrimaryStorageInventory, path: &str) -> call::CheckBits {
    call::CheckBits { mount_point: storage.mount_path.clone(), path: path.to_owned() }
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
            mount_point: storage.mount_path.clone(),
            exist_uuids: others.iter().map(ToString::to_string).collect(),
        };
        let opened = cx.call(&agent(cx.engine(), host), &connect).await?;
        must_be_the_same(cx, host, storage).await?;
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
            mount_point: storage.mount_path.clone(),
            image_uuid: image.image.clone(),
            hostname: image.hostname.clone(),
            backup_storage_install_path: image.install_path.clone(),
            primary_storage_install_path: path.clone(),
            url: image.url.clone(),
            sha256: image.sha256.clone(),
            size: image.actual_size.unsigned_abs(),
        };
        let done = cx.call(&agent(cx.engine(), host), &download).await?;
        Ok(Placed::downloaded(path, done))
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
            mount_point: storage.mount_path.clone(),
            template_path_in_cache: template.path.clone(),
            install_path: path.to_owned(),
            volume_uuid: volume.uuid.clone(),
            virtual_size: if volume.size > template.size { volume.size.unsigned_abs() } else { 0 },
        };
        let made = cx.call(&agent(cx.engine(), host), &create).await?;
        Ok(Placed::qcow2(path, made.size, made.actual_size, volume.size))
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
            mount_point: storage.mount_path.clone(),
            install_path: path.to_owned(),
            size: volume.size.unsigned_abs(),
            name: volume.uuid.clone(),
            volume_uuid: volume.uuid.clone(),
            backing_file: None,
        };
        let made = cx.call(&agent(cx.engine(), host), &create).await?;
        Ok(Placed::qcow2(path, made.size, made.actual_size, volume.size))
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
            mount_point: storage.mount_path.clone(),
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
        let (mount_point, path) = (storage.mount_path.clone(), path.to_owned());
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
            mount_point: storage.mount_path.clone(),
            template_path_in_cache: base.to_owned(),
            install_path: path.to_owned(),
            volume_uuid: String::new(),
        };
        let made = cx.call(&agent(cx.engine(), host), &make).await?;
        Ok(Placed::qcow2(path, made.size, made.actual_size, 0))
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
            mount_point: storage.mount_path.clone(),
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
            mount_point: storage.mount_path.clone(),
            install_path: to.to_owned(),
            volume_path: from.to_owned(),
        };
        let made = cx.call(&agent(cx.engine(), host), &copy).await?;
        Ok(Placed::qcow2(to, Some(made.size), Some(made.actual_size), 0))
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
            storage_path: storage.mount_path.clone(),
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
        let delete = call::Delete { mount_point: storage.mount_path.clone(), path, folder: true };
        cx.call(&agent(cx.engine(), host), &delete).await.map(|_| ())
    }
}
