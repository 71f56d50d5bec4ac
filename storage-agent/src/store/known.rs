//! Which stores were connected, so that a restarted agent serves them before a controller calls.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::sync::RwLock;

use super::{Capacity, Error, Store, durable, io_error};
use crate::blocking;

type Paths = BTreeMap<String, PathBuf>;

/// The connected stores; remembered in one file.
pub struct Stores {
    file: PathBuf,
    known: RwLock<BTreeMap<String, Store>>,
}

impl Stores {
    pub async fn open(file: PathBuf) -> Result<Self, Error> {
        blocking(move || {
            let known = read(&file)?.into_iter().map(|(uuid, path)| (uuid.clone(), remembered(uuid, path)));
            Ok(Stores { known: RwLock::new(known.collect()), file })
        })
        .await
    }

    /// Opens a store and remembers it. Succeeds when it is connected already; a store that is known must
    /// bring its marker, wherever it is now.
    pub async fn connect(&self, uuid: &str, root: &Path) -> Result<Capacity, Error> {
        let mut known = self.known.write().await;
        let (name, path, new) = (uuid.to_owned(), root.to_owned(), !known.contains_key(uuid));
        let (store, capacity) = blocking(move || {
            let store = Store::open(&name, &path, new)?;
            let capacity = store.capacity()?;
            Ok::<_, Error>((store, capacity))
        })
        .await?;
        if known.get(uuid) != Some(&store) {
            let mut paths: Paths = known.values().map(|s| (s.uuid.clone(), s.root.clone())).collect();
            paths.insert(uuid.to_owned(), store.root.clone());
            let file = self.file.clone();
            blocking(move || write(&file, &paths)).await?;
            known.insert(uuid.to_owned(), store);
        }
        Ok(capacity)
    }

    /// Forgets a store that holds no image, and takes its mark off. A crash between the two leaves an
    /// unmarked store, which is forgotten when this is repeated.
    pub async fn disconnect(&self, uuid: &str) -> Result<(), Error> {
        let mut known = self.known.write().await;
        let Some(store) = known.get(uuid).cloned() else { return Ok(()) };
        let mut paths: Paths = known.values().map(|s| (s.uuid.clone(), s.root.clone())).collect();
        paths.remove(uuid);
        let file = self.file.clone();
        blocking(move || {
            store.unmark()?;
            write(&file, &paths)
        })
        .await?;
        known.remove(uuid);
        Ok(())
    }

    pub async fn get(&self, uuid: &str) -> Result<Store, Error> {
        let known = self.known.read().await;
        known.get(uuid).cloned().ok_or_else(|| Error::Unknown(uuid.to_owned()))
    }

    pub async fn all(&self) -> Vec<Store> {
        self.known.read().await.values().cloned().collect()
    }
}

/// A store of a former run. Its disk may not be mounted yet: that is said when it is used.
fn remembered(uuid: String, root: PathBuf) -> Store {
    Store::open(&uuid, &root, false).unwrap_or_else(|error| {
        tracing::warn!(store = uuid, path = %root.display(), %error, "a store cannot be used now");
        Store { uuid, root }
    })
}

fn read(file: &Path) -> Result<Paths, Error> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| io_error("understand", file)(error.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Paths::new()),
        Err(error) => Err(io_error("read", file)(error)),
    }
}

fn write(file: &Path, paths: &Paths) -> Result<(), Error> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    }
    durable::write_json(file, paths)
}
