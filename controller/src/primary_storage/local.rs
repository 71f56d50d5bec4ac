//! LocalStorage: each host's own disks, by way of its kvm-agent. A volume can be used on its host alone.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::boxed;
use engine::flow::Cx;
use engine::{Engine, Result};
use wire::calls::localstorage as call;

use super::PrimaryStorageInventory;
use super::driver::{Driver, NewVolume, Placed, Space, Wanted};
use super::layout::{self, signed};
use crate::host::HostInventory;
use crate::host::kvm::agent;

pub(super) const TYPE: &str = "LocalStorage";

pub(super) struct LocalStorage;

/// How long looking at a file may take.
const ASKING: Duration = Duration::from_secs(60);

#[boxed]
impl Driver for LocalStorage {
    fn root_path(&self, storage: &PrimaryStorageInventory, volume: &NewVolume) -> String {
        layout::root(storage, volume)
    }

    async fn join(&self, cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<Space> {
        let init = call::Init {
            uuid: storage.uuid.to_string(),
            storage_path: storage.mount_path.clone(),
            path: storage.mount_path.clone(),
            host_uuid: host.uuid.to_string(),
            init_file_path: None,
        };
        let made = cx.call(&agent(cx.engine(), host), &init).await?;
        Ok(Space {
            total: signed(made.total_capacity.unwrap_or(0)),
            available: signed(made.available_capacity.unwrap_or(0)),
        })
    }

    async fn leave(&self, cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<()> {
        let delete = call::DeleteDir {
            uuid: storage.uuid.to_string(),
            storage_path: storage.mount_path.clone(),
            host_uuid: host.uuid.to_string(),
            path: layout::cache(storage),
        };
        cx.call(&agent(cx.engine(), host), &delete).await.map(|_| ())
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
            uuid: storage.uuid.to_string(),
            storage_path: storage.mount_path.clone(),
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
        let create = call::CreateFromCache {
            uuid: storage.uuid.to_string(),
            storage_path: storage.mount_path.clone(),
            template_path_in_cache: template.path.clone(),
            install_url: path.to_owned(),
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
            uuid: storage.uuid.to_string(),
            storage_path: storage.mount_path.clone(),
            install_url: path.to_owned(),
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
            uuid: storage.uuid.to_string(),
            storage_path: storage.mount_path.clone(),
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
        let get = call::BatchGetSize { volume_uuid_install_paths: paths.clone() };
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
        let delete = call::Delete {
            uuid: storage.uuid.to_string(),
            storage_path: storage.mount_path.clone(),
            host_uuid: host.uuid.to_string(),
            path: path.to_owned(),
        };
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
            storage_path: storage.mount_path.clone(),
            template_path_in_cache: base.to_owned(),
            install_path: path.to_owned(),
            ..Default::default()
        };
        let made = cx.call(&agent(cx.engine(), host), &make).await?;
        Ok(Placed {
            path: path.to_owned(),
            format: "qcow2".into(),
            size: made.size.map_or(0, signed),
            actual_size: made.actual_size.map_or(0, signed),
        })
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
            storage_path: storage.mount_path.clone(),
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
            storage_path: storage.mount_path.clone(),
            install_path: to.to_owned(),
            volume_path: from.to_owned(),
            ..Default::default()
        };
        let made = cx.call(&agent(cx.engine(), host), &copy).await?;
        Ok(Placed {
            path: to.to_owned(),
            format: "qcow2".into(),
            size: signed(made.size),
            actual_size: signed(made.actual_size),
        })
    }

    async fn upload(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        path: &str,
        url: &str,
    ) -> Result<()> {
        let upload = call::Upload {
            storage_path: storage.mount_path.clone(),
            install_path: path.to_owned(),
            url: url.to_owned(),
        };
        cx.call(&agent(cx.engine(), host), &upload).await.map(|_| ())
    }
}
