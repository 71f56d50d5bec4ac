//! Opens a storage on this host.

use std::fs;
use std::io;

use wire::Fault;
use wire::agent::Cx;
use wire::calls::localstorage::{Init, Initialized};

use super::Storage;
use crate::state::Host;

pub async fn init(cx: Cx<Host>, cmd: Init) -> Result<Initialized, Fault> {
    let path = if cmd.path.is_empty() { &cmd.storage_path } else { &cmd.path };
    let storage = Storage::at(path)?;
    let (opened, uuid) = (storage.clone(), cmd.uuid.clone());
    let space = tokio::task::spawn_blocking(move || -> Result<_, Fault> {
        claim(&opened, &uuid)?;
        Ok(opened.space()?)
    })
    .await??;
    cx.storages.remember(&storage, &cmd.uuid).await?;
    if let Some(file) = cmd.init_file_path.filter(|file| !file.is_empty()) {
        touch(&storage, &file)?;
    }
    Ok(Initialized {
        local_storage_used_capacity: Some(space.total - space.available),
        total_capacity: Some(space.total),
        available_capacity: Some(space.available),
    })
}

/// Marks the directory. One that holds what is not ours, or another storage's volumes, is not taken.
pub fn claim(storage: &Storage, uuid: &str) -> Result<(), Fault> {
    let root = storage.root();
    fs::create_dir_all(root)?;
    match storage.owner()? {
        Some(owner) if owner == uuid || uuid.is_empty() => Ok(()),
        Some(owner) if !storage.files()?.is_empty() => Err(Fault::new(format!(
            "{root:?} holds volumes of primary storage {owner}: delete that storage first, or choose another path"
        ))),
        None if !is_empty(storage)? => Err(Fault::new(format!(
            "{root:?} is not empty and was never a storage: choose an empty directory"
        ))),
        _ => Ok(storage.mark(uuid)?),
    }
}

fn is_empty(storage: &Storage) -> io::Result<bool> {
    for entry in fs::read_dir(storage.root())? {
        // A file system's own.
        if entry?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn touch(storage: &Storage, file: &str) -> Result<(), Fault> {
    let path = storage.resolve(file)?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path)?;
    Ok(())
}
