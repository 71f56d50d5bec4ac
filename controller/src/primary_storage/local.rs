//! LocalStorage: each host's own disks, by way of its kvm-agent. A volume can be used on its host alone.

use engine::{Result, boxed};
use wire::calls::localstorage as call;

use super::driver::{Driver, NewVolume, Placed, Space, Through, Wanted};
use super::layout::{self, signed};

pub(super) const TYPE: &str = "LocalStorage";

pub(super) struct LocalStorage;

#[boxed]
impl Driver for LocalStorage {
    async fn join(&self, at: Through<'_>) -> Result<Space> {
        let init = call::Init {
            uuid: at.storage.uuid.to_string(),
            storage_path: at.directory(),
            path: at.directory(),
            host_uuid: at.host.uuid.to_string(),
            init_file_path: None,
        };
        let made = at.call(&init).await?;
        Ok(Space::told(made.total_capacity, made.available_capacity))
    }

    async fn leave(&self, at: Through<'_>) -> Result<()> {
        let delete = call::DeleteDir {
            uuid: at.storage.uuid.to_string(),
            storage_path: at.directory(),
            host_uuid: at.host.uuid.to_string(),
            path: layout::cache(at.storage),
        };
        at.call(&delete).await.map(|_| ())
    }

    async fn cache(&self, at: Through<'_>, image: &Wanted) -> Result<Placed> {
        let path = self.cached_path(at.storage, image);
        let download = call::Download {
            uuid: at.storage.uuid.to_string(),
            storage_path: at.directory(),
            image_uuid: image.image.clone(),
            hostname: image.hostname.clone(),
            backup_storage_install_path: image.install_path.clone(),
            primary_storage_install_path: path.clone(),
            url: image.url.clone(),
            sha256: image.sha256.clone(),
            size: image.actual_size.unsigned_abs(),
        };
        let done = at.call(&download).await?;
        Ok(Placed::downloaded(path, done))
    }

    async fn clone_volume_at(
        &self,
        at: Through<'_>,
        template: &Placed,
        volume: &NewVolume,
        path: &str,
    ) -> Result<Placed> {
        let create = call::CreateFromCache {
            uuid: at.storage.uuid.to_string(),
            storage_path: at.directory(),
            template_path_in_cache: template.path.clone(),
            install_url: path.to_owned(),
            volume_uuid: volume.uuid.clone(),
            virtual_size: volume.beyond(template),
        };
        let made = at.call(&create).await?;
        Ok(Placed::qcow2(path, made.size, made.actual_size, volume.size))
    }

    async fn create_volume(&self, at: Through<'_>, volume: &NewVolume, path: &str) -> Result<Placed> {
        let create = call::CreateEmpty {
            uuid: at.storage.uuid.to_string(),
            storage_path: at.directory(),
            install_url: path.to_owned(),
            size: volume.size.unsigned_abs(),
            name: volume.uuid.clone(),
            volume_uuid: volume.uuid.clone(),
            backing_file: None,
        };
        let made = at.call(&create).await?;
        Ok(Placed::qcow2(path, made.size, made.actual_size, volume.size))
    }

    async fn volume_size(&self, at: Through<'_>, volume: &str, path: &str) -> Result<(i64, i64)> {
        let get = call::GetSize {
            uuid: at.storage.uuid.to_string(),
            storage_path: at.directory(),
            volume_uuid: volume.to_owned(),
            install_path: path.to_owned(),
        };
        let told = at.ask(&get).await?;
        Ok((signed(told.size), signed(told.actual_size)))
    }

    async fn delete_volume(&self, at: Through<'_>, path: &str) -> Result<()> {
        let delete = call::Delete {
            uuid: at.storage.uuid.to_string(),
            storage_path: at.directory(),
            host_uuid: at.host.uuid.to_string(),
            path: path.to_owned(),
        };
        at.call(&delete).await.map(|_| ())
    }

    async fn overlay(&self, at: Through<'_>, base: &str, path: &str) -> Result<Placed> {
        let make = call::WithBacking {
            storage_path: at.directory(),
            template_path_in_cache: base.to_owned(),
            install_path: path.to_owned(),
            ..Default::default()
        };
        let made = at.call(&make).await?;
        Ok(Placed::qcow2(path, made.size, made.actual_size, 0))
    }

    async fn put_on(&self, at: Through<'_>, path: &str, base: Option<&str>) -> Result<()> {
        let merge = call::OfflineMerge {
            storage_path: at.directory(),
            src_path: base.unwrap_or_default().to_owned(),
            dest_path: path.to_owned(),
            full_rebase: base.is_none(),
        };
        at.call(&merge).await.map(|_| ())
    }

    async fn copy(&self, at: Through<'_>, from: &str, to: &str) -> Result<Placed> {
        let copy = call::CreateTemplate {
            storage_path: at.directory(),
            install_path: to.to_owned(),
            volume_path: from.to_owned(),
            ..Default::default()
        };
        let made = at.call(&copy).await?;
        Ok(Placed::qcow2(to, Some(made.size), Some(made.actual_size), 0))
    }

    async fn upload(&self, at: Through<'_>, path: &str, url: &str) -> Result<()> {
        let upload =
            call::Upload { storage_path: at.directory(), install_path: path.to_owned(), url: url.to_owned() };
        at.call(&upload).await.map(|_| ())
    }
}
