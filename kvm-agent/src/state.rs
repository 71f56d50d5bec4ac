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
use wire::tls::{Http, Live};

use crate::config::Config;
use crate::keyed::KeyedLocks;
use crate::localstorage::Storages;
use crate::record::Record;
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
    pub consoles: Consoles,
    pub restarts: Restarts,
    pub console_log_dir: Option<PathBuf>,
    /// One command at a time per VM, whoever sends it.
    pub vms: KeyedLocks<String>,
    /// One command at a time per file.
    pub files: KeyedLocks<PathBuf>,
    /// Bridges share physical interfaces, addresses and routes: one change at a time.
    pub bridges: Mutex<()>,
    /// Says to the controllers that this host lives.
    pub heart: Heart,
    /// For fetching images.
    pub http: Http,
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
    pub fn open(config: &Config, live: Option<Live>) -> io::Result<Self> {
        let dir = &config.state_dir;
        private_dir(dir)?;
        let alone = lock(&dir.join("host.lock"))?;
        let libvirt = Libvirt::new(&config.libvirt_uri);
        let verdict = dir.join("kvm.json");
        let test_driver = libvirt.is_test_driver();
        Ok(Host {
            probe: Probe::new(config.virt_type, test_driver, config.emulator.clone(), verdict),
            libvirt,
            net: Netlink::open().map_err(io::Error::other)?,
            introduction: Record::open(dir.join("introduction.json"))?,
            storages: Storages::open(dir.join("storages.json"))?,
            consoles: Consoles::default(),
            restarts: Restarts::open(dir.join("restarts"))?,
            console_log_dir: config.console_log_dir.clone(),
            vms: KeyedLocks::default(),
            files: KeyedLocks::default(),
            bridges: Mutex::default(),
            heart: Heart::default(),
            http: crate::localstorage::http(live).map_err(io::Error::other)?,
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
