//! What the agent tells the fencer, in a file: the storages that it shall keep leases of.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::lease::Terms;
use crate::record::replace;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// Grows with every change: no order has the number of an earlier one.
    pub orders: u64,
    /// By uuid.
    pub storages: BTreeMap<String, Order>,
}

/// One storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// Which one it is.
    pub number: u64,
    /// The first one that named the storage without it having been cancelled since.
    pub since: u64,
    pub mount_path: String,
    /// This host's uuid.
    pub host: String,
    /// Seconds.
    pub interval: u64,
    pub max_attempts: u64,
    pub spares: bool,
}

impl Plan {
    pub fn read(dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path(dir))?)?)
    }

    /// Adds or replaces one.
    pub fn order(&mut self, uuid: &str, order: Order) {
        self.orders += 1;
        let number = self.orders;
        let same = |known: &&Order| (&known.host, &known.mount_path) == (&order.host, &order.mount_path);
        let since = self.storages.get(uuid).filter(same).map_or(number, |known| known.since);
        self.storages.insert(uuid.to_owned(), Order { number, since, ..order });
    }

    /// Those below which one of `text`'s paths lies.
    pub fn touched(&self, text: &str) -> BTreeSet<String> {
        let below = |order: &&Order| text.contains(&format!("{}/", order.mount_path.trim_end_matches('/')));
        let touched = self.storages.iter().filter(|(_, order)| below(order));
        touched.map(|(uuid, _)| uuid.clone()).collect()
    }
}

impl Order {
    pub fn terms(&self) -> Terms {
        Terms { lasts: Duration::from_secs(self.interval * self.max_attempts), spares: self.spares }
    }
}

/// Where the agent writes it and the fencer reads it.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("plan.json")
}

/// Remembers that this host was given up on a storage under an order: nothing starts there before the next one.
/// On the disk when it returns.
pub fn give_up(dir: &Path, uuid: &str, order: u64) -> io::Result<()> {
    replace(&given_up_path(dir, uuid), order.to_string().as_bytes())
}

/// Under which order this host was last given up; a note that cannot be read is one that says "now".
pub fn given_up(dir: &Path, uuid: &str) -> Option<u64> {
    match std::fs::read_to_string(given_up_path(dir, uuid)) {
        Ok(text) => Some(text.parse().unwrap_or(u64::MAX)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(u64::MAX),
    }
}

/// Notes that there is a lease of this storage since that order. On the disk when it returns.
pub fn begin(dir: &Path, uuid: &str, since: u64) -> io::Result<()> {
    replace(&begun_path(dir, uuid), since.to_string().as_bytes())
}

/// Whether there may be a lease of this storage since that order.
pub fn has_begun(dir: &Path, uuid: &str, since: u64) -> bool {
    match std::fs::read_to_string(begun_path(dir, uuid)) {
        Ok(text) => text == since.to_string(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn begun_path(dir: &Path, uuid: &str) -> PathBuf {
    dir.join(format!("begun-{uuid}"))
}

fn given_up_path(dir: &Path, uuid: &str) -> PathBuf {
    dir.join(format!("given-up-{uuid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_found_by_the_paths_of_a_vm() {
        let mut plan = Plan::default();
        for (uuid, mount) in [("a", "/mnt/a"), ("b", "/mnt/b/")] {
            plan.order(uuid, Order { mount_path: mount.into(), ..Order::default() });
        }
        assert_eq!((plan.storages["b"].number, plan.storages["b"].since), (2, 2));
        plan.order("b", plan.storages["b"].clone());
        assert_eq!((plan.storages["b"].number, plan.storages["b"].since), (3, 2));
        let touched = |text: &str| plan.touched(text).into_iter().collect::<Vec<_>>().concat();
        assert_eq!(touched("<source file='/mnt/a/x.qcow2'/><source file='/mnt/bc/y'/>"), "a");
        assert_eq!(touched("/mnt/b/x /mnt/a/y"), "ab");
        assert_eq!(touched("/var/mnt"), "");
    }

    #[test]
    fn a_host_stays_given_up_until_the_next_order() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(given_up(dir.path(), "a"), None);
        give_up(dir.path(), "a", 7).unwrap();
        assert_eq!(given_up(dir.path(), "a"), Some(7));
        std::fs::write(dir.path().join("given-up-a"), "damaged").unwrap();
        assert_eq!(given_up(dir.path(), "a"), Some(u64::MAX));
    }
}
