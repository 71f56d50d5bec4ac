//! Nothing may be left: what the agents said they made is looked for in reality, and so is what nobody mentioned.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::ground::{Ground, Shape};
use super::programs::{Owned, Programs};
use crate::lab::Machine;

/// Who has nothing left to do ends within so long, and is waited for by its parent.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// The machine before the cloud was made.
#[derive(Debug)]
pub struct Before {
    /// Interfaces that are not the cloud's; each of its machines has a network of its own when absent.
    interfaces: Option<BTreeSet<String>>,
}

impl Before {
    pub fn look(shape: &Shape) -> Result<Self> {
        let here = *shape == Shape::Here;
        Ok(Self { interfaces: here.then(|| names(Path::new("/sys/class/net"))).transpose()? })
    }

    /// Fails with the name of everything that is left.
    pub async fn nothing_left(&self, owned: &[Owned], ground: &Ground, programs: &Programs) -> Result<()> {
        let mut left = Vec::new();
        for owned in owned {
            let root = root(&ground.machines[owned.host]);
            if remains(owned, &root) {
                left.push(format!("{} {}", owned.kind, owned.name));
            }
        }
        for machine in &ground.machines {
            left.extend(self.interfaces(machine, ground)?);
            left.extend(networks(machine)?);
            left.extend(processes(machine, programs).await?);
        }
        left.sort();
        left.dedup();
        if !left.is_empty() {
            bail!("left behind: {}", left.join(", "));
        }
        Ok(())
    }

    fn interfaces(&self, machine: &Machine, ground: &Ground) -> Result<Vec<String>> {
        let mut expected = self.interfaces.clone().unwrap_or_default();
        expected.extend(["lo", "eth0", &ground.physical].map(str::to_owned));
        let now = names(&root(machine).join("sys/class/net"))?;
        Ok(now.difference(&expected).map(|name| format!("interface {name} on {}", machine.name())).collect())
    }
}

/// The machine's file system, seen from outside.
fn root(machine: &Machine) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", machine.first().pid))
}

fn names(dir: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// What has a place in the file system; the rest shows as an interface, a network or a process.
fn remains(owned: &Owned, root: &Path) -> bool {
    owned.name.starts_with('/') && root.join(owned.name.trim_start_matches('/')).exists()
}

fn networks(machine: &Machine) -> Result<Vec<String>> {
    let names = names(&root(machine).join("run/netns"))?;
    Ok(names.iter().map(|name| format!("network namespace {name} on {}", machine.name())).collect())
}

/// Those that do not end by themselves, as the fencer of a storage does that has just gone.
async fn processes(machine: &Machine, programs: &Programs) -> Result<Vec<String>> {
    let until = Instant::now() + LAST_BREATH;
    let mut others = others(machine, programs)?;
    while !others.is_empty() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
        others = self::others(machine, programs)?;
    }
    Ok(others.iter().map(|(pid, words)| format!("process {pid} ({words}) on {}", machine.name())).collect())
}

/// What runs on a machine besides the cloud's programs.
pub fn others(machine: &Machine, programs: &Programs) -> Result<Vec<(i32, String)>> {
    let known = programs.pids();
    let others = machine.processes()?.into_iter().filter(|pid| !known.contains(&(*pid as u32)));
    Ok(others.map(|pid| (pid, words(pid))).collect())
}

/// The words it was called with; one that has ended and was not waited for has none, but a name and its parent.
fn words(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).take(3).map(String::from_utf8_lossy);
    match words.collect::<Vec<_>>().join(" ").trim_end() {
        "" => status(pid).unwrap_or_else(|| "ended meanwhile".to_owned()),
        words => words.to_owned(),
    }
}

fn status(pid: i32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let parent = words(of("PPid:")?.parse().ok().filter(|parent| *parent > 1)?);
    Some(format!("{}, {}, of {parent}", of("Name:")?, of("State:")?))
}
