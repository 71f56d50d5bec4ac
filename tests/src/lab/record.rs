//! What a lab has made, on disk before it is made: enough to remove it after the lab was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::network;

/// A process, told from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: i32,
    /// Clock ticks since the machine's start.
    pub started: u64,
}

/// What must be removed one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thing {
    /// A machine's first process, with everything that runs on the machine.
    Machine(Identity),
    /// An interface in the network that the lab runs in.
    Interface(String),
    /// A bridge there, and the interfaces that hang on it.
    Bridge(String),
    /// A named network namespace.
    Network(String),
}

#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    owner: Option<Identity>,
    things: Vec<Thing>,
}

impl Identity {
    /// The running process of this number, if there is one; one that only waits to be collected is not.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold blanks and brackets; the fields after it do not. The start time is field 22.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        if fields.next()? == "Z" {
            return None;
        }
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, started })
    }

    pub fn lives(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }

    /// Kills it, if it still is the one that was meant.
    fn end(&self) -> Result<()> {
        let patience = Instant::now() + Duration::from_secs(10);
        while self.lives() {
            if Instant::now() > patience {
                bail!("process {} does not end", self.pid);
            }
            let _gone_meanwhile = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
            pause();
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for the kernel, outside any runtime")]
pub(super) fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

impl Record {
    /// What stands in the directory; nothing when there is no record.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("lab.json");
        let content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged: look at it and remove it", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path, content })
    }

    pub fn owner_is_this_process(&mut self) -> Result<()> {
        self.content.owner = Identity::of(std::process::id() as i32);
        self.save()
    }

    pub fn add(&mut self, thing: Thing) -> Result<()> {
        if !self.content.things.contains(&thing) {
            self.content.things.push(thing);
            self.save()?;
        }
        Ok(())
    }

    pub fn forget(&mut self, thing: &Thing) -> Result<()> {
        self.content.things.retain(|other| other != thing);
        self.save()
    }

    /// Removes everything, machines first; what does not go stays on record and is named in the error.
    pub fn remove_all(&mut self) -> Result<()> {
        let mut failures = Vec::new();
        for thing in self.in_order() {
            match thing.remove() {
                Ok(()) => self.forget(&thing)?,
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        if !failures.is_empty() {
            bail!("{}", failures.join("; "));
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn in_order(&self) -> Vec<Thing> {
        let mut things = self.content.things.clone();
        things.sort_by_key(|thing| match thing {
            Thing::Machine(_) => 0,
            Thing::Bridge(_) => 1,
            Thing::Interface(_) => 2,
            Thing::Network(_) => 3,
        });
        things
    }

    fn save(&self) -> Result<()> {
        let unfinished = self.path.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec_pretty(&self.content)?)
            .and_then(|()| fs::rename(&unfinished, &self.path))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Thing {
    fn remove(&self) -> Result<()> {
        match self {
            Self::Machine(first) => first.end(),
            Self::Interface(name) => network::remove_interface(name),
            Self::Bridge(name) => network::remove_bridge(name),
            Self::Network(name) => network::remove_network(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::command;
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("cumulet-record-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn a_later_process_with_the_same_number_is_not_taken_for_the_earlier() {
        let this = Identity::of(std::process::id() as i32).unwrap();
        assert!(this.lives());
        let other = Identity { started: this.started + 1, ..this };
        assert!(!other.lives());
        other.end().unwrap();
    }

    #[test]
    fn what_a_killed_run_left_is_removed_by_the_next() {
        let dir = scratch("next");
        let mut child = command("sleep", ["600"]).spawn().unwrap();
        let identity = Identity::of(child.id() as i32).unwrap();
        Record::open(&dir).unwrap().add(Thing::Machine(identity)).unwrap();
        Record::open(&dir).unwrap().remove_all().unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(!dir.join("lab.json").exists());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_damaged_record_is_refused() {
        let dir = scratch("damaged");
        fs::write(dir.join("lab.json"), "{").unwrap();
        let error = Record::open(&dir).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
        fs::remove_dir_all(dir).unwrap();
    }
}
