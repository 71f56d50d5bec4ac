//! What is written on the storage: `<mount>/.leases/<host>`, a block with the lease, which its host writes, and
//! one with the mark, which others write to give it up.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::lease::Terms;
use crate::localstorage::{LEASES, Storage};
use crate::sys::lease_file::{Block, LeaseFile};

/// A lease. Only its owner reads `began` and `since`: no clock is compared with another machine's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Another one after every renewal, also when the file was taken away and made anew.
    pub sequence: u64,
    pub boot: String,
    /// Seconds.
    pub interval: u64,
    pub max_attempts: u64,
    pub spares: bool,
    /// Milliseconds since the boot.
    pub began: u64,
    /// The order under which it was first set up.
    pub since: u64,
}

/// Who has given the host up: tasks, each of which may take back only its own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Mark {
    pub by: Vec<String>,
}

impl Record {
    pub fn terms(&self) -> Terms {
        let lasts = Duration::from_secs(self.interval.saturating_mul(self.max_attempts));
        Terms { lasts, spares: self.spares }
    }
}

impl Mark {
    /// As many as fit into the block.
    const MOST: usize = 8;

    /// Which mark it is, for whoever sees it twice.
    pub fn number(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// With one more name. The oldest give way: what they wanted stands there all the same.
    pub fn with(&self, task: &str) -> Self {
        let mut by = self.without(task).map(|mark| mark.by).unwrap_or_default();
        by.push(task.to_owned());
        by.drain(..by.len().saturating_sub(Self::MOST));
        Mark { by }
    }

    /// `None` when nobody else gave the host up.
    pub fn without(&self, task: &str) -> Option<Self> {
        let by: Vec<String> = self.by.iter().filter(|by| *by != task).cloned().collect();
        (!by.is_empty()).then_some(Mark { by })
    }
}

pub fn path(storage: &Storage, host: &str) -> PathBuf {
    storage.root().join(LEASES).join(host)
}

/// `None` when nothing was ever written.
pub fn read<T: DeserializeOwned>(file: &LeaseFile, block: Block) -> io::Result<Option<T>> {
    let text = file.read(block)?;
    if text.is_empty() {
        return Ok(None);
    }
    let unreadable = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{block:?}: {error}"));
    serde_json::from_slice(&text).map(Some).map_err(unreadable)
}

pub fn write<T: Serialize>(file: &LeaseFile, block: Block, value: &T) -> io::Result<()> {
    file.write(block, &serde_json::to_vec(value)?)
}

/// Writes that there is no mark, or which one.
pub fn set_mark(file: &LeaseFile, mark: Option<&Mark>) -> io::Result<()> {
    match mark {
        Some(mark) => write(file, Block::Mark, mark),
        None => file.write(Block::Mark, b""),
    }
}

/// Fails unless `storage` is mounted: what a directory under a mount point says counts for nothing.
pub fn check_storage(storage: &Storage, uuid: &str) -> io::Result<()> {
    let root = storage.root();
    match storage.owner()? {
        Some(owner) if owner == uuid => Ok(()),
        Some(owner) => Err(io::Error::other(format!("{root:?} is storage {owner}, not {uuid}"))),
        None => Err(io::Error::other(format!("{root:?} is no storage: storage {uuid} is not mounted there"))),
    }
}

/// What may be part of a path.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether the file is still that of the storage.
pub fn is_current(file: &LeaseFile, storage: &Storage) -> io::Result<bool> {
    file.is_named(Path::new(storage.root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_its_word_back_leaves_those_of_others() {
        let mark = Mark::default().with("a").with("b").with("a");
        assert_eq!(mark.by, ["b", "a"]);
        assert_eq!(mark.without("b").unwrap().by, ["a"]);
        assert_eq!(mark.without("b").unwrap().without("a"), None);
        let many = (0..20).fold(mark, |mark, n| mark.with(&format!("{n:032}")));
        assert_eq!(many.by.len(), 8);
        assert!(serde_json::to_vec(&many).unwrap().len() <= 512);
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        assert!(is_name("host-1"));
        for odd in ["", ".", "..", "a/b", "a b", &"x".repeat(65)] {
            assert!(!is_name(odd), "{odd:?}");
        }
    }
}
