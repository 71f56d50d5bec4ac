//! NFS: a share of an NFS server, which the hosts of several clusters mount, by way of their kvm-agents. What one
//! host makes there is used on all.
//!
//! An agent mounts the share when the storage comes to its host or the host is connected, always at the same
//! path, and unmounts it when the storage goes. A share that has lost the storage's volumes is refused.

use std::collections::BTreeMap;

use engine::inventory::Inventory;
use engine::setting::Setting;
use engine::tag::{self, Hold, SystemTag};
use engine::{Engine, Id, Result, boxed, codes};
use wire::calls::nfs as call;

use super::driver::{ASKING, Driver, NewVolume, Placed, Space, Through, Wanted};
use super::layout::{self, signed};
use super::witness::must_see_volumes;
use super::{PrimaryStorage, PrimaryStorageInventory, add};
use crate::host::HostInventory;
use crate::host::kvm::agent;

pub(super) const TYPE: &str = "NFS";

pub(super) const MOUNT_BASE: Setting<String> = Setting {
    category: "nfsPrimaryStorage",
    name: "mount.base",
    default: "/var/lib/cumulet/nfs",
    help: "the directory below which hosts mount NFS shares that are added from now on",
    read: |text| add::plain_directory("value", text).map(str::to_owned),
};

pub(super) const OPTIONS: SystemTag = SystemTag {
    resource: PrimaryStorageInventory::KIND,
    pattern: "nfs::mount::options::{options}",
    help: "how hosts mount an NFS share, as of mount(8): vers=4.2,nconnect=4; from their next connection on",
    hold: Hold::Free,
    once: &[],
    check: |tokens| check_options(tokens.get("options")),
};

fn check_options(options: &str) -> Result<()> {
    let plain = |option: &str| !option.is_empty() && option.bytes().all(|byte| byte.is_ascii_graphic());
    match !options.starts_with('-') && options.split(',').all(plain) {
        true => Ok(()),
        false => {
            let details = format!("mount options are written as vers=4.2,nconnect=4, not as \"{options}\"");
            Err(codes::INVALID_ARGUMENT.because(details))
        }
    }
}

/// The share that `url` names, as it is written, and where it is mounted.
pub(super) fn share(engine: &Engine, url: &str, storage: Id<PrimaryStorage>) -> Result<(String, String)> {
    Ok((named(url)?, format!("{}/prim-{storage}", engine.setting(&MOUNT_BASE))))
}

fn named(url: &str) -> Result<String> {
    let plain = !url.starts_with('-') && url.bytes().all(|byte| byte.is_ascii_graphic());
    let (server, path) = url.split_once(":/").unwrap_or_default();
    let whole = !path.split('/').any(|part| matches!(part, "." | ".."));
    if !plain || server.is_empty() || !whole {
        let details =
            format!("\"url\" must be a share such as nfs.example.org:/export/cumulet, not \"{url}\"");
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    Ok(format!("{server}:/{}", path.trim_end_matches('/')))
}

pub(super) struct Nfs;

#[boxed]
impl Driver for Nfs {
    fn is_shared(&self) -> bool {
        true
    }

    async fn join(&self, at: Through<'_>) -> Result<Space> {
        let said = tag::tokens(&mut at.cx.read().await?, &OPTIONS, at.storage.uuid.cast()).await?;
        let mount = call::Remount {
            uuid: at.storage.uuid.to_string(),
            url: at.storage.url.clone(),
            mount_path: at.directory(),
            options: said.first().map(|tokens| tokens.get("options").to_owned()),
        };
        let mounted = at.call(&mount).await?;
        let look =
            |_: &_, path: &str| call::CheckBits { install_path: path.to_owned(), ..Default::default() };
        must_see_volumes(at, look).await?;
        Ok(Space::told(mounted.total_capacity, mounted.available_capacity))
    }

    async fn leave(&self, at: Through<'_>) -> Result<()> {
        let unmount = call::Unmount {
            uuid: at.storage.uuid.to_string(),
            url: at.storage.url.clone(),
            mount_path: at.directory(),
        };
        at.call(&unmount).await.map(|_| ())
    }

    async fn clear(&self, at: Through<'_>) -> Result<()> {
        let delete = call::Delete { install_path: layout::cache(at.storage), folder: true };
        at.call(&delete).await.map(|_| ())
    }

    async fn cache(&self, at: Through<'_>, image: &Wanted) -> Result<Placed> {
        let path = self.cached_path(at.storage, image);
        let download = call::Download {
            image_uuid: image.image.clone(),
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
        let create = call::CreateFromTemplate {
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
            install_url: path.to_owned(),
            name: volume.uuid.clone(),
            volume_uuid: volume.uuid.clone(),
            size: volume.size.unsigned_abs(),
            without_volume: false,
            backing_file: None,
        };
        let made = at.call(&create).await?;
        Ok(Placed::qcow2(path, made.size, made.actual_size, volume.size))
    }

    async fn volume_size(&self, at: Through<'_>, volume: &str, path: &str) -> Result<(i64, i64)> {
        let get = call::GetSize { volume_uuid: volume.to_owned(), install_path: path.to_owned() };
        let told = at.ask(&get).await?;
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

    async fn delete_volume(&self, at: Through<'_>, path: &str) -> Result<()> {
        let delete = call::Delete { install_path: path.to_owned(), folder: false };
        at.call(&delete).await.map(|_| ())
    }

    async fn overlay(&self, at: Through<'_>, base: &str, path: &str) -> Result<Placed> {
        let make = call::WithBacking {
            install_url: path.to_owned(),
            volume_uuid: String::new(),
            template_path_in_cache: base.to_owned(),
        };
        let made = at.call(&make).await?;
        Ok(Placed::qcow2(path, made.size, made.actual_size, 0))
    }

    async fn put_on(&self, at: Through<'_>, path: &str, base: Option<&str>) -> Result<()> {
        let merge = call::OfflineMerge {
            src_path: base.unwrap_or_default().to_owned(),
            dest_path: path.to_owned(),
            full_rebase: base.is_none(),
        };
        at.call(&merge).await.map(|_| ())
    }

    async fn copy(&self, at: Through<'_>, from: &str, to: &str) -> Result<Placed> {
        let copy = call::CreateTemplate { install_path: to.to_owned(), root_volume_path: from.to_owned() };
        let made = at.call(&copy).await?;
        Ok(Placed::qcow2(to, Some(made.size), Some(made.actual_size), 0))
    }

    async fn upload(&self, at: Through<'_>, path: &str, url: &str) -> Result<()> {
        let upload = call::Upload { install_path: path.to_owned(), url: url.to_owned() };
        at.call(&upload).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_server_and_a_path() {
        assert_eq!(named("nfs.example.org:/export/one/").unwrap(), "nfs.example.org:/export/one");
        assert_eq!(named("[2001:db8::1]:/").unwrap(), "[2001:db8::1]:/");
        for wrong in ["/export/one", "nfs:export", ":/export", "-o:/export", "nfs:/a b", "nfs:/a/../b", ""] {
            let error = named(wrong).unwrap_err();
            assert!(error.details().contains("must be a share"), "{wrong}: {error}");
        }
    }

    #[test]
    fn options_are_those_of_a_mount() {
        check_options("vers=4.2,nconnect=4").unwrap();
        for wrong in ["", "-o ro", "ro -o suid", "ro,,soft"] {
            assert!(check_options(wrong).unwrap_err().details().contains("vers="), "{wrong}");
        }
    }
}
