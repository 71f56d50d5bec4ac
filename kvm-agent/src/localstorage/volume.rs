//! Makes volumes.

use std::path::{Path, PathBuf};

use host::qcow2::{self, Format};
use host::qemu_img;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::localstorage::{CreateEmpty, CreateFromCache, VolumeMade};

use super::Storage;
use super::capacity::size_of;
use crate::state::Host;

/// An empty volume, on a backing file when one is named. Succeeds when it is there in that size.
pub async fn create_empty(cx: Cx<Host>, cmd: CreateEmpty) -> Result<VolumeMade, Fault> {
    let storage = cx.storage(&cmd.storage_path)?;
    empty(&cx, storage, &cmd.install_url, cmd.backing_file.as_deref(), cmd.size).await
}

/// A volume that shows a cached image until it is written to. Succeeds when it is there.
pub async fn create_from_cache(cx: Cx<Host>, cmd: CreateFromCache) -> Result<VolumeMade, Fault> {
    let storage = cx.storage(&cmd.storage_path)?;
    upon(&cx, storage, &cmd.install_url, &cmd.template_path_in_cache, cmd.virtual_size).await
}

/// A volume at `install` that shows `template`; as large as it when no size is named.
pub async fn upon(
    cx: &Cx<Host>,
    storage: Storage,
    install: &str,
    template: &str,
    size: u64,
) -> Result<VolumeMade, Fault> {
    let base = Base::open(&storage, template, "unable to find image in cache")?;
    make(cx, storage, install, Some(base), size).await
}

/// An empty volume, on `backing` when it is named.
pub async fn empty(
    cx: &Cx<Host>,
    storage: Storage,
    install: &str,
    backing: Option<&str>,
    size: u64,
) -> Result<VolumeMade, Fault> {
    let backing = backing.filter(|path| !path.is_empty());
    let base = backing.map(|path| Base::open(&storage, path, "backing file is not there")).transpose()?;
    if size == 0 && base.is_none() {
        return Err(Fault::new("a volume needs a size: give bytes"));
    }
    make(cx, storage, install, base, size).await
}

/// What a volume stands on.
struct Base {
    path: PathBuf,
    format: Format,
    size: u64,
}

impl Base {
    fn open(storage: &Storage, path: &str, missing: &str) -> Result<Self, Fault> {
        let path = storage.resolve(path)?;
        if !path.is_file() {
            return Err(Fault::new(missing));
        }
        let header = qcow2::read_header(&path).map_err(|error| Fault::new(format!("{path:?}: {error}")))?;
        Ok(Base { path, format: header.format, size: header.virtual_size })
    }
}

async fn make(
    cx: &Cx<Host>,
    storage: Storage,
    install: &str,
    base: Option<Base>,
    size: u64,
) -> Result<VolumeMade, Fault> {
    let target = storage.resolve(install)?;
    let least = base.as_ref().map_or(0, |base| base.size);
    if size != 0 && size < least {
        return Err(Fault::new(format!(
            "a volume of {size} bytes is too small for an image of {least} bytes"
        )));
    }
    let size = size.max(least);
    let _one = cx.files.lock(target.clone()).await;
    if target.try_exists()? {
        is_the_same(&target, base.as_ref(), size)?;
    } else {
        write(&storage, &target, base, size).await?;
        tracing::info!(path = %target.display(), size, "volume made");
    }
    report(storage, target).await
}

async fn write(storage: &Storage, target: &Path, base: Option<Base>, size: u64) -> Result<(), Fault> {
    let bench = storage.workbench()?;
    let made = bench.path().join("volume");
    match &base {
        Some(base) => qemu_img::create_overlay(&made, &base.path, base.format, Some(size)).await?,
        None => qemu_img::create(&made, Format::Qcow2, size).await?,
    }
    let (storage, target) = (storage.clone(), target.to_owned());
    Ok(tokio::task::spawn_blocking(move || storage.publish(&made, &target)).await??)
}

/// Whether what is there is what a repetition of the command made. It may have grown since.
fn is_the_same(target: &Path, base: Option<&Base>, size: u64) -> Result<(), Fault> {
    let header = qcow2::read_header(target).map_err(|error| Fault::new(format!("{target:?}: {error}")))?;
    let backing = header.backing.map(|backing| backing.path);
    let same = header.format == Format::Qcow2
        && header.virtual_size >= size
        && backing.as_deref() == base.map(|base| base.path.as_path());
    if same { Ok(()) } else { Err(Fault::new(format!("{target:?} is there and is another volume"))) }
}

async fn report(storage: Storage, target: PathBuf) -> Result<VolumeMade, Fault> {
    tokio::task::spawn_blocking(move || {
        let (size, space) = (size_of(&target)?, storage.space()?);
        Ok(VolumeMade {
            size: Some(size.size),
            actual_size: Some(size.actual_size),
            total_capacity: Some(space.total),
            available_capacity: Some(space.available),
        })
    })
    .await?
}
