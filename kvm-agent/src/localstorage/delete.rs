//! Deletes files and directories of a storage.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use host::qcow2;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::localstorage::{Delete, DeleteDir, Deleted};

use super::{CACHE, Storage};
use crate::state::Host;
use crate::sys::image_lock;

/// Succeeds when the file is gone. One that a guest has open, or a cached image that volumes stand on, is
/// refused with `inUse`.
pub async fn delete(cx: Cx<Host>, cmd: Delete) -> Result<Deleted, Fault> {
    let storage = cx.storage(&cmd.storage_path)?;
    let path = storage.resolve(&cmd.path)?;
    let _one = cx.files.lock(path.clone()).await;
    tokio::task::spawn_blocking(move || {
        remove_file(&storage, &path)?;
        finish(&storage, &path)
    })
    .await?
}

/// Succeeds when the directory is gone; refused with `inUse` when a file in it may not be deleted.
pub async fn delete_dir(cx: Cx<Host>, cmd: DeleteDir) -> Result<Deleted, Fault> {
    let storage = cx.storage(&cmd.storage_path)?;
    let path = storage.resolve(&cmd.path)?;
    let _one = cx.files.lock(path.clone()).await;
    tokio::task::spawn_blocking(move || {
        remove_dir(&storage, &path)?;
        finish(&storage, &path)
    })
    .await?
}

fn remove_file(storage: &Storage, path: &Path) -> Result<(), Fault> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(found) if found.is_dir() => return Err(Fault::new(format!("{path:?} is a directory"))),
        Ok(_) => {}
    }
    check_unused(storage, &[path.to_owned()])?;
    gone_is_fine(fs::remove_file(path))?;
    tracing::info!(path = %path.display(), "deleted");
    Ok(())
}

fn remove_dir(storage: &Storage, path: &Path) -> Result<(), Fault> {
    let inside: Vec<PathBuf> = storage.files()?.into_iter().filter(|file| file.starts_with(path)).collect();
    check_unused(storage, &inside)?;
    gone_is_fine(fs::remove_dir_all(path))?;
    tracing::info!(path = %path.display(), files = inside.len(), "directory deleted");
    Ok(())
}

fn finish(storage: &Storage, path: &Path) -> Result<Deleted, Fault> {
    if let Some(dir) = path.parent() {
        storage.prune(dir);
    }
    let space = storage.space()?;
    Ok(Deleted {
        in_use: false,
        total_capacity: Some(space.total),
        available_capacity: Some(space.available),
    })
}

fn check_unused(storage: &Storage, files: &[PathBuf]) -> Result<(), Fault> {
    for file in files {
        if image_lock::is_in_use(file)? {
            return Err(in_use(format!("{file:?} is in use: stop the vm that has it open first")));
        }
    }
    let cached = |file: &PathBuf| file.components().any(|component| component.as_os_str() == CACHE);
    if !files.iter().any(cached) {
        return Ok(());
    }
    match storage.files()?.iter().filter(|other| !files.contains(other)).find_map(|other| {
        let backing = qcow2::read_header(other).ok()?.backing?.path;
        files.contains(&backing).then(|| format!("{backing:?} is in use: volume {other:?} stands on it"))
    }) {
        Some(reason) => Err(in_use(reason)),
        None => Ok(()),
    }
}

fn in_use(reason: String) -> Fault {
    Fault::new(reason).with("inUse", true)
}

fn gone_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
