//! What the operations share. Nothing here says what should be: every command brings that along. What is
//! kept on disk are facts about the past: who connected this host, which storages were opened on it.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use host::netlink::Netlink;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use wire::heartbeat::Heart;
use wire::tls::{Door, Http};

use crate::config::{Config, MigrationTransport};
use crate::flat_network::Vrouter;
use crate::ha::Fencing;
use crate::keyed::KeyedLocks;
use crate::localstorage::Storages;
use crate::nfs::Shares;
use crate::record::Record;
use crate::seed::{self, Seeds};
use crate::sys::libvirt::Libvirt;
use crate::sys::probe::Probe;
use crate::vm::{Consoles, Restarts};

/// This hypervisor host.
pub struct Host {
    pub libvirt: Libvirt,
    pub net: Netlink,
    pub probe: Probe,
    pub introduction: Record<Introduction>,
    pub storages: Storages,
    pub shares: Shares,
    pub consoles: Consoles,
    pub restarts: Restarts,
    /// Keeps the leases of shared storages.
    pub fencing: Fencing,
    pub seeds: Seeds,
    pub console_log_dir: Option<PathBuf>,
    pub migration: MigrationTransport,
    /// Whether a controller may end this host.
    pub allow_power: bool,
    /// One command at a time per VM, whoever sends it.
    pub vms: KeyedLocks<String>,
    /// One command at a time per file.
    pub files: KeyedLocks<PathBuf>,
    /// Bridges share physical interfaces, addresses and routes: one change at a time.
    pub bridges: Mutex<()>,
    /// Security groups are one table: one change at a time.
    pub firewall: Mutex<()>,
    /// Says to the controllers that this host lives.
    pub heart: Heart,
    /// For fetching images.
    pub http: Http,
    /// Serves L3 networks on this host.
    pub vrouter: Vrouter,
    /// Held as long as this lives: two agents would sweep away each other's work.
    _alone: fs::File,
}

/// What the controller said when it connected this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Introduction {
    pub host_uuid: String,
    pub send_command_url: String,
    pub version: String,
}

impl Host {
    /// Must be called within the runtime. Removes what an agent that died left half made.
    pub fn open(config: &Config, door: &Door) -> io::Result<Self> {
        let dir = &config.state_dir;
        private_dir(dir)?;
        let alone = lock(&dir.join("host.lock"))?;
        let libvirt = Libvirt::new(&config.libvirt_uri);
        let verdict = dir.join("kvm.json");
        let test_driver = libvirt.is_test_driver();
        let seeds = if test_driver { dir.join("seeds") } else { seed::DIR.into() };
        Ok(Host {
            probe: Probe::new(config.virt_type, test_driver, config.emulator.clone(), verdict),
            libvirt,
            net: Netlink::open().map_err(io::Error::other)?,
            introduction: Record::open(dir.join("introduction.json"))?,
            storages: Storages::open(dir.join("storages.json"))?,
            shares: Shares::default(),
            consoles: Consoles::default(),
            fencing: Fencing::open(dir)?,
            restarts: Restarts::open(dir.join("restarts"))?,
            seeds: Seeds::open(seeds)?,
            console_log_dir: config.console_log_dir.clone(),
            migration: config.migration_transport,
            allow_power: config.allow_power,
            vms: KeyedLocks::default(),
            files: KeyedLocks::default(),
            bridges: Mutex::default(),
            firewall: Mutex::default(),
            heart: Heart::default(),
            http: crate::localstorage::http(door.live().cloned()).map_err(io::Error::other)?,
            vrouter: Vrouter::beside(door, config.vrouter_agent.as_deref()),
            _alone: alone,
        })
    }
}

fn lock(path: &Path) -> io::Result<fs::File> {
    let file = fs::File::options().create(true).append(true).open(path)?;
    let taken = |_| io::Error::other(format!("{path:?} is locked: another agent uses this state directory"));
    file.try_lock().map_err(taken)?;
    Ok(file)
}

/// A directory that only its owner may look into.
pub fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
