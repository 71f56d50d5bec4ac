//! What a machine sees of the file system: the real one, with some places its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The machine sees `source` at `target`. Both are directories, or both files.
#[derive(Debug, Clone)]
pub struct Bind {
    pub source: PathBuf,
    pub target: PathBuf,
}

const CGROUPS: &str = "/sys/fs/cgroup";
const NETWORKS: &str = "/run/netns";
/// Programs that find a system bus hand their children over to services outside the machine.
const BUS: &str = "/run/dbus";

/// Must run in a mount namespace of one's own.
pub(super) fn prepare(dir: &Path, own_network: bool, binds: &[Bind]) -> Result<()> {
    attach(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    own_networks()?;
    if own_network {
        own_sys(dir)?;
    }
    if Path::new(BUS).exists() {
        let nothing = dir.join("no-bus");
        fs::create_dir_all(&nothing)?;
        bind(&Bind { source: nothing, target: BUS.into() })?;
    }
    binds.iter().try_for_each(bind)
}

/// Named network namespaces of other machines would live as long as this machine holds their mounts.
fn own_networks() -> Result<()> {
    fs::create_dir_all(NETWORKS)?;
    let table = fs::read_to_string("/proc/thread-self/mountinfo").context("cannot read the mount table")?;
    for place in mounts_below(&table, NETWORKS).into_iter().rev() {
        umount2(Path::new(place), MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {place}"))?;
    }
    mount(Some("tmpfs"), NETWORKS, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .with_context(|| format!("cannot mount {NETWORKS}"))
}

fn mounts_below<'a>(table: &'a str, dir: &str) -> Vec<&'a str> {
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    places.filter(|place| Path::new(place).starts_with(dir)).collect()
}

/// `/sys` shows the interfaces of the network in which it was mounted.
fn own_sys(dir: &Path) -> Result<()> {
    let aside = dir.join("cgroup");
    fs::create_dir_all(&aside)?;
    attach(Some(Path::new(CGROUPS)), &aside, MsFlags::MS_BIND | MsFlags::MS_REC)?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>)
        .context("cannot mount /sys")?;
    attach(Some(&aside), Path::new(CGROUPS), MsFlags::MS_MOVE)
}

fn bind(bind: &Bind) -> Result<()> {
    if bind.source.is_dir() {
        fs::create_dir_all(&bind.target).with_context(|| format!("cannot make {}", bind.target.display()))?;
    }
    attach(Some(&bind.source), &bind.target, MsFlags::MS_BIND)
}

fn attach(source: Option<&Path>, target: &Path, flags: MsFlags) -> Result<()> {
    mount(source, target, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("cannot mount {}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_directory_are_found_in_the_table() {
        let table = "1 0 8:1 / / rw - ext4 a rw\n2 1 0:1 / /run/netns rw - tmpfs b rw\n\
                     3 2 0:4 x /run/netns/a rw - nsfs c rw\n4 1 0:1 / /run/netns2 rw - tmpfs d rw\n";
        assert_eq!(mounts_below(table, "/run/netns"), ["/run/netns", "/run/netns/a"]);
    }
}
