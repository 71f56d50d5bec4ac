//! Stores: directories that keep whole images.
//!
//! All of [`Store`] blocks. Every public call looks for the store's marker first, so that an unmounted
//! file system is an error and not an empty store.

mod durable;
mod image;
mod known;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub use image::{BadId, Image, ImageId};
pub use known::Stores;
use serde::{Deserialize, Serialize};

const MARKER: &str = ".cumulet-store";
const IMAGE: &str = "image";
const META: &str = "meta.json";
const RESUME: &str = "resume.json";
/// Begins the names of what waits to be removed; no image's uuid begins so.
const DELETED: &str = ".deleted-";

/// One connected backup storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub uuid: String,
    root: PathBuf,
}

#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub total: u64,
    pub available: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("backup storage {0:?} is not connected here: connect it first")]
    Unknown(String),
    #[error("backup storage uuid {0:?} is not a uuid")]
    BadUuid(String),
    #[error("storage path {0:?} is not an absolute path without \"..\"")]
    BadRoot(PathBuf),
    #[error("storage path {path:?} belongs to backup storage {owner:?}: use another directory")]
    Foreign { path: PathBuf, owner: String },
    #[error(
        "storage path {0:?} has lost its marker {MARKER}: mount its file system; if it is meant to be \
         empty, write the uuid of the backup storage into that file"
    )]
    Unmarked(PathBuf),
    #[error("install path {path:?} is not where image {image} is kept: use \"images/{image}/image\"")]
    Elsewhere { path: String, image: String },
    #[error("image {0} is not in this store")]
    NoImage(String),
    #[error("image {0} is damaged: {1}; delete it and import it again")]
    Damaged(ImageId, String),
    #[error(transparent)]
    BadId(#[from] BadId),
    #[error("store {0:?} still holds images or imports: delete them first")]
    NotEmpty(PathBuf),
    #[error("cannot {verb} {path:?}: {source}")]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
}

/// How far an import came, for the one that continues it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    pub source: String,
    /// What the server must confirm for the rest to fit: a strong ETag, or a date.
    pub validator: Option<String>,
    /// Bytes that were not synced are good only until the machine restarts.
    pub boot: String,
}

impl Store {
    /// Opens the store; makes it when `new`. Removes at once what a crash left half deleted.
    pub fn open(uuid: &str, root: &Path, new: bool) -> Result<Self, Error> {
        if uuid.parse::<ImageId>().is_err() {
            return Err(Error::BadUuid(uuid.to_owned()));
        }
        let plain = root.components().all(|part| !matches!(part, std::path::Component::ParentDir));
        if !root.is_absolute() || !plain {
            return Err(Error::BadRoot(root.to_owned()));
        }
        let store = Store { uuid: uuid.to_owned(), root: root.components().collect() };
        if new {
            store.mark()?;
        }
        store.check()?;
        for dir in [store.images_dir(), store.incoming_dir()] {
            fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
        }
        store.remove_deleted()?;
        Ok(store)
    }

