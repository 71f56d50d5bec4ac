//! A small fact that outlives the agent: one JSON file, replaced as a whole.
//!
//! A reader sees the old value or the new one, whatever dies in between; [`Record::set`] returns when the
//! new one is on the disk.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::RwLock;

pub struct Record<T> {
    path: Arc<Path>,
    value: RwLock<T>,
}

impl<T: Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static> Record<T> {
    /// What was last set, or the default when nothing ever was.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let value = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| unreadable(&path, &e))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => T::default(),
            Err(error) => return Err(error),
        };
        Ok(Record { path: path.into(), value: RwLock::new(value) })
    }

    /// Without waiting: nobody else can have it yet.
    pub fn value(&mut self) -> &T {
        self.value.get_mut()
    }

    pub async fn get(&self) -> T {
        self.value.read().await.clone()
    }

    pub async fn set(&self, value: T) -> io::Result<()> {
        self.change(|now| *now = value).await
    }

    /// Applies `change`; writes only when something changed. Nothing changes when the write fails.
    pub async fn change(&self, change: impl FnOnce(&mut T)) -> io::Result<()> {
        let mut held = self.value.write().await;
        let mut next = held.clone();
        change(&mut next);
        if next == *held {
            return Ok(());
        }
        let (path, text) = (self.path.clone(), serde_json::to_vec(&next)?);
        tokio::task::spawn_blocking(move || replace(&path, &text)).await??;
        *held = next;
        Ok(())
    }
}

/// Gives `path` the contents `bytes`: all of them or none.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a record needs a directory"))?;
    let mut new = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|failed| failed.error)?;
    std::fs::File::open(dir)?.sync_all()
}

fn unreadable(path: &Path, error: &serde_json::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path:?} is damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fact.json");
        Record::<Vec<u8>>::open(path.clone()).unwrap().set(vec![7]).await.unwrap();
        assert_eq!(Record::<Vec<u8>>::open(path).unwrap().get().await, [7]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_written_does_not_change() {
        let record = Record::<u8>::open("/no/such/dir/fact.json".into()).unwrap();
        record.set(1).await.unwrap_err();
        assert_eq!(record.get().await, 0);
    }
}
