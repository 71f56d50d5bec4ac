//! Files of a storage: templates, chains, sums, links, marks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use host::qcow2::{self, Format};
use host::qemu_img;
use sha2::{Digest, Sha256};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::localstorage::{
    BackingChain, BackingFile, BaseImage, BatchGetSize, Capacity, CheckInitialized, CheckMd5, CleanMeta,
    CreateFolder, CreateInitialized, CreateTemplate, Estimate, GetBackingChain, GetBackingFile, GetBaseImage,
    GetHash, GetMd5, GetReferences, HardLink, Hash, Initialised, Md5, Md5s, Merged, References, RelinkVolume,
    Resize, Resized, Size, Sizes, Unlink, VolumeMade, WithBacking,
};

use super::capacity::size_of;
use super::layers::{self, existing, storage_of};
use super::{Storage, volume};
use crate::state::Host;

/// How ZStack's image store ends the names of what it knows of a file.
const META: [&str; 3] = ["imf", "imf2", "json"];

/// An image of all that a volume shows.
pub async fn create_template(cx: Cx<Host>, cmd: CreateTemplate) -> Result<Merged, Fault> {
    let install = [cmd.install_path, cmd.insall_path].into_iter().find(|path| !path.is_empty());
    let install = install.ok_or_else(|| Fault::new("a template needs an installPath"))?;
    layers::copy(&cx, &cmd.volume_path, Format::Qcow2, &install).await?;
    let (storage, made) = (storage_of(&cx, &install).await?, existing(&cx, &install).await?);
    tokio::task::spawn_blocking(move || {
        let (size, space) = (size_of(&made)?, storage.space()?);
        Ok(Merged {
            size: size.size,
            actual_size: size.actual_size,
            total_capacity: Some(space.total),
            available_capacity: Some(space.available),
        })
    })
    .await?
}

/// How large an image of the volume would be.
pub async fn estimate(cx: Cx<Host>, cmd: Estimate) -> Result<Size, Fault> {
    let path = existing(&cx, &cmd.volume_path).await?;
    let actual_size = qemu_img::measure(&path, Format::Qcow2).await?;
    let size = tokio::task::spawn_blocking(move || size_of(&path)).await??.size;
    Ok(Size { size, actual_size })
}

pub async fn with_backing(cx: Cx<Host>, cmd: WithBacking) -> Result<VolumeMade, Fault> {
    let storage = cx.storage(&cmd.storage_path)?;
    volume::upon(&cx, storage, &cmd.install_path, &cmd.template_path_in_cache, 0).await
}

pub async fn create_folder(cx: Cx<Host>, cmd: CreateFolder) -> Result<Capacity, Fault> {
    let storage = cx.storage(&cmd.storage_path)?;
    let path = storage.resolve(&cmd.install_url)?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    capacity(&storage)
}

pub async fn unlink(cx: Cx<Host>, cmd: Unlink) -> Result<Capacity, Fault> {
    let storage = cx.storage(&cmd.storage_path)?;
    let path = storage.resolve(&cmd.install_path)?;
    let _one = cx.files.lock(path.clone()).await;
    layers::unlink(&path, cmd.only_linked_file.unwrap_or(true))?;
    capacity(&storage)
}

pub async fn resize(cx: Cx<Host>, cmd: Resize) -> Result<Resized, Fault> {
    Ok(Resized { size: layers::grow(&cx, &cmd.install_path, cmd.size).await? })
}

pub async fn get_backing_file(cx: Cx<Host>, cmd: GetBackingFile) -> Result<BackingFile, Fault> {
    let path = existing(&cx, &cmd.path).await?;
    let Some(backing) = layers::backing(&path)? else { return Ok(BackingFile::default()) };
    let size = size_of(&backing)?.actual_size;
    Ok(BackingFile { backing_file_path: Some(text(&backing)), size: Some(size) })
}

pub async fn get_backing_chain(cx: Cx<Host>, cmd: GetBackingChain) -> Result<BackingChain, Fault> {
    let path = existing(&cx, &cmd.install_path).await?;
    tokio::task::spawn_blocking(move || {
        let chain = layers::chain(&path)?;
        let sizes = chain.iter().map(|layer| Ok(size_of(layer)?.actual_size));
        let total_size = sizes.sum::<Result<u64, Fault>>()?;
        // The volume itself is not of what it stands on.
        Ok(BackingChain {
            backing_chain: chain.iter().skip(1).map(|layer| text(layer)).collect(),
            total_size,
        })
    })
    .await?
}

/// Volumes that are not there are left out.
pub async fn batch_get_size(cx: Cx<Host>, cmd: BatchGetSize) -> Result<Sizes, Fault> {
    let mut actual_sizes = BTreeMap::new();
    for (uuid, path) in cmd.volume_uuid_install_paths {
        let path = storage_of(&cx, &path).await?.resolve(&path)?;
        match size_of(&path) {
            Ok(size) => drop(actual_sizes.insert(uuid, size.actual_size)),
            Err(fault) => tracing::debug!(volume = uuid, %fault, "no size"),
        }
    }
    Ok(Sizes { actual_sizes })
}

/// The cached image at the ground of a volume's chain; none: it stands alone.
pub async fn base_image(cx: Cx<Host>, cmd: GetBaseImage) -> Result<BaseImage, Fault> {
    let path = existing(&cx, &cmd.volume_install_path).await?;
    tokio::task::spawn_blocking(move || {
        let chain = layers::chain(&path)?;
        let cached =
            |layer: &&PathBuf| !cmd.image_cache_dir.is_empty() && layer.starts_with(&cmd.image_cache_dir);
        let Some(base) = chain.iter().find(cached) else { return Ok(BaseImage::default()) };
        Ok(BaseImage {
            path: Some(text(base)),
            other_paths: Vec::new(),
            size: Some(size_of(base)?.actual_size),
        })
    })
    .await?
}

