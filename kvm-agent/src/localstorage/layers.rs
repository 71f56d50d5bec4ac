//! Files of qcow2 chains that nobody has open: made, copied, merged. For storages of every kind whose
//! volumes are files.
//!
//! A file is made in the storage's workshop and appears whole. What changes a file in place (`rebase`) keeps
//! what it shows the same at every moment: killed half-way, it is done again.

use std::fs;
use std::path::{Path, PathBuf};

use host::qcow2::{self, Format};
use host::qemu_img::{self, Convert};
use wire::Fault;
use wire::agent::Cx;

use super::{CACHE, Storage};
use crate::state::Host;
use crate::sys::image_lock;

/// As many overlays as anything here makes, and some.
const DEEPEST: usize = 64;

/// `<name>.qcow2` in the directory of `path`. A name that the command's repetition finds again.
pub fn sibling(path: &str, name: &str) -> String {
    let dir = Path::new(path).parent().unwrap_or(Path::new("/"));
    dir.join(format!("{name}.qcow2")).to_string_lossy().into_owned()
}

/// An empty image at `target` that shows `base`. Succeeds when there is one, whatever was written to it.
pub async fn overlay(cx: &Cx<Host>, target: &str, base: &str, format: Format) -> Result<(), Fault> {
    let (storage, target, base) = (storage_of(cx, target).await?, target.to_owned(), base.to_owned());
    let (target, base) = (storage.resolve(&target)?, existing(cx, &base).await?);
    let _one = cx.files.lock(target.clone()).await;
    if target.try_exists()? {
        return stands_on(&target, &base);
    }
    make_overlay(&storage, &target, &base, format).await
}

/// As [`overlay`], for one that nobody can have written to: an old one is made again.
pub async fn fresh_overlay(cx: &Cx<Host>, target: &str, base: &str, format: Format) -> Result<(), Fault> {
    let (storage, base) = (storage_of(cx, target).await?, existing(cx, base).await?);
    let target = storage.resolve(target)?;
    let _one = cx.files.lock(target.clone()).await;
    if target.try_exists()? {
        stands_on(&target, &base)?;
        check_idle(&target)?;
    }
    make_overlay(&storage, &target, &base, format).await
}

/// All that `from` shows, at `to`, standing alone. Succeeds when it is there.
pub async fn copy(cx: &Cx<Host>, from: &str, format: Format, to: &str) -> Result<(), Fault> {
    let (storage, from) = (storage_of(cx, to).await?, existing(cx, from).await?);
    let to = storage.resolve(to)?;
    let _one = cx.unless_superseded(async { Ok(cx.files.lock(to.clone()).await) }).await?;
    if to.try_exists()? {
        return Ok(());
    }
    check_room(&storage, &from)?;
    let bench = storage.workbench()?;
    let made = bench.path().join("copy");
    let job =
        Convert { from: &from, from_format: format, to: &made, to_format: Format::Qcow2, compress: false };
    cx.unless_superseded(async { Ok(qemu_img::convert(job, |_| {}).await?) }).await?;
    tracing::info!(from = %from.display(), to = %to.display(), "image copied");
    Ok(tokio::task::spawn_blocking(move || storage.publish(&made, &to)).await??)
}

/// Puts `path` on `base`, or on nothing, keeping what it shows. Succeeds when it stands there.
pub async fn rebase(cx: &Cx<Host>, path: &str, base: Option<&str>) -> Result<(), Fault> {
    let path = existing(cx, path).await?;
    let base = match base {
        Some(base) => Some(existing(cx, base).await?),
        None => None,
    };
    let _one = cx.files.lock(path.clone()).await;
    let now = backing(&path)?;
    if now == base {
        return Ok(());
    }
    check_idle(&path)?;
    let format = base.as_deref().map(format_of).transpose()?;
    let onto = base.as_deref().zip(format);
    cx.unless_superseded(async { Ok(qemu_img::rebase(&path, onto).await?) }).await?;
    tracing::info!(path = %path.display(), ?base, "rebased");
    Ok(())
}

/// Names another backing file in `path`, which must show the same: nothing is copied.
pub async fn relink(cx: &Cx<Host>, path: &str, base: &str) -> Result<(), Fault> {
    let (path, base) = (existing(cx, path).await?, existing(cx, base).await?);
    let _one = cx.files.lock(path.clone()).await;
    if backing(&path)?.as_deref() == Some(&base) {
        return Ok(());
    }
    check_idle(&path)?;
    Ok(qemu_img::relink(&path, &base, format_of(&base)?).await?)
}

/// Grows an image that nobody has open; `force` is nobody's to give: it never shrinks.
pub async fn grow(cx: &Cx<Host>, path: &str, size: u64) -> Result<u64, Fault> {
    let path = existing(cx, path).await?;
    let _one = cx.files.lock(path.clone()).await;
    check_idle(&path)?;
    qemu_img::resize(&path, format_of(&path)?, size).await?;
    Ok(read(&path)?.virtual_size)
}