    /// Whether this is the store's directory, and the store in it.
    pub fn check(&self) -> Result<(), Error> {
        let path = self.root.join(MARKER);
        match fs::read_to_string(&path) {
            Ok(owner) if owner.trim() == self.uuid => Ok(()),
            Ok(owner) => Err(Error::Foreign { path: self.root.clone(), owner: owner.trim().to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Unmarked(self.root.clone())),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Takes the mark and the empty directories away; a directory that is not this store's is left alone.
    pub fn unmark(&self) -> Result<(), Error> {
        if self.check().is_err() {
            return Ok(());
        }
        for dir in [self.images_dir(), self.incoming_dir()] {
            match fs::remove_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    return Err(Error::NotEmpty(self.root.clone()));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &dir)(error));
                }
                _ => {}
            }
        }
        let marker = self.root.join(MARKER);
        fs::remove_file(&marker).map_err(io_error("remove", &marker))
    }

    pub fn capacity(&self) -> Result<Capacity, Error> {
        self.check()?;
        let space = host::file::space(&self.root).map_err(io_error("measure", &self.root))?;
        Ok(Capacity { total: space.total, available: space.available })
    }

    /// The image that an install path names: `images/<uuid>`, with or without `/image`, relative or
    /// below the storage path.
    pub fn image_at(&self, path: &str) -> Result<ImageId, Error> {
        let bad = |_| Error::Elsewhere { path: path.to_owned(), image: "<uuid>".into() };
        let root = self.root.to_string_lossy();
        let inner = path.strip_prefix(&*root).and_then(|inner| inner.strip_prefix('/')).unwrap_or(path);
        let uuid = inner.strip_prefix("images/").unwrap_or_default();
        uuid.strip_suffix("/image").unwrap_or(uuid).parse().map_err(bad)
    }

    /// Refuses an install path that is not this image's.
    pub fn check_path(&self, id: &ImageId, path: &str) -> Result<(), Error> {
        match self.image_at(path) {
            Ok(named) if named == *id => Ok(()),
            _ => Err(Error::Elsewhere { path: path.to_owned(), image: id.to_string() }),
        }
    }

    /// The image, when it is there and whole.
    pub fn image(&self, id: &ImageId) -> Result<Option<Image>, Error> {
        self.check()?;
        let dir = self.image_dir(id);
        if !dir.try_exists().map_err(io_error("look for", &dir))? {
            return Ok(None);
        }
        let damaged = |error: io::Error| Error::Damaged(id.clone(), error.to_string());
        let meta = fs::read(dir.join(META)).map_err(damaged)?;
        let image: Image = serde_json::from_slice(&meta).map_err(|error| damaged(error.into()))?;
        let length = fs::metadata(dir.join(IMAGE)).map_err(damaged)?.len();
        if length != image.length {
            let what = format!("it has {length} bytes instead of {}", image.length);
            return Err(Error::Damaged(id.clone(), what));
        }
        Ok(Some(image))
    }

    /// [`Store::image`], where its absence is an error.
    pub fn need_image(&self, id: &ImageId) -> Result<Image, Error> {
        self.image(id)?.ok_or_else(|| Error::NoImage(id.to_string()))
    }

    /// The uuids of all images, damaged ones too.
    pub fn images(&self) -> Result<Vec<ImageId>, Error> {
        self.check()?;
        list(&self.images_dir())
    }

    /// The uuids of the images that are on their way.
    pub fn arriving(&self) -> Result<Vec<ImageId>, Error> {
        self.check()?;
        list(&self.incoming_dir())
    }

    /// The file that holds an image's bits.
    pub fn bits(&self, id: &ImageId) -> PathBuf {
        self.image_dir(id).join(IMAGE)
    }

    /// The file that takes the bits of an image on its way, and how far it was when it is `wanted`'s.
    /// What another import left there is gone afterwards.
    pub fn arrive(&self, id: &ImageId, wanted: &Resume) -> Result<(PathBuf, Option<Resume>), Error> {
        self.check()?;
        let dir = self.incoming(id);
        let left = fs::read(dir.join(RESUME)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let left = left.filter(|left: &Resume| left.source == wanted.source && left.boot == wanted.boot);
        if left.is_none() {
            self.forget_arrival(id)?;
            fs::create_dir(&dir).map_err(io_error("create", &dir))?;
            self.remember(id, wanted)?;
        }
        Ok((dir.join(IMAGE), left))
    }

    /// Keeps what the next attempt needs to continue.
    pub fn remember(&self, id: &ImageId, resume: &Resume) -> Result<(), Error> {
        durable::write_json(&self.incoming(id).join(RESUME), resume)
    }

    /// Removes an image that was on its way.
    pub fn forget_arrival(&self, id: &ImageId) -> Result<(), Error> {
        remove_dir(&self.incoming(id))
    }

    /// Shows an image whose bits are complete, inspected and synced. Durable when it returns.
    pub fn publish(&self, id: &ImageId, image: &Image) -> Result<(), Error> {
        self.check()?;
        let (from, to) = (self.incoming(id), self.image_dir(id));
        durable::write_json(&from.join(META), image)?;
        remove_file(&from.join(RESUME))?;
        durable::sync_dir(&from)?;
        fs::rename(&from, &to).map_err(io_error("show", &to))?;
        durable::sync_dir(&self.images_dir())
    }

    /// Removes an image and what may be on its way under its name; succeeds when it is gone. Whoever
    /// reads the image still reads it to its end.
    pub fn delete(&self, id: &ImageId) -> Result<(), Error> {
        self.check()?;
        self.forget_arrival(id)?;
        let (dir, gone) = (self.image_dir(id), self.incoming_dir().join(deleted_name(id)));
        match fs::rename(&dir, &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(io_error("delete", &dir))?,
        }
        durable::sync_dir(&self.images_dir())?;
        remove_dir(&gone)
    }

    fn mark(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.root).map_err(io_error("create", &self.root))?;
        match self.check() {
            Err(Error::Unmarked(_)) => durable::write(&self.root.join(MARKER), self.uuid.as_bytes()),
            marked => marked,
        }
    }

    fn remove_deleted(&self) -> Result<(), Error> {
        let dir = self.incoming_dir();
        for entry in fs::read_dir(&dir).map_err(io_error("list", &dir))? {
            let entry = entry.map_err(io_error("list", &dir))?;
            if entry.file_name().to_string_lossy().starts_with(DELETED) {
                remove_dir(&entry.path())?;
            }
        }
        Ok(())
    }

    fn images_dir(&self) -> PathBuf {
        self.root.join("images")
    }

    fn incoming_dir(&self) -> PathBuf {
        self.root.join("incoming")
    }

    fn image_dir(&self, id: &ImageId) -> PathBuf {
        self.images_dir().join(id.as_str())
    }

    fn incoming(&self, id: &ImageId) -> PathBuf {
        self.incoming_dir().join(id.as_str())
    }
}

fn deleted_name(id: &ImageId) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{DELETED}{id}-{}", now.as_nanos())
}

/// The names in a directory that are uuids; ours are, and others are not ours.
fn list(dir: &Path) -> Result<Vec<ImageId>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let entry = entry.map_err(io_error("list", dir))?;
        found.extend(entry.file_name().to_str().and_then(|name| name.parse().ok()));
    }
    found.sort();
    Ok(found)
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    gone(fs::remove_dir_all(dir)).map_err(io_error("remove", dir))
}

fn remove_file(path: &Path) -> Result<(), Error> {
    gone(fs::remove_file(path)).map_err(io_error("remove", path))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { verb, path, source }
}

#[cfg(test)]
mod tests;
