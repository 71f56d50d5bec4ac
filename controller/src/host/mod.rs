//! A host: one hypervisor with its agents.
//!
//! ```text
//!  status   Connecting ──▶ Connected ◀──▶ Disconnected      (pings decide, which heartbeats spare; a
//!                                                            reconnect flow heals)
//!  state    Enabled ◀──▶ Disabled                           (an operator decides; Disabled takes no new VMs)
//!               └▶ PreMaintenance ──▶ Maintenance           (its VMs have left; nobody asks after it)
//! ```
//!
//! A host becomes Connected only when everything that must be on it (bridges, storage) is there: other
//! modules see to that at [`CONNECTING`]. Capacity is what the claims of VMs leave; how much they may claim
//! say settings, of the host, its cluster, its zone or the whole cloud.

mod add;
mod api;
mod cascade;
pub mod driver;
mod heartbeat;
pub mod kvm;
mod maintain;
mod ping;
#[cfg(test)]
pub(crate) mod simulated;
mod store;
mod tag;
#[cfg(test)]
mod tests;

use engine::error::Code;
use engine::flow::Agent;
use engine::hook::{Hook, Point};
use engine::inventory;
use engine::module::Module;
use engine::setting::{AnySetting, Follow, Level, Setting, number, seconds};
use engine::{Engine, Id, Result, Stamp, codes};
use std::time::Duration;

use wire::tls::Peer;

use crate::cluster::Cluster;
use crate::cluster::ClusterInventory;
use crate::machine::MachineInventory;
use crate::machine::{Agents, Machine};
use crate::zone::Zone;
use crate::zone::ZoneInventory;
use engine::query::Relation;

pub use heartbeat::Heartbeats;
pub use ping::{reconnect, suspects, went_down};
pub use store::{
    Room, claim, claim_as_it_is, claim_for_move, connected, connections, grow, growth, leave_room, release,
    release_move, room, shrink, usable,
};

/// Hooks here succeed when there is nothing left to do. They are undone when the host leaves.
pub static CONNECTING: Point<dyn Hook<HostInventory>> = Point::step(
    "host connecting",
    "the host answers, what belongs on it is made; a failure keeps it from being connected; undone when it leaves",
);

/// Hooks here see to it that nothing runs on the host any more.
pub static MAINTAINING: Point<dyn Hook<HostInventory>> =
    Point::onward("host maintaining", "the host gets no more VMs, and those that it has must leave it");

pub const NOT_ITS_OWN: Code = Code("HOST.1001", "a machine spoke for a host that it is not");

/// Marks ids of hosts.
#[derive(Debug)]
pub enum Host {}

inventory! {
    /// A host as the API shows it.
    HostInventory in "host_view" {
        uuid: Id<Host>,
        name: String,
        description: Option<String>,
        zone_uuid: Id<Zone>,
        cluster_uuid: Id<Cluster>,
        management_ip: String,
        machine_uuid: Option<Id<Machine>>,
        hypervisor_type: String,
        state: String,
        status: String,
        username: String,
        ssh_port: i64,
        cpu_num: i64,
        cpu_sockets: i64,
        total_cpu_capacity: i64,
        available_cpu_capacity: i64,
        total_memory_capacity: i64,
        available_memory_capacity: i64,
        architecture: Option<String>,
        os_distribution: Option<String>,
        os_release: Option<String>,
        os_version: Option<String>,
        virt_type: Option<String>,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid").back("host"),
        Relation::one::<ClusterInventory>("cluster", "cluster_uuid").back("host"),
        Relation::one::<MachineInventory>("machine", "machine_uuid").back("host"),
    ]
}

impl HostInventory {
    /// The agent that listens on `port` of this host.
    pub fn agent(&self, engine: &Engine, program: &str, port: u16) -> Agent {
        Agent {
            url: engine.of::<Agents>().url(self.machine_uuid, &self.management_ip, port),
            name: format!("the {program} of host \"{}\"", self.name),
        }
    }

    /// Refuses `peer` when it is another machine than this host.
    pub(crate) fn must_be(&self, engine: &Engine, peer: Option<&Peer>) -> Result<()> {
        match engine.of::<Agents>().is(peer, self.machine_uuid) {
            true => Ok(()),
            false => {
                let details =
                    format!("host \"{}\" is another machine: each speaks for itself alone", self.name);
                Err(NOT_ITS_OWN.because(details))
            }
        }
    }

    pub fn is_connected(&self) -> bool {
        self.status == "Connected"
    }
}