/// The files below a directory that stand on `path`.
pub async fn get_references(cx: Cx<Host>, cmd: GetReferences) -> Result<References, Fault> {
    let (path, storage) = (existing(&cx, &cmd.path).await?, storage_of(&cx, &cmd.path).await?);
    let dir = storage.resolve(&cmd.searching_dir).unwrap_or_else(|_| storage.root().to_owned());
    tokio::task::spawn_blocking(move || {
        let files = storage.files()?.into_iter().filter(|file| file.starts_with(&dir));
        let stands = |file: &PathBuf| {
            let backing = qcow2::read_header(file).ok().and_then(|header| header.backing);
            backing.is_some_and(|backing| backing.path == path)
        };
        Ok(References { reference_paths: files.filter(stands).map(|file| text(&file)).collect() })
    })
    .await?
}

/// Gives every file of a directory a second name in another one.
pub async fn hard_link(cx: Cx<Host>, cmd: HardLink) -> Result<Capacity, Fault> {
    let storage = cx.storage(&cmd.storage_path)?;
    let (from, to) = (storage.resolve(&cmd.src_dir)?, storage.resolve(&cmd.dst_dir)?);
    let linking = storage.clone();
    tokio::task::spawn_blocking(move || {
        let files: Vec<PathBuf> =
            linking.files()?.into_iter().filter(|file| file.starts_with(&from)).collect();
        for file in files {
            let target = to.join(file.strip_prefix(&from).unwrap_or(&file));
            if let Some(dir) = target.parent() {
                fs::create_dir_all(dir)?;
            }
            match fs::hard_link(&file, &target) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
                _ => {}
            }
        }
        Ok::<_, Fault>(())
    })
    .await??;
    capacity(&storage)
}

pub async fn relink_volume(cx: Cx<Host>, cmd: RelinkVolume) -> Result<Done, Fault> {
    layers::relink(&cx, &cmd.root_volume_path, &cmd.backing_file_path).await?;
    Ok(Done {})
}

pub async fn check_initialized(cx: Cx<Host>, cmd: CheckInitialized) -> Result<Initialised, Fault> {
    let storage = Storage::at(&cmd.storage_path)?;
    let existed = storage.is_marked() && storage.resolve(&cmd.file_path)?.is_file();
    let space = cx.storage(&cmd.storage_path).and_then(|storage| Ok(storage.space()?)).ok();
    Ok(Initialised {
        existed,
        total_capacity: space.map(|space| space.total),
        available_capacity: space.map(|space| space.available),
    })
}

pub async fn create_initialized(cx: Cx<Host>, cmd: CreateInitialized) -> Result<Done, Fault> {
    let path = storage_of(&cx, &cmd.file_path).await?.resolve(&cmd.file_path)?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path)?;
    Ok(Done {})
}

pub async fn clean_local_meta(cx: Cx<Host>, cmd: CleanMeta) -> Result<Done, Fault> {
    clean_meta(&cx, &cmd.primary_storage_install_path).await
}

/// What ZStack's image store keeps beside a file; this agent makes none, but may find some.
pub async fn clean_meta(cx: &Cx<Host>, path: &str) -> Result<Done, Fault> {
    let path = storage_of(cx, path).await?.resolve(path)?;
    for ending in META {
        match fs::remove_file(path.with_extension(ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(Done {})
}

pub async fn get_md5(cx: Cx<Host>, cmd: GetMd5) -> Result<Md5s, Fault> {
    let mut md5s = Vec::new();
    for asked in cmd.md5s {
        let md5 = sum::<Md5Sum>(&cx, &asked.path).await?;
        md5s.push(Md5 { resource_uuid: asked.resource_uuid, path: asked.path, md5 });
    }
    Ok(Md5s { md5s })
}

pub async fn check_md5(cx: Cx<Host>, cmd: CheckMd5) -> Result<Done, Fault> {
    for asked in cmd.md5s {
        let found = sum::<Md5Sum>(&cx, &asked.path).await?;
        if found != asked.md5 {
            let Md5 { path, md5, .. } = asked;
            return Err(Fault::new(format!(
                "{path:?} was changed on its way: its md5 is {found}, not {md5}"
            )));
        }
    }
    Ok(Done {})
}

pub async fn get_hash(cx: Cx<Host>, cmd: GetHash) -> Result<Hash, Fault> {
    Ok(Hash { hash_value: sum::<Sha256>(&cx, &cmd.install_path).await? })
}

type Md5Sum = md5::Md5;

async fn sum<D: Digest + Send + 'static>(cx: &Cx<Host>, path: &str) -> Result<String, Fault> {
    let path = existing(cx, path).await?;
    let stop = cx.superseded().clone();
    let stopped = cx.stopped();
    tokio::task::spawn_blocking(move || {
        let (mut file, mut hash, mut piece) = (File::open(path)?, D::new(), vec![0; 1 << 20]);
        loop {
            let length = file.read(&mut piece)?;
            if length == 0 {
                return Ok(hex::encode(hash.finalize()));
            }
            if stop.is_cancelled() {
                return Err(stopped);
            }
            hash.update(&piece[..length]);
        }
    })
    .await?
}

fn capacity(storage: &Storage) -> Result<Capacity, Fault> {
    let space = storage.space()?;
    Ok(Capacity { total_capacity: Some(space.total), available_capacity: Some(space.available) })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
