//! LocalStorage: each host's own disks, by way of its kvm-agent. A volume can be used on its host alone.

use async_trait::async_trait;
use engine::Result;
use engine::flow::Cx;
use wire::calls::localstorage as call;

use super::PrimaryStorageInventory;
use super::driver::{Driver, NewVolume, Placed, Space, Wanted};
use crate::host::HostInventory;
use crate::host::kvm::agent;

pub(super) struct LocalStorage;

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn cache_dir(storage: &PrimaryStorageInventory) -> String {
    format!("{}/imagecache", storage.url)
}

#[async_trait]
impl Driver for LocalStorage {
    fn root_path(&self, storage: &PrimaryStorageInventory, volume: &NewVolume) -> String {
        let NewVolume { uuid, account, .. } = volume;
        format!("{}/rootVolumes/acct-{account}/vol-{uuid}/{uuid}.qcow2", storage.url)
    }

    async fn join(&self, cx: &Cx, host: &HostInventory, storage: &PrimaryStorageInventory) -> Result<Space> {
        let init = call::Init {
            uuid: storage.uuid.to_string(),
            storage_path: storage.url.clone(),
            path: storage.url.clone(),
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
            storage_path: storage.url.clone(),
            host_uuid: host.uuid.to_string(),
            path: cache_dir(storage),
        };
        cx.call(&agent(cx.engine(), host), &delete).await.map(|_| ())
    }

    fn cached_path(&self, storage: &PrimaryStorageInventory, image: &Wanted) -> String {
        format!("{}/template/{}/{}", cache_dir(storage), image.image, image.image)
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
            storage_path: storage.url.clone(),
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

    async fn clone_volume(
        &self,
        cx: &Cx,
        host: &HostInventory,
        storage: &PrimaryStorageInventory,
        template: &Placed,
        volume: &NewVolume,
    ) -> Result<Placed> {
        let path = self.root_path(storage, volume);
        let create = call::CreateFromCache {
            uuid: storage.uuid.to_string(),
            storage_path: storage.url.clone(),
            template_path_in_cache: template.path.clone(),
            install_url: path.clone(),
            volume_uuid: volume.uuid.clone(),
            virtual_size: if volume.size > template.size { volume.size.unsigned_abs() } else { 0 },
        };
        let made = cx.call(&agent(cx.engine(), host), &create).await?;
        Ok(Placed {
            path,
            format: "qcow2".into(),
            size: made.size.map_or(volume.size, signed),
            actual_size: made.actual_size.map_or(0, signed),
        })
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
            storage_path: storage.url.clone(),
            host_uuid: host.uuid.to_string(),
            path: path.to_owned(),
        };
        cx.call(&agent(cx.engine(), host), &delete).await.map(|_| ())
    }
}
