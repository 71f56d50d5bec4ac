//! Real parts of a cloud on one machine, owned: what a lab makes goes away with it.
//!
//! A [`Lab`] owns a directory and everything that it made: [`Machine`]s (own process, mount and host name
//! namespaces, either in the network that the lab runs in or in one of their own), named network namespaces and
//! links.
//!
//! * Dropping a lab stops its machines and takes its networks away.
//! * Killing the process that holds the lab kills the machines with everything in them, by the kernel. What the
//!   kernel leaves (named namespaces, links) stands in `lab.json`; the next lab in the same directory removes
//!   it.
//! * Nothing is removed that the lab did not write down before making it.

mod daemon;
mod libvirt;
mod machine;
mod mounts;
mod network;
pub mod program;
mod record;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};

pub use daemon::{Daemon, tail};
pub use libvirt::Libvirt;
pub use machine::{Machine, Spec};
pub use mounts::Bind;
pub use network::{Network, Veth, interface_exists};
pub use record::{Identity, Record, Thing};

/// A directory and what was made for it.
pub struct Lab {
    dir: PathBuf,
    prefix: String,
    record: Arc<Mutex<Record>>,
    _lock: File,
}

impl Lab {
    /// Takes `dir` over and empties it, after removing what a killed lab left running. `prefix` starts the names of networks and
    /// interfaces; at most 8 letters and digits.
    pub fn open(dir: &Path, prefix: &str) -> Result<Self> {
        if prefix.is_empty() || prefix.len() > 8 || !prefix.bytes().all(|b| b.is_ascii_alphanumeric()) {
            bail!("the lab's prefix {prefix:?} is not 1 to 8 letters and digits");
        }
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let lock = lock(&dir)?;
        let mut record = Record::open(&dir)?;
        record.remove_all().context("cannot remove what an earlier run left")?;
        empty(&dir)?;
        record.owner_is_this_process()?;
        Ok(Self { dir, prefix: prefix.to_owned(), record: Arc::new(Mutex::new(record)), _lock: lock })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a directory of the lab.
    pub fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// A name that only this lab has.
    pub fn name(&self, part: &str) -> String {
        format!("{}{part}", self.prefix)
    }

    /// A machine; it stops when it is dropped.
    pub fn machine(&self, spec: Spec) -> Result<Machine> {
        let dir = self.make_dir(&format!("machines/{}", spec.name))?;
        Machine::start(spec, dir, self.record.clone())
    }

    /// A network namespace that `ip netns` shows under this name.
    pub fn network(&self, name: &str) -> Result<Network> {
        self.note(Thing::Network(name.to_owned()))?;
        Network::make(name)
    }

    /// A pair of interfaces, an end in each network.
    pub fn veth(&self, ends: Veth<'_>) -> Result<()> {
        if ends.networks.iter().any(Option::is_none) {
            self.note(Thing::Interface(ends.names[0].to_owned()))?;
        }
        ends.make()
    }

    /// Will also remove the bridge of this name in the lab's own network, and what hangs on it: a program under
    /// test makes it.
    pub fn will_remove_bridge(&self, name: &str) -> Result<()> {
        self.note(Thing::Bridge(name.to_owned()))
    }

    /// Takes everything away; what does not go is named. Machines must have been dropped before.
    pub fn close(self) -> Result<()> {
        self.record.lock().expect("the record's lock is never poisoned").remove_all()
    }

    fn note(&self, thing: Thing) -> Result<()> {
        self.record.lock().expect("the record's lock is never poisoned").add(thing)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut record = self.record.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Err(error) = record.remove_all() {
            eprintln!("lab {}: {error:#}", self.dir.display());
        }
    }
}

fn lock(dir: &Path) -> Result<File> {
    let file =
        File::create(dir.join("lock")).with_context(|| format!("cannot write in {}", dir.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("{} is in use by another run: end it first", dir.display())
        }
        Err(fs::TryLockError::Error(error)) => Err(error).context("cannot lock the lab's directory"),
    }
}

/// The lock stays: it is held.
fn empty(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let removed = match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path()),
            false if entry.file_name() == "lock" => Ok(()),
            false => fs::remove_file(entry.path()),
        };
        removed.with_context(|| format!("cannot remove {}", entry.path().display()))?;
    }
    Ok(())
}