/// What a file takes on its disk; never 0.
pub async fn allocated(cx: &Cx<Host>, path: &str) -> Result<u64, Fault> {
    let path = existing(cx, path).await?;
    tokio::task::spawn_blocking(move || Ok(super::capacity::size_of(&path)?.actual_size.max(1))).await?
}

/// From the top down. A raw file is the end of its chain, whatever stands in it.
pub fn chain(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    let (mut chain, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        if chain.len() == DEEPEST {
            return Err(Fault::new(format!("{:?} stands on more than {DEEPEST} other files", chain[0])));
        }
        let found = read(&path)?.backing;
        let end = found.as_ref().is_none_or(|backing| backing.format.as_deref() == Some("raw"));
        chain.push(path);
        next = found.map(|backing| backing.path);
        if end {
            chain.extend(next.take());
        }
    }
    Ok(chain)
}

/// Refuses to change files that others stand on too: `chain` are those who may.
pub async fn check_alone(cx: &Cx<Host>, files: Vec<PathBuf>, chain: Vec<PathBuf>) -> Result<(), Fault> {
    let storages = cx.storages.all().await;
    tokio::task::spawn_blocking(move || {
        let cached = files.iter().find(|file| file.components().any(|part| part.as_os_str() == CACHE));
        if let Some(file) = cached {
            return Err(Fault::new(format!("{file:?} is a cached image: nothing is written to it")));
        }
        for storage in storages {
            for other in storage.files()? {
                let on = qcow2::read_header(&other).ok().and_then(|header| header.backing);
                let shared = on.filter(|on| files.contains(&on.path) && !chain.contains(&other));
                if let Some(on) = shared {
                    return Err(Fault::new(format!(
                        "{:?} carries {other:?} too: it cannot be merged",
                        on.path
                    )));
                }
            }
        }
        Ok(())
    })
    .await?
}

pub fn backing(path: &Path) -> Result<Option<PathBuf>, Fault> {
    Ok(read(path)?.backing.map(|backing| backing.path))
}

/// The storage that `path` lies in.
pub async fn storage_of(cx: &Cx<Host>, path: &str) -> Result<Storage, Fault> {
    let storages = cx.storages.all().await;
    storages.into_iter().find(|storage| storage.holds(Path::new(path))).ok_or_else(|| {
        Fault::new(format!("{path:?} lies in no storage of this host: initialise its primary storage first"))
    })
}

/// The file at `path`, which must lie in a storage and be there.
pub async fn existing(cx: &Cx<Host>, path: &str) -> Result<PathBuf, Fault> {
    let path = storage_of(cx, path).await?.resolve(path)?;
    if path.is_file() { Ok(path) } else { Err(Fault::new(format!("{path:?} is not there"))) }
}

pub fn check_idle(path: &Path) -> Result<(), Fault> {
    if image_lock::is_in_use(path)? {
        let reason = format!("{path:?} is in use: stop the vm that has it open first");
        return Err(Fault::new(reason).with("inUse", true));
    }
    Ok(())
}

/// Volumes are qcow2; only what they stand on may be something else.
pub fn format_of(path: &Path) -> Result<Format, Fault> {
    Ok(read(path)?.format)
}

fn read(path: &Path) -> Result<qcow2::ImageHeader, Fault> {
    qcow2::read_header(path).map_err(|error| Fault::new(format!("{path:?}: {error}")))
}

fn stands_on(target: &Path, base: &Path) -> Result<(), Fault> {
    match backing(target)? {
        Some(found) if found == base => Ok(()),
        _ => Err(Fault::new(format!("{target:?} is there and does not stand on {base:?}"))),
    }
}

async fn make_overlay(storage: &Storage, target: &Path, base: &Path, format: Format) -> Result<(), Fault> {
    let found = format_of(base)?;
    if format == Format::Qcow2 && found != format {
        return Err(Fault::new(format!("{base:?} is {found}, not {format}")));
    }
    let bench = storage.workbench()?;
    let made = bench.path().join("overlay");
    qemu_img::create_overlay(&made, base, format, None).await?;
    let (storage, target) = (storage.clone(), target.to_owned());
    Ok(tokio::task::spawn_blocking(move || storage.publish(&made, &target)).await??)
}

/// A copy is at most as large as all that it is copied from.
fn check_room(storage: &Storage, from: &Path) -> Result<(), Fault> {
    let sizes = chain(from)?.into_iter().map(|layer| Ok(super::capacity::size_of(&layer)?.actual_size));
    let needed: u64 = sizes.sum::<Result<u64, Fault>>()?;
    let available = storage.space()?.available;
    if needed <= available {
        return Ok(());
    }
    let root = storage.root();
    Err(Fault::new(format!("no room for a copy of {needed} bytes in {root:?}: {available} are left")))
}

/// Removes a file whose other name keeps what is in it.
pub fn unlink(path: &Path, only_linked: bool) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(found) if only_linked && found.nlink() < 2 => Ok(()),
        Ok(_) => Ok(fs::remove_file(path)?),
    }
}
