//! Looks at the disks of a VM before QEMU does.
//!
//! Every file must lie in a storage that was opened on this host, be what the command says it is, and
//! stand on nothing but files of such storages.

use std::path::{Path, PathBuf};

use host::qcow2;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::vm::{CdRom, Start, Volume};

use crate::localstorage::Storage;
use crate::state::Host;

/// As many overlays as anything here makes, and some.
const DEEPEST: usize = 64;

pub(super) async fn check(cx: &Cx<Host>, cmd: &Start) -> Result<(), Fault> {
    let storages = cx.storages.all().await;
    let (volumes, cd_roms) = (volumes(cmd), cmd.cd_roms.clone());
    tokio::task::spawn_blocking(move || {
        volumes.iter().try_for_each(|volume| check_volume(&storages, volume))?;
        cd_roms.iter().try_for_each(|cd| check_cd_rom(&storages, cd))
    })
    .await?
}

pub(super) async fn check_volumes(cx: &Cx<Host>, volumes: Vec<Volume>) -> Result<(), Fault> {
    let storages = cx.storages.all().await;
    let check = move || volumes.iter().try_for_each(|volume| check_volume(&storages, volume));
    tokio::task::spawn_blocking(check).await?
}

pub(super) async fn check_iso(cx: &Cx<Host>, path: String) -> Result<(), Fault> {
    let storages = cx.storages.all().await;
    tokio::task::spawn_blocking(move || locate(&storages, &path).map(drop)).await?
}

/// The files that the qcow2 image at `path` consists of, from the top down.
pub(super) fn chain(storages: &[Storage], path: &str) -> Result<Vec<PathBuf>, Fault> {
    read_chain(storages, locate(storages, path)?).map_err(Fault::new)
}

fn volumes(cmd: &Start) -> Vec<Volume> {
    let mut volumes = vec![cmd.root_volume.clone()];
    volumes.extend(cmd.data_volumes.iter().cloned());
    volumes
}

fn check_volume(storages: &[Storage], volume: &Volume) -> Result<(), Fault> {
    if !matches!(volume.device_type.as_str(), "" | "file") {
        return Err(refused(volume, &format!("devices of type {:?} are not served", volume.device_type)));
    }
    let path = locate(storages, &volume.install_path).map_err(|fault| refused(volume, &fault.error))?;
    match volume.format.as_str() {
        "qcow2" => read_chain(storages, path).map(drop).map_err(|reason| refused(volume, &reason)),
        // Nothing in a raw disk is ours to judge: its guest wrote it, and QEMU is told not to look either.
        _ => Ok(()),
    }
}

fn check_cd_rom(storages: &[Storage], cd: &CdRom) -> Result<(), Fault> {
    match cd.path.as_deref().filter(|path| !cd.is_empty && !path.is_empty()) {
        Some(path) => locate(storages, path).map(drop),
        None => Ok(()),
    }
}

/// The file at `path`, when it lies in a storage of this host.
fn locate(storages: &[Storage], path: &str) -> Result<PathBuf, Fault> {
    let holds = |storage: &&Storage| storage.holds(Path::new(path));
    let storage = storages.iter().find(holds).ok_or_else(|| {
        Fault::new(format!("{path:?} lies in no storage of this host: initialise its primary storage first"))
    })?;
    let path = storage.resolve(path)?;
    if path.is_file() { Ok(path) } else { Err(Fault::new(format!("{path:?} is not there"))) }
}

fn read_chain(storages: &[Storage], top: PathBuf) -> Result<Vec<PathBuf>, String> {
    let (mut path, mut expected, mut chain) = (top, Some("qcow2".to_owned()), Vec::new());
    for _ in 0..DEEPEST {
        chain.push(path.clone());
        if expected.as_deref() == Some("raw") {
            return Ok(chain);
        }
        let header = qcow2::read_header(&path).map_err(|error| format!("{path:?}: {error}"))?;
        if expected.as_deref() != Some(header.format.driver()) {
            return Err(format!("{path:?} is {}, not {}", header.format, expected.unwrap_or_default()));
        }
        let Some(backing) = header.backing else { return Ok(chain) };
        if backing.format.is_none() {
            return Err(format!("{path:?} does not name the format of its backing file"));
        }
        let next = backing.path.to_str().ok_or("its backing file has no readable name")?;
        path = locate(storages, next).map_err(|fault| fault.error)?;
        expected = backing.format;
    }
    Err(format!("it stands on more than {DEEPEST} other files"))
}

fn refused(volume: &Volume, reason: &str) -> Fault {
    Fault::new(format!("cannot use volume {}: {reason}", volume.volume_uuid))
}
