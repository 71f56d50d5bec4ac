//! Choosing where a VM runs: a strategy orders the hosts that have the room, and the first that can be
//! claimed is taken. The claim is a conditional insert, so a race for the last room has one winner.
//!
//! The database filters and orders, and pages are small at first: a choice among a hundred thousand hosts
//! reads a few rows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use async_trait::async_trait;
use engine::db::Tx;
use engine::driver::Family;
use engine::inventory::find;
use engine::{ErrorCode, Id, Result, codes, quota};
use serde::{Deserialize, Serialize};

use super::{CPU_NUM, MEMORY_SIZE, NUM, VmInstance, store};
use crate::cluster::Cluster;
use crate::host::{self, Host, HostInventory, RESERVED_MEMORY};
use crate::l3::L3Network;
use crate::primary_storage::{self, PrimaryStorage};
use crate::zone::Zone;

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
}

/// A root volume to be made from an image.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Disk {
    pub image: String,
    /// Bytes of the volume.
    pub size: i64,
    /// Bytes of the image, which the cache must take when it has not got it.
    pub image_size: i64,
}

/// Where it shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub host: Id<Host>,
    /// Where the disk is made, when there is one to make.
    pub storage: Option<Id<PrimaryStorage>>,
}

/// In which order hosts are tried.
#[async_trait]
pub trait Strategy: Sync {
    /// The hosts of a page of its order that are in scope and have the room, the best first.
    async fn hosts(&self, tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Id<Host>>>;
}

/// A part of an order; each is larger than the one before.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub skip: i64,
    pub limit: i64,
}

/// All of them; a new one is a type and a line here.
pub static STRATEGIES: Family<dyn Strategy> = Family {
    kind: "host allocator strategy",
    drivers: &[(LEAST_VM, &LeastVm), ("DefaultHostAllocatorStrategy", &LeastVm)],
};

pub const LEAST_VM: &str = "LeastVmPreferredHostAllocatorStrategy";

/// The host with the fewest VMs first.
struct LeastVm;

#[async_trait]
impl Strategy for LeastVm {
    async fn hosts(&self, tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Id<Host>>> {
        store::emptiest_hosts(tx, demand, page).await
    }
}

/// Claims a place for `vm`, or says host by host why there is none.
pub async fn claim(tx: &mut Tx, vm: Id<VmInstance>, demand: &Demand, strategy: &str) -> Result<Place> {
    let strategy = STRATEGIES.get(strategy)?;
    let (mut page, mut unfit, mut networks) = (Page::FIRST, Vec::new(), Networks::default());
    loop {
        let hosts = match demand.host {
            Some(host) => store::that_host(tx, demand, host).await?,
            None => strategy.hosts(tx, demand, page).await?,
        };
        for host in &hosts {
            match claim_on(tx, vm, demand, *host, &mut networks).await? {
                Ok(place) => {
                    let claimed = [(&NUM, 1), (&CPU_NUM, demand.cpu), (&MEMORY_SIZE, demand.memory)];
                    quota::check(tx, vm, &claimed).await?;
                    return Ok(place);
                }
                Err(reason) if unfit.len() < SHOWN => unfit.push(reason),
                Err(_) => {}
            }
        }
        if demand.host.is_some() || !page.is_full(&hosts) {
            return Err(nowhere(tx, demand, unfit).await?);
        }
        page = page.next();
    }
}

/// How many hosts are named when none can take a VM.
const SHOWN: usize = 5;

/// What L2 network a cluster lacks for the VM, if one, as far as it was asked.
type Networks = HashMap<Id<Cluster>, Option<String>>;

impl Page {
    const FIRST: Page = Page { skip: 0, limit: 4 };

    fn is_full<T>(self, found: &[T]) -> bool {
        i64::try_from(found.len()).is_ok_and(|found| found >= self.limit)
    }

