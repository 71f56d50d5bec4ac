//! Nothing may be left: what the agents said they made is looked for in reality, and so is what nobody mentioned.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::ground::{Ground, Shape};
use super::programs::{Owned, Programs};
use crate::lab::Machine;

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
    pub fn nothing_left(&self, owned: &[Owned], ground: &Ground, programs: &Programs) -> Result<()> {
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
            left.extend(processes(machine, programs)?);
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

fn processes(machine: &Machine, programs: &Programs) -> Result<Vec<String>> {
    let others = others(machine, programs)?;
    Ok(others.iter().map(|(pid, words)| format!("process {pid} ({words}) on {}", machine.name())).collect())
}

/// What runs on a machine besides the cloud's programs.
pub fn others(machine: &Machine, programs: &Programs) -> Result<Vec<(i32, String)>> {
    let known = programs.pids();
    let others = machine.processes()?.into_iter().filter(|pid| !known.contains(&(*pid as u32)));
    Ok(others.map(|pid| (pid, words(pid))).collect())
}

fn words(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).take(3).map(String::from_utf8_lossy);
    words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}
