//! Choosing where a VM runs: a strategy orders the hosts that have the room, sorters put some first or last,
//! and the first that passes all filters is taken. The claim is a conditional insert, so a race for the last
//! room has one winner.
//!
//! The database filters by room and orders, and pages are small at first: a choice among a hundred thousand
//! hosts reads a few rows, each with its room, in one statement.

mod filter;
mod look;
mod order;
mod sorter;
mod store;
mod strategy;

use std::collections::{BTreeMap, HashSet};

use engine::db::Tx;
use engine::quota::{self, Quota};
use engine::{Any, ErrorCode, Id, Result, codes};
use serde::{Deserialize, Serialize};

use super::{CPU_NUM, MEMORY_SIZE, NUM, VmInstance};
use crate::affinity_group::AffinityGroup;
use crate::cluster::Cluster;
use crate::host::{self, Host, HostInventory, Room};
use crate::l3::L3Network;
use crate::primary_storage::PrimaryStorage;
use crate::zone::Zone;

pub use filter::{FILTERS, Filter};
pub use look::{Look, Refusal};
pub(super) use order::Order;
pub use sorter::{SORTERS, Sorter};
pub use strategy::{LEAST_VM, MIGRATE_VM, STRATEGIES, Strategy};

/// What a VM needs of a place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Demand {
    pub hypervisor: String,
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    pub l3_networks: Vec<Id<L3Network>>,
    pub zone: Option<Id<Zone>>,
    pub cluster: Option<Id<Cluster>>,
    pub host: Option<Id<Host>>,
    /// Where the root volume shall lie; any when absent.
    pub storage: Option<Id<PrimaryStorage>>,
    /// The root volume to be made; absent when it exists.
    pub disk: Option<Disk>,
    /// The VM itself, when it is there already: it is no neighbour of its own.
    #[serde(default)]
    pub vm: Option<Id<VmInstance>>,
    /// Where it was last.
    #[serde(default)]
    pub last: Option<Id<Host>>,
    /// The host that it is to leave.
    #[serde(default)]
    pub avoid: Option<Id<Host>>,
    /// The affinity groups that it is in.
    #[serde(default)]
    pub groups: Vec<Id<AffinityGroup>>,
    /// Users' tags, all of which its host must carry.
    #[serde(default)]
    pub host_tags: Vec<String>,
    /// The shared storages of volumes that exist, which its host must have.
    #[serde(default)]
    pub storages: Vec<Id<PrimaryStorage>>,
}

/// A root volume to be made from an image.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Disk {
    pub image: String,
    /// Bytes of the volume.
    pub size: i64,
    /// Bytes of the image, which the cache must take when it has not got it.
    pub image_size: i64,
    /// Bytes of the data volumes that are made beside it.
    #[serde(default)]
    pub more: i64,
}

/// Where it shall be.
#[derive(Clone, Debug)]
pub struct Place {
    pub host: HostInventory,
    /// Where the disk is made, when there is one to make.
    pub storage: Option<Id<PrimaryStorage>>,
}

/// A host that might be it.
#[derive(Clone, Debug, engine::db::Row)]
pub struct Candidate {
    #[row(flatten)]
    pub host: HostInventory,
    #[row(flatten)]
    pub room: Room,
    /// Memory that VMs may not take, bytes.
    pub reserved: i64,
    pub vms: i64,
    pub cluster_name: String,
    pub cluster_state: String,
    pub zone_name: String,
    pub zone_state: String,
}

/// A part of an order; each is larger than the one before.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub skip: i64,
    pub limit: i64,
    /// A number for orders of chance, the same for all pages of one.
    pub chance: u64,
}

/// Finds a place, or says what keeps the VM from every host.
pub async fn choose(tx: &mut Tx, demand: &Demand, strategy: &str) -> Result<Place> {
    let mut look = Look::of(tx, demand).await?;
    let mut order = Order::of(&look, strategy)?;
    let mut tally = Tally::default();
    while let Some(hosts) = order.next(tx, demand).await? {
        for host in hosts {
            match look.at(tx, &host).await? {
                Ok(place) => return Ok(place),
                Err(refusal) => tally.add(&host, refusal),
            }
        }
    }
    Err(nowhere(tx, &mut look, tally).await?)
}

/// So many hosts are listed, or counted by reason, at most.
pub(super) const LISTED: usize = 1000;

/// Every place that would do, the best first.
pub async fn places(tx: &mut Tx, demand: &Demand, strategy: &str) -> Result<Vec<Place>> {
    let mut look = Look::of(tx, demand).await?;
    let mut order = Order::of(&look, strategy)?;
    let mut places = Vec::new();
    while let Some(hosts) = order.next(tx, demand).await? {
        for host in hosts {
            places.extend(look.at(tx, &host).await?.ok());
        }
        if places.len() >= LISTED {
            break;
        }
    }
    Ok(places)
}

/// The storages of a host that take the disk that is demanded, the emptiest first.
pub async fn storages(tx: &mut Tx, demand: &Demand, host: Id<Host>) -> Result<Vec<Id<PrimaryStorage>>> {
    match &demand.disk {
        Some(disk) => filter::roomy(tx, demand, disk, host).await,
        None => Ok(Vec::new()),
    }
}