    fn next(self) -> Page {
        Page { skip: self.skip + self.limit, limit: (self.limit * 8).min(4096) }
    }
}

/// Claims a place on a host that has the room for `vm`, or tells why it cannot be there.
async fn claim_on(
    tx: &mut Tx,
    vm: Id<VmInstance>,
    demand: &Demand,
    host: Id<Host>,
    networks: &mut Networks,
) -> Result<Result<Place, String>> {
    let host: HostInventory = find(tx, host).await?;
    let reserved = tx.engine().setting(&RESERVED_MEMORY);
    if let Some(reason) = unusable(&host, demand, reserved) {
        return Ok(Err(reason));
    }
    let missing = match networks.entry(host.cluster_uuid) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(store::missing_l2(tx, &host, &demand.l3_networks).await?),
    };
    if let Some(l2) = missing {
        let name = &host.name;
        return Ok(Err(format!("host \"{name}\" has no L2 network \"{l2}\": attach it to its cluster")));
    }
    let storage = match &demand.disk {
        None => None,
        Some(disk) => match room(tx, demand, disk, host.uuid).await? {
            Some(storage) => Some(storage),
            None => {
                return Ok(Err(format!("host \"{}\" has no primary storage with enough room", host.name)));
            }
        },
    };
    match host::claim(tx, vm.cast(), host.uuid, demand.cpu, demand.memory).await? {
        true => Ok(Ok(Place { host: host.uuid, storage })),
        false => Ok(Err(format!("host \"{}\" was filled up meanwhile", host.name))),
    }
}

/// Why no host can take the VM: what was told of those with room, and what is wrong with others.
async fn nowhere(tx: &mut Tx, demand: &Demand, mut unfit: Vec<String>) -> Result<ErrorCode> {
    let total = store::count_in_scope(tx, demand).await?;
    if total == 0 {
        let details =
            "no host can take the VM: there is no host in the zone, cluster and networks that it wants";
        return Ok(NO_HOST.because(details));
    }
    let reserved = tx.engine().setting(&RESERVED_MEMORY);
    for host in store::some_in_scope(tx, demand).await? {
        unfit.extend(unusable(&host, demand, reserved).filter(|reason| !unfit.contains(reason)));
    }
    unfit.truncate(SHOWN);
    let more = total.saturating_sub(unfit.len());
    let tail = if more > 0 { format!("; and {more} more") } else { String::new() };
    Ok(NO_HOST.because(format!("no host can take the VM: {}{tail}", unfit.join("; "))))
}

/// ZStack's code for it.
pub const NO_HOST: engine::error::Code = engine::error::Code("HOST.1004", "no host can be allocated");

fn unusable(host: &HostInventory, demand: &Demand, reserved: i64) -> Option<String> {
    let (cpu, memory) = (host.available_cpu_capacity, host.available_memory_capacity - reserved);
    let mib = |bytes: i64| bytes.max(0) >> 20;
    let reason = if host.state != "Enabled" {
        format!("is {}", host.state)
    } else if !host.is_connected() {
        format!("is {}", host.status)
    } else if host.hypervisor_type != demand.hypervisor {
        format!("runs {}", host.hypervisor_type)
    } else if cpu < demand.cpu {
        format!("has {cpu} CPUs left, {} are needed", demand.cpu)
    } else if memory < demand.memory {
        format!("has {} MiB of memory left, {} are needed", mib(memory), mib(demand.memory))
    } else {
        return None;
    };
    Some(format!("host \"{}\" {reason}", host.name))
}

/// The emptiest storage of the host that takes the disk, and its image when it is not cached.
async fn room(
    tx: &mut Tx,
    demand: &Demand,
    disk: &Disk,
    host: Id<Host>,
) -> Result<Option<Id<PrimaryStorage>>> {
    let candidates = primary_storage::candidates(tx, host, &disk.image).await?;
    let wanted = candidates.into_iter().filter(|c| demand.storage.is_none_or(|wanted| c.storage == wanted));
    let needed = |cached: bool| disk.size + if cached { 0 } else { disk.image_size };
    Ok(wanted.into_iter().find(|c| c.available >= needed(c.cached)).map(|c| c.storage))
}

/// Checks a strategy's name where a user gives one.
pub fn check_strategy(name: &str) -> Result<()> {
    STRATEGIES.get(name).map(|_| ())
}

/// Refuses what could never fit anywhere.
pub fn check_size(cpu: i64, memory: i64) -> Result<()> {
    const LEAST_MEMORY: i64 = 16 << 20;
    match (cpu, memory) {
        (1..=1024, LEAST_MEMORY..) => Ok(()),
        (1..=1024, _) => Err(codes::INVALID_ARGUMENT.because(format!(
            "a VM needs at least {} MiB of memory, {memory} bytes are too few",
            LEAST_MEMORY >> 20
        ))),
        _ => Err(codes::INVALID_ARGUMENT.because(format!("a VM has 1 to 1024 CPUs, not {cpu}"))),
    }
}