pub(crate) const PING_INTERVAL: Setting<Duration> = Setting {
    category: "host",
    name: "ping.interval",
    default: "60",
    help: "how often each host is pinged, seconds",
    read: seconds,
};
pub(crate) const PING_TIMEOUT: Setting<Duration> = Setting {
    category: "host",
    name: "ping.timeout",
    default: "5",
    help: "how long a ping may take, seconds",
    read: seconds,
};
pub(crate) const PING_TRIES: Setting<i64> = Setting {
    category: "host",
    name: "ping.maxFailure",
    default: "3",
    help: "so many pings in a row must fail before a host counts as disconnected; they follow each other at once",
    read: number::<1, 100>,
};
pub(crate) const HEARTBEAT: Setting<Duration> = Setting {
    category: "host",
    name: "heartbeat.interval",
    default: "10",
    help: "how often each host says that it lives, seconds; one that misses two is pinged at once",
    read: seconds,
};
pub(crate) const CPU_RATIO: Setting<i64> = Setting {
    category: "host",
    name: "cpu.overProvisioning.ratio",
    default: "10",
    help: "how many virtual CPUs one of the host's may carry",
    read: number::<1, 1000>,
};
/// In hundredths.
pub(crate) const MEMORY_RATIO: Setting<i64> = Setting {
    category: "mevoco",
    name: "overProvisioning.memory",
    default: "1.0",
    help: "how much more memory VMs may have together than their host lends them: 1 to 100, as 1.25",
    read: hundredths,
};
pub(crate) const RESERVED_MEMORY: Setting<i64> = Setting {
    category: "kvm",
    name: "reservedMemory",
    default: "1073741824",
    help: "memory of each host that VMs may not take, bytes",
    read: number::<0, MEMORY>,
};

/// More than any host has, bytes; a hundred times a hundred times of it can be counted.
const MEMORY: i64 = 1 << 48;

/// Reads a number of at most two decimal places.
fn hundredths(text: &str) -> Result<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    let read = (digits(whole) && digits(part) && part.len() <= 2)
        .then(|| format!("{whole}{part:0<2}").parse().ok())
        .flatten();
    read.filter(|percent| (100..=10_000).contains(percent)).ok_or_else(|| {
        let details = format!("\"{text}\" is not between 1 and 100, with at most two decimal places");
        codes::INVALID_ARGUMENT.because(details)
    })
}

const LEVELS: &[Level] = &[
    Level { kind: "Host", ladder: store::LADDER },
    Level { kind: "Cluster", ladder: crate::cluster::LADDER },
    Level { kind: "Zone", ladder: crate::zone::LADDER },
];

/// What its own settings allow stands in a host's row, where allocation filters by it.
const ALLOWED: Follow = |tx, above| Box::pin(store::allow(tx, above));

const SETTINGS: &[AnySetting] = &[
    PING_INTERVAL.entry(|text| PING_INTERVAL.accepts(text)).seconds(),
    PING_TIMEOUT.entry(|text| PING_TIMEOUT.accepts(text)).seconds(),
    PING_TRIES.entry(|text| PING_TRIES.accepts(text)).within(1, 100).on(LEVELS),
    HEARTBEAT.entry(|text| HEARTBEAT.accepts(text)).seconds(),
    CPU_RATIO.entry(|text| CPU_RATIO.accepts(text)).within(1, 1000).on(LEVELS).followed(ALLOWED),
    MEMORY_RATIO.entry(|text| MEMORY_RATIO.accepts(text)).on(LEVELS).followed(ALLOWED),
    RESERVED_MEMORY
        .entry(|text| RESERVED_MEMORY.accepts(text))
        .within(0, MEMORY)
        .on(LEVELS)
        .followed(ALLOWED),
];

const EVENTS: &[(&str, &str)] =
    &[("/host/status/changed", "it is connected, or no longer: status"), ("/host/deleted", "it is gone")];

pub fn module() -> Module {
    Module::new("host")
        .query::<HostInventory>("QueryHost", "/hosts")
        .ask::<api::GetHypervisorTypes>()
        .api::<api::AddKVMHost>()
        .api::<api::UpdateHost>()
        .api::<api::UpdateKVMHost>()
        .api::<api::ChangeHostState>()
        .api::<api::ReconnectHost>()
        .api::<api::DeleteHost>()
        .flow::<add::Add>()
        .flow::<add::Reconnect>()
        .flow::<maintain::Maintain>()
        .cascade(&cascade::HostKind, cascade::EDGES)
        .family(&driver::HYPERVISORS)
        .point(&CONNECTING)
        .point(&MAINTAINING)
        .settings(SETTINGS)
        .tags(tag::TAGS)
        .sweep(ping::SWEEP)
        .sweep(ping::SILENCE)
        .events(EVENTS)
        .admin()
}