/// Hosts in the zone and cluster that are wanted, whatever their state, by their uuids; and how many there are.
pub(super) async fn in_scope(tx: &mut Tx, demand: &Demand, most: usize) -> Result<(Vec<Candidate>, usize)> {
    let found = store::some_in_scope(tx, demand, most).await?;
    let total = if found.len() < most { found.len() } else { store::count_in_scope(tx, demand).await? };
    Ok((found, total))
}

/// Claims what `vm` takes of a host that was chosen in the same transaction, and `more` of its account.
pub async fn claim(
    tx: &mut Tx,
    vm: Id<VmInstance>,
    demand: &Demand,
    host: &HostInventory,
    more: &[(&Quota, i64)],
) -> Result<()> {
    if !host::claim(tx, vm.cast(), host.uuid, demand.cpu, demand.memory).await? {
        let details = format!("host \"{}\" was filled up meanwhile: try again", host.name);
        return Err(NO_HOST.because(details));
    }
    let claimed = [(&NUM, 1), (&CPU_NUM, demand.cpu), (&MEMORY_SIZE, demand.memory)];
    quota::check(tx, vm, &[&claimed, more].concat()).await
}

/// So many hosts are read at first.
const FEW: i64 = 4;

impl Page {
    pub fn first() -> Page {
        // The upper half: the lower one begins with two bits that are the same in all ids.
        let chance = u64::try_from(Id::<Any>::random().bits() >> 64).unwrap_or(0);
        Page { skip: 0, limit: FEW, chance }
    }

    pub(super) fn is_first(self) -> bool {
        self.skip == 0 && self.limit == FEW
    }

    pub(super) fn is_full<T>(self, found: &[T]) -> bool {
        i64::try_from(found.len()).is_ok_and(|found| found >= self.limit)
    }

    pub(super) fn next(self) -> Page {
        Page { skip: self.skip + self.limit, limit: (self.limit * 8).min(4096), ..self }
    }
}

/// How many hosts are named when none can take a VM.
const SHOWN: usize = 5;

/// What keeps a VM from the hosts that were looked at: some by name, all by filter.
#[derive(Debug, Default)]
pub(super) struct Tally {
    said: Vec<String>,
    seen: HashSet<Id<Host>>,
    by_filter: BTreeMap<&'static str, usize>,
}

impl Tally {
    pub fn add(&mut self, host: &Candidate, refusal: Refusal) {
        if !self.seen.insert(host.host.uuid) {
            return;
        }
        *self.by_filter.entry(refusal.filter).or_default() += 1;
        if self.said.len() < SHOWN {
            self.said.push(format!("host \"{}\" {}", host.host.name, refusal.reason));
        }
    }

    /// `host "a" is Disabled; host "b" …; of 12 hosts 11 fail at HostState, 1 at HostCapacity`
    pub fn told(&self, total: usize) -> String {
        let mut counts: Vec<_> = self.by_filter.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let counts: Vec<_> = counts.iter().map(|(filter, count)| format!("{count} at {filter}")).collect();
        let mut said = self.said.join("; ");
        if total > self.said.len() {
            said = format!("{said}; of {total} hosts {} fail {}", self.seen.len(), counts.join(", "));
        }
        said
    }
}

/// Why no host can take the VM: what was told of those with room, and what is wrong with the others.
async fn nowhere(tx: &mut Tx, look: &mut Look<'_>, mut tally: Tally) -> Result<ErrorCode> {
    let (hosts, total) = in_scope(tx, look.demand, LISTED).await?;
    if total == 0 {
        let details =
            "no host can take the VM: there is no host in the zone, cluster and networks that it wants";
        return Ok(NO_HOST.because(details));
    }
    for host in hosts {
        if let Some(refusal) = look.known(&host) {
            tally.add(&host, refusal);
        }
    }
    Ok(NO_HOST.because(format!("no host can take the VM: {}", tally.told(total))))
}

/// ZStack's code for it.
pub const NO_HOST: engine::error::Code = engine::error::Code("HOST.1004", "no host can be allocated");

/// Checks a strategy's name where a user gives one.
pub fn check_strategy(name: &str) -> Result<()> {
    STRATEGIES.get(name).map(|_| ())
}

/// No VM has less, bytes.
pub const LEAST_MEMORY: i64 = 16 << 20;

/// Refuses what could never fit anywhere.
pub fn check_size(cpu: i64, memory: i64) -> Result<()> {
    match (cpu, memory) {
        (1..=1024, LEAST_MEMORY..) => Ok(()),
        (1..=1024, _) => Err(codes::INVALID_ARGUMENT.because(format!(
            "a VM needs at least {} MiB of memory, {memory} bytes are too few",
            LEAST_MEMORY >> 20
        ))),
        _ => Err(codes::INVALID_ARGUMENT.because(format!("a VM has 1 to 1024 CPUs, not {cpu}"))),
    }
}

#[cfg(test)]
mod tests;
