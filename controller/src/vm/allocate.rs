//! Choosing where a VM runs: filters first, then a strategy orders what is left, then the first that can
//! be claimed is taken. The claim is a conditional insert, so a race for the last room has one winner.

use async_trait::async_trait;
use engine::db::Tx;
use engine::driver::Family;
use engine::{ErrorCode, Id, Result, codes};
use serde::{Deserialize, Serialize};

use super::{VmInstance, store};
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

/// Orders the hosts that are left.
#[async_trait]
pub trait Strategy: Sync {
    /// The best first.
    async fn order(&self, tx: &mut Tx, hosts: Vec<HostInventory>) -> Result<Vec<HostInventory>>;
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
    async fn order(&self, tx: &mut Tx, mut hosts: Vec<HostInventory>) -> Result<Vec<HostInventory>> {
        let counts = store::vms_by_host(tx).await?;
        hosts.sort_by_key(|host| (counts.get(&host.uuid).copied().unwrap_or(0), host.uuid));
        Ok(hosts)
    }
}

/// Claims a place for `vm`, or says host by host why there is none.
pub async fn claim(tx: &mut Tx, vm: Id<VmInstance>, demand: &Demand, strategy: &str) -> Result<Place> {
    let hosts = store::hosts_in_scope(tx, demand).await?;
    let total = hosts.len();
    let (fit, mut unfit) = filter(tx, demand, hosts).await?;
    for host in STRATEGIES.get(strategy)?.order(tx, fit).await? {
        let storage = match &demand.disk {
            None => None,
            Some(disk) => match room(tx, demand, disk, host.uuid).await? {
                Some(storage) => Some(storage),
                None => {
                    unfit.push(format!("host \"{}\" has no primary storage with enough room", host.name));
                    continue;
                }
            },
        };
        if host::claim(tx, vm.cast(), host.uuid, demand.cpu, demand.memory).await? {
            return Ok(Place { host: host.uuid, storage });
        }
        unfit.push(format!("host \"{}\" was filled up meanwhile", host.name));
    }
    Err(nowhere(total, &unfit))
}

fn nowhere(total: usize, unfit: &[String]) -> ErrorCode {
    const SHOWN: usize = 5;
    let details = match total {
        0 => {
            "no host can take the VM: there is no host in the zone, cluster and networks that it wants".into()
        }
        _ => {
            let more = unfit.len().saturating_sub(SHOWN);
            let tail = if more > 0 { format!("; and {more} more") } else { String::new() };
            let shown: Vec<_> = unfit.iter().take(SHOWN).map(String::as_str).collect();
            format!("no host can take the VM: {}{tail}", shown.join("; "))
        }
    };
    NO_HOST.because(details)
}

/// ZStack's code for it.
pub const NO_HOST: engine::error::Code = engine::error::Code("HOST.1004", "no host can be allocated");

async fn filter(
    tx: &mut Tx,
    demand: &Demand,
    hosts: Vec<HostInventory>,
) -> Result<(Vec<HostInventory>, Vec<String>)> {
    let reserved = tx.engine().setting(&RESERVED_MEMORY);
    let (mut fit, mut unfit) = (Vec::new(), Vec::new());
    for host in hosts {
        let reason = match unusable(&host, demand, reserved) {
            Some(reason) => Some(reason),
            None => store::missing_l2(tx, &host, &demand.l3_networks)
                .await?
                .map(|l2| format!("has no L2 network \"{l2}\": attach it to its cluster")),
        };
        match reason {
            None => fit.push(host),
            Some(reason) => unfit.push(format!("host \"{}\" {reason}", host.name)),
        }
    }
    Ok((fit, unfit))
}

fn unusable(host: &HostInventory, demand: &Demand, reserved: i64) -> Option<String> {
    let memory = host.available_memory_capacity - reserved;
    if host.state != "Enabled" {
        return Some(format!("is {}", host.state));
    }
    if !host.is_connected() {
        return Some(format!("is {}", host.status));
    }
    if host.hypervisor_type != demand.hypervisor {
        return Some(format!("runs {}", host.hypervisor_type));
    }
    if host.available_cpu_capacity < demand.cpu {
        return Some(format!("has {} CPUs left, {} are needed", host.available_cpu_capacity, demand.cpu));
    }
    (memory < demand.memory).then(|| {
        let mib = |bytes: i64| bytes.max(0) >> 20;
        format!("has {} MiB of memory left, {} are needed", mib(memory), mib(demand.memory))
    })
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
