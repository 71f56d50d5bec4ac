//! A storage and what lies in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use host::file::Space;
use serde::{Deserialize, Serialize};
use wire::Fault;

use super::{LEASES, MARK, WORKSHOP};
use crate::record::{Record, replace};
use crate::state::Host;
use crate::sys::machine;

/// The directory of a primary storage on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    root: PathBuf,
}

/// What stands in the mark.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Mark {
    storage: String,
}

/// The storages that were ever opened on this host: path to uuid.
pub struct Storages {
    known: Record<BTreeMap<PathBuf, String>>,
}

impl Storages {
    /// Removes what an agent that died left half made.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let mut known: Record<BTreeMap<PathBuf, String>> = Record::open(path)?;
        for root in known.value().keys() {
            let storage = Storage { root: root.clone() };
            if storage.is_marked() {
                storage.empty_workshop()?;
            }
        }
        Ok(Storages { known })
    }

    pub async fn remember(&self, storage: &Storage, uuid: &str) -> io::Result<()> {
        let (root, uuid) = (storage.root.clone(), uuid.to_owned());
        self.known.change(|known| drop(known.insert(root, uuid))).await
    }

    /// Those that are there.
    pub async fn all(&self) -> Vec<Storage> {
        let storages = self.known.get().await.into_keys().map(|root| Storage { root });
        storages.filter(Storage::is_marked).collect()
    }
}

impl Host {
    /// The storage at `path`, which must have been opened by `init`.
    pub fn storage(&self, path: &str) -> Result<Storage, Fault> {
        let storage = Storage::at(path)?;
        if storage.is_marked() {
            return Ok(storage);
        }
        Err(Fault::new(format!(
            "{path:?} is no storage of this host: initialise its primary storage, or mount its disk"
        )))
    }
}

impl Storage {
    /// Names the directory; whether it is a storage is another question.
    pub fn at(path: &str) -> Result<Self, Fault> {
        let root = plain(path).map_err(Fault::new)?;
        // A file system's root, or what hangs right below it with a name of its own, is nobody's storage.
        const SYSTEM: [&str; 18] = [
            "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root",
            "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var",
        ];
        let inside_system =
            ["/proc", "/sys", "/dev", "/etc", "/boot", "/usr"].iter().any(|dir| root.starts_with(dir));
        if inside_system || SYSTEM.iter().any(|dir| root == Path::new(dir)) {
            return Err(Fault::new(format!("{path:?} belongs to the system: choose a directory of its own")));
        }
        Ok(Storage { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn is_marked(&self) -> bool {
        self.root.join(MARK).is_file()
    }

    /// The uuid of the primary storage that the directory belongs to; empty when it belongs to none.
    pub fn owner(&self) -> io::Result<Option<String>> {
        match fs::read(self.root.join(MARK)) {
            Ok(text) => Ok(Some(serde_json::from_slice::<Mark>(&text).unwrap_or_default().storage)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn mark(&self, uuid: &str) -> io::Result<()> {
        replace(&self.root.join(MARK), &serde_json::to_vec(&Mark { storage: uuid.to_owned() })?)
    }

    /// Whether `path`, as it is written, lies in this storage.
    pub fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }

    /// `path`, when it lies in this storage and no symbolic link leads out. It need not exist.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, Fault> {
        let path = plain(path).map_err(Fault::new)?;
        let outside = || Fault::new(format!("{path:?} does not lie in the storage {:?}", self.root));
        let relative = path.strip_prefix(&self.root).map_err(|_| outside())?;
        let mut here = self.root.clone();
        for component in relative.components() {
            here.push(component);
            match fs::symlink_metadata(&here) {
                Ok(found) if found.is_symlink() => {
                    return Err(Fault::new(format!("{here:?} is a symbolic link: storages have none")));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error.into()),
            }
        }
        let first = relative.components().next().ok_or_else(outside)?;
        match first.as_os_str().to_str() {
            Some(MARK | WORKSHOP | LEASES) => Err(outside()),
            _ => Ok(path),
        }
    }

    pub fn space(&self) -> io::Result<Space> {
        host::file::space(&self.root)
    }

    /// A fresh directory to make something in, on the same file system; gone when dropped.
    pub fn workbench(&self) -> io::Result<tempfile::TempDir> {
        let workshop = self.workshop();
        fs::create_dir_all(&workshop)?;
        tempfile::tempdir_in(workshop)
    }

    /// Puts the finished `made` at `target`, durably. Replaces nothing but what a repetition made.
    pub fn publish(&self, made: &Path, target: &Path) -> io::Result<()> {
        let dir = target.parent().ok_or_else(|| io::Error::other("a file needs a directory"))?;
        fs::create_dir_all(dir)?;
        fs::File::open(made)?.sync_all()?;
        fs::rename(made, target)?;
        self.sync_up_from(dir)
    }

    /// Makes new names durable, from `dir` up to the root.
    fn sync_up_from(&self, dir: &Path) -> io::Result<()> {
        let mut dirs = dir.ancestors().take_while(|dir| self.holds(dir));
        dirs.try_for_each(|dir| fs::File::open(dir)?.sync_all())
    }

    /// Removes the directories that became empty, from `dir` up to the root.
    pub fn prune(&self, dir: &Path) {
        for dir in dir.ancestors().take_while(|dir| self.holds(dir) && *dir != self.root) {
            if fs::remove_dir(dir).is_err() {
                break;
            }
        }
    }

    /// All files but our own.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut dirs = vec![self.root.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in list(&dir)? {
                let kind = entry.file_type()?;
                let own =
                    dir == self.root && matches!(entry.file_name().to_str(), Some(MARK | WORKSHOP | LEASES));
                if kind.is_dir() && !own {
                    dirs.push(entry.path());
                } else if kind.is_file() && !own {
                    files.push(entry.path());
                }
            }
        }
        Ok(files)
    }

    fn workshop(&self) -> PathBuf {
        self.root.join(WORKSHOP).join(machine::id())
    }

    fn empty_workshop(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.workshop()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A directory may go while we look.
fn list(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// An absolute path without `.`, `..` and NUL.
fn plain(path: &str) -> Result<PathBuf, String> {
    let told = Path::new(path);
    let mut components = told.components();
    let sound = components.next() == Some(Component::RootDir)
        && components.all(|component| matches!(component, Component::Normal(_)))
        && !path.bytes().any(|byte| byte.is_ascii_control());
    // Through its components: doubled and trailing slashes go.
    if sound {
        Ok(told.components().collect())
    } else {
        Err(format!("path {path:?} is not absolute and plain"))
    }
}
