//! SharedMountPoint: a directory that the hosts of several clusters have mounted, by way of their kvm-agents.
//! What one host makes there is used on all.
//!
//! A host that has mounted something else is refused: it leaves a trace, and a host that has the storage
//! already must see it. When there is none that answers, volumes must be there if the storage has some.

use std::time::Duration;

use engine::{Result, boxed, codes};
use wire::calls::localstorage;
use wire::calls::mount_point as call;

use super::driver::{Driver, NewVolume, Placed, Space, Through, Wanted};
use super::layout::{self, signed};
use super::witness::must_see_volumes;
use super::{PrimaryStorageInventory, store};
use crate::host::HostInventory;
use crate::host::kvm::agent;

pub(super) const TYPE: &str = "SharedMountPoint";

pub(super) struct SharedMountPoint;

/// How long a host may take to say what it sees, and how many are asked.
const LOOKING: Duration = Duration::from_secs(10);
const WITNESSES: usize = 3;

/// By which a host shows that it sees what the others see.
fn trace(at: Through<'_>) -> String {
    format!("{}/hosts/{}", at.directory(), at.host.uuid)
}

async fn leave_trace(at: Through<'_>) -> Result<()> {
    let make =
        call::CreateFolder { mount_point: at.directory(), install_path: format!("{}/here", trace(at)) };
    at.call(&make).await.map(|_| ())
}

/// Whether another host sees the trace; nothing when none says so or not.
async fn is_seen(at: Through<'_>, others: &[HostInventory]) -> Option<(bool, String)> {
    let (engine, look) = (at.cx.engine(), look_for(at.storage, &trace(at)));
    for other in others.iter().take(WITNESSES) {
        match engine.ask(&agent(engine, other), &look, LOOKING).await {
            Ok(told) => return Some((told.existing, other.name.clone())),
            Err(error) => tracing::info!(host = other.name, %error, "does not say what it has mounted"),
        }
    }
    None
}

/// Refuses a host that has not mounted what the others have.
async fn must_be_the_same(at: Through<'_>) -> Result<()> {
    let mut others = store::hosts_of(&mut at.cx.read().await?, at.storage.uuid).await?;
    others.retain(|other| other.uuid != at.host.uuid && other.is_connected());
    leave_trace(at).await?;
    match is_seen(at, &others).await {
        Some((true, _)) => Ok(()),
        Some((false, other)) => Err(codes::OPERATION.because(format!(
            "{} on host \"{}\" is not what it is on host \"{other}\": mount the same share on both",
            at.storage.mount_path, at.host.name
        ))),
        None => must_see_volumes(at, look_for).await,
    }
}

fn look_for(storage: &PrimaryStorageInventory, path: &str) -> call::CheckBits {
    call::CheckBits { mount_point: storage.mount_path.clone(), path: path.to_owned() }
}

async fn delete_folder(at: Through<'_>, path: String) -> Result<()> {
    let delete = call::Delete { mount_point: at.directory(), path, folder: true };
    at.call(&delete).await.map(|_| ())
}

#[boxed]
impl Driver for SharedMountPoint {
    fn is_shared(&self) -> bool {
        true
    }

    async fn join(&self, at: Through<'_>) -> Result<Space> {
        let others = store::others(&mut at.cx.read().await?, at.storage.uuid).await?;
        let connect = call::Connect {
            uuid: at.storage.uuid.to_string(),
            mount_point: at.directory(),
            exist_uuids: others.iter().map(ToString::to_string).collect(),
        };
        let opened = at.call(&connect).await?;
        must_be_the_same(at).await?;
        Ok(Space::told(opened.total_capacity, opened.available_capacity))
    }

    async fn leave(&self, at: Through<'_>) -> Result<()> {
        match delete_folder(at, trace(at)).await {
            // It was refused because nothing is mounted there.
            Err(error) if error.is(codes::OPERATION) => {
                let (host, storage) = (&at.host.name, &at.storage.name);
                tracing::info!(host, storage, %error, "its trace is not taken away");
                Ok(())
            }
            left => left,
        }
    }

    async fn clear(&self, at: Through<'_>) -> Result<()> {
        delete_folder(at, layout::cache(at.storage)).await
    }

    async fn cache(&self, at: Through<'_>, image: &Wanted) -> Result<Placed> {
        let path = self.cached_path(at.storage, image);
        let download = call::Download {
            mount_point: at.directory(),
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
        let create = call::CreateRoot {
            mount_point: at.directory(),
            template_path_in_cache: template.path.clone(),
            install_path: path.to_owned(),
            volume_uuid: volume.uuid.clone(),
            virtual_size: volume.beyond(template),
        };
        let made = at.call(&create).await?;
        Ok(Placed::qcow2(path, made.size, made.actual_size, volume.size))
    }

    async fn create_volume(&self, at: Through<'_>, volume: &NewVolume, path: &str) -> Result<Placed> {
        let create = call::CreateEmpty {
            mount_point: at.directory(),
            install_path: path.to_owned(),
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
            mount_point: at.directory(),
            volume_uuid: volume.to_owned(),
            install_path: path.to_owned(),
        };
        let told = at.ask(&get).await?;
        Ok((signed(told.size), signed(told.actual_size)))
    }

    async fn delete_volume(&self, at: Through<'_>, path: &str) -> Result<()> {
        let (mount_point, path) = (at.directory(), path.to_owned());
        let delete = call::Delete { mount_point, path, folder: false };
        at.call(&delete).await.map(|_| ())
    }

    async fn overlay(&self, at: Through<'_>, base: &str, path: &str) -> Result<Placed> {
        let make = call::WithBacking {
            mount_point: at.directory(),
            template_path_in_cache: base.to_owned(),
            install_path: path.to_owned(),
            volume_uuid: String::new(),
        };
        let made = at.call(&make).await?;
        Ok(Placed::qcow2(path, made.size, made.actual_size, 0))
    }

    async fn put_on(&self, at: Through<'_>, path: &str, base: Option<&str>) -> Result<()> {
        let merge = call::OfflineMerge {
            mount_point: at.directory(),
            src_path: base.unwrap_or_default().to_owned(),
            dest_path: path.to_owned(),
            full_rebase: base.is_none(),
        };
        at.call(&merge).await.map(|_| ())
    }

    async fn copy(&self, at: Through<'_>, from: &str, to: &str) -> Result<Placed> {
        let copy = call::CreateTemplate {
            mount_point: at.directory(),
            install_path: to.to_owned(),
            volume_path: from.to_owned(),
        };
        let made = at.call(&copy).await?;
        Ok(Placed::qcow2(to, Some(made.size), Some(made.actual_size), 0))
    }

    async fn upload(&self, at: Through<'_>, path: &str, url: &str) -> Result<()> {
        // ZStack has no path of this storage's own for it.
        let upload = localstorage::Upload {
            storage_path: at.directory(),
            install_path: path.to_owned(),
            url: url.to_owned(),
        };
        at.call(&upload).await.map(|_| ())
    }
}
