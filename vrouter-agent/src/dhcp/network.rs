//! What this host serves for one L3 network, as remembered on disk so that a restart finds it again and
//! commands can add to it and take from it.
//!
//! `<state>/networks/<namespace>/network.json` is the record; `dnsmasq/` beside it holds what dnsmasq
//! reads, derived from the record. The record is replaced as a whole or not at all.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::{fs, os::unix::fs::PermissionsExt};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use wire::Fault;

use super::lease::Lease;
use super::name::Name;

const RECORD: &str = "network.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub name: Name,
    /// The server's own address in its network.
    pub server: Ipv4Net,
    /// By MAC address; no two hold the same address.
    pub leases: BTreeMap<String, Lease>,
}

/// The directory with all records.
#[derive(Clone, Debug)]
pub struct Records {
    dir: PathBuf,
}

impl Network {
    /// Serves `lease`, too. It takes the place of what its MAC or its address had before: the controller
    /// allocates, and what it says last is so.
    pub fn serve(&mut self, lease: Lease) {
        self.leases.retain(|_, other| other.ip != lease.ip);
        self.leases.insert(lease.mac.clone(), lease);
    }

    /// Serves `mac` no longer; a MAC that has another address by now keeps it.
    pub fn release(&mut self, mac: &str, ip: Ipv4Addr) {
        if self.leases.get(mac).is_some_and(|lease| lease.ip == ip) {
            self.leases.remove(mac);
        }
    }

    pub fn gateway(&self) -> Option<Ipv4Addr> {
        let within = |gateway: &Ipv4Addr| self.server.contains(gateway) && *gateway != self.server.addr();
        self.leases.values().filter_map(|lease| lease.gateway).find(within)
    }
}

/// Refuses leases that contradict each other: one command cannot mean both.
pub fn check_distinct(leases: &[Lease]) -> Result<(), Fault> {
    let (mut macs, mut ips) = (HashSet::new(), HashSet::new());
    for lease in leases {
        if !macs.insert(&lease.mac) {
            return Err(Fault::new(format!("mac address {} has two leases in one command", lease.mac)));
        }
        if !ips.insert(lease.ip) {
            return Err(Fault::new(format!("address {} has two leases in one command", lease.ip)));
        }
    }
    Ok(())
}

impl Records {
    /// Below the agent's state directory; made when absent.
    pub fn open(state: &Path) -> io::Result<Self> {
        let dir = state.join("networks");
        fs::create_dir_all(&dir)?;
        Ok(Records { dir: dir.canonicalize()? })
    }

    /// What dnsmasq reads and writes for the network.
    pub fn dnsmasq_dir(&self, name: &Name) -> PathBuf {
        self.of(name).join("dnsmasq")
    }

    /// All networks with a directory here, with or without a readable record.
    pub fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let file_name = entry?.file_name();
            match Name::parse(&file_name.to_string_lossy()) {
                Ok(name) => names.push(name),
                Err(_) => tracing::warn!(dir = ?file_name, "no network's directory: left alone"),
            }
        }
        names.sort();
        Ok(names)
    }

    pub fn load(&self, name: &Name) -> io::Result<Option<Network>> {
        let path = self.of(name).join(RECORD);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => serde_json::from_slice(&text?).map(Some).map_err(|error| {
                let path = path.display();
                io::Error::other(format!(
                    "{path} is not understood, delete the namespace and prepare it again: {error}"
                ))
            }),
        }
    }

    /// Durable when it returns.
    pub fn save(&self, network: &Network) -> io::Result<()> {
        let dir = self.of(&network.name);
        fs::create_dir_all(self.dnsmasq_dir(&network.name))?;
        replace(&dir.join(RECORD), &serde_json::to_vec(network)?, 0o600)?;
        fs::File::open(&dir)?.sync_all()?;
        fs::File::open(&self.dir)?.sync_all()
    }

    pub fn remove(&self, name: &Name) -> io::Result<()> {
        remove_if_there(fs::remove_dir_all(self.of(name)))
    }

    fn of(&self, name: &Name) -> PathBuf {
        self.dir.join(name.to_string())
    }
}

/// The outcome of removing what may be gone already.
pub fn remove_if_there(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Puts `content` at `path`: the old file or the new one is there at any moment, whatever crashes.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a file without a directory"))?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
    file.write_all(content)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::calls::dhcp::Lease as Wanted;

    fn lease(mac: u8, ip: u8) -> Lease {
        let (mac, ip) = (format!("52:54:00:00:00:{mac:02x}"), format!("10.4.0.{ip}"));
        Lease::check(&Wanted { mac, ip, ..Wanted::default() }, "10.4.0.1/24".parse().unwrap()).unwrap()
    }

    fn network() -> Network {
        let name = Name::parse("br0_0189aabbccdd7eeeafff112233445566").unwrap();
        Network { name, server: "10.4.0.1/24".parse().unwrap(), leases: BTreeMap::new() }
    }

    #[test]
    fn an_address_changes_hands_and_is_never_held_twice() {
        let mut network = network();
        network.serve(lease(1, 9));
        network.serve(lease(2, 9));
        assert_eq!(network.leases.keys().collect::<Vec<_>>(), ["52:54:00:00:00:02"]);
        assert!(check_distinct(&[lease(1, 9), lease(2, 9)]).is_err());
        assert!(check_distinct(&[lease(1, 8), lease(1, 9)]).is_err());
        assert!(check_distinct(&[lease(1, 8), lease(2, 9)]).is_ok());
    }

    #[test]
    fn a_late_release_of_the_old_address_keeps_the_new_one() {
        let mut network = network();
        network.serve(lease(1, 8));
        network.serve(lease(1, 9));
        network.release("52:54:00:00:00:01", "10.4.0.8".parse().unwrap());
        assert_eq!(network.leases.len(), 1);
        network.release("52:54:00:00:00:01", "10.4.0.9".parse().unwrap());
        assert!(network.leases.is_empty());
    }

    #[test]
    fn a_record_is_found_again_and_a_torn_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        let mut network = network();
        assert_eq!(records.load(&network.name).unwrap(), None);
        network.serve(lease(1, 8));
        records.save(&network).unwrap();
        assert_eq!(records.load(&network.name).unwrap().as_ref(), Some(&network));
        fs::write(records.of(&network.name).join(RECORD), "{").unwrap();
        assert!(records.load(&network.name).unwrap_err().to_string().contains("not understood"));
        assert_eq!(records.names().unwrap(), [network.name.clone()]);
        records.remove(&network.name).unwrap();
        records.remove(&network.name).unwrap();
        assert!(records.names().unwrap().is_empty());
    }
}
