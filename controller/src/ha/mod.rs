//! High availability: a host that is down is given up, on evidence, and its VMs are started elsewhere; VMs that
//! shall always run are started again.
//!
//! ```text
//!           pings fail        evidence that it is down       each storage is told: it writes no more
//!  quiet ──────────────▶ Watching ──────────────────▶ Fencing ──────────────────▶ Fenced ──▶ its VMs are Stopped
//!    ▲                      │ it lives, or nobody knows        │ it lives                     (or Unknown)
//!    │                      ▼                                  ▼                          │ it is connected again
//!    └── Returned      Alive, Undecided, Held ◀────────────────┘                          ▼
//!                       (looked at again and again)                                    Returned
//! ```
//!
//! Invariants:
//! * Pings never give a host up. Evidence does: the leases that its fencer renews on the storages of its VMs have
//!   all been silent for longer than the fencer waits until it kills, and none anywhere was renewed; or the
//!   machine's controller answers that it is switched off.
//! * A VM is written Stopped, so that it can start elsewhere, only when every storage that it has a disk on was
//!   fenced in the same spell of absence. `host.connections` counts the spells: what was learnt before a host was
//!   connected again is worth nothing after it.
//! * What is started again is written down with the VM (`vm::fallen`), so no crash forgets or repeats it; what a
//!   user stops is not started.

mod api;
mod bury;
mod evidence;
mod fencer;
mod give_up;
mod leases;
mod level;
pub mod power;
mod restart;
mod store;
#[cfg(test)]
mod tests;
mod trouble;
mod watch;

use std::time::Duration;

use engine::error::Code;
use engine::module::Module;
use engine::query::Relation;
use engine::setting::{AnySetting, Setting, number, plain, seconds};
use engine::sweep::{By, Sweep};
use engine::{Id, Stamp, inventory};

use crate::host::{self, Host, HostInventory};
use crate::primary_storage;
use crate::vm::allocate::FILTERS;

pub use trouble::killed;

pub const NO_EVIDENCE: Code = Code("HA.1001", "there is no evidence that the host is down");
pub const TOO_MANY: Code = Code("HA.1002", "too many hosts were given up lately");

/// Marks ids of fencings.
#[derive(Debug)]
pub enum HostFencing {}

inventory! {
    /// How giving a host up stands, or how it ended last.
    HostFencingInventory in "ha_fencing" {
        uuid: Id<HostFencing>,
        host_uuid: Id<Host>,
        state: String,
        /// Why it is in that state.
        reason: String,
        /// What showed that it is down.
        evidence: Option<String>,
        #[serde(skip)]
        connection: i64,
        fenced_date: Option<Stamp>,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [Relation::one::<HostInventory>("host", "host_uuid").back("fencing")]
}

/// What a fencer does to VMs whose storage it cannot reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Force,
    Permissive,
}

impl std::str::FromStr for Strategy {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "Force" => Ok(Strategy::Force),
            "Permissive" => Ok(Strategy::Permissive),
            _ => Err("must be Force or Permissive"),
        }
    }
}

impl Strategy {
    fn word(self) -> &'static str {
        match self {
            Strategy::Force => "Force",
            Strategy::Permissive => "Permissive",
        }
    }
}

pub(crate) const ENABLE: Setting<bool> = Setting {
    category: "ha",
    name: "enable",
    default: "true",
    help: "whether hosts are given up and VMs started again; fencers are set up when hosts are connected",
    read: plain,
};
pub(crate) const FENCER_INTERVAL: Setting<i64> = Setting {
    category: "ha",
    name: "host.selfFencer.interval",
    default: "2",
    help: "how often a host renews its lease on a shared storage, seconds; from its next connection on",
    read: number::<1, 15>,
};
pub(crate) const FENCER_ATTEMPTS: Setting<i64> = Setting {
    category: "ha",
    name: "host.selfFencer.maxAttempts",
    default: "5",
    help: "after so many intervals without a renewal a host kills its VMs on that storage",
    read: number::<2, 20>,
};
pub(crate) const CHECK_TIMEOUT: Setting<i64> = Setting {
    category: "ha",
    name: "host.selfFencer.storageChecker.timeout",
    default: "5",
    help: "how long a look at a storage may take, seconds",
    read: number::<1, 600>,
};
pub(crate) const STRATEGY: Setting<Strategy> = Setting {
    category: "ha",
    name: "host.selfFencer.strategy",
    default: "Force",
    help: "Force kills VMs whose storage the host cannot reach; Permissive only tells, and leases are no evidence then",
    read: plain,
};
pub(crate) const CAP: Setting<i64> = Setting {
    category: "ha",
    name: "fencing.cap",
    default: "2",
    help: "so many hosts of a zone may be given up within fencing.window; more wait for an operator, or for time",
    read: number::<0, 10_000>,
};
pub(crate) const WINDOW: Setting<Duration> = Setting {
    category: "ha",
    name: "fencing.window",
    default: "600",
    help: "for how long a host that was given up counts for fencing.cap, seconds",
    read: seconds,
};
pub(crate) const INTERVAL: Setting<Duration> = Setting {
    category: "ha",
    name: "interval",
    default: "1",
    help: "how often hosts that are lost and VMs that are to be started again are looked for, seconds",
    read: seconds,
};
pub(crate) const LONGEST_PAUSE: Setting<Duration> = Setting {
    category: "ha",
    name: "restart.longestPause",
    default: "600",
    help: "the pauses between starts of a VM that does not stay up grow to at most so many seconds",
    read: seconds,
};

const SETTINGS: &[AnySetting] = &[
    ENABLE.entry(|text| ENABLE.accepts(text)).one_of(&["true", "false"]),
    FENCER_INTERVAL.entry(|text| FENCER_INTERVAL.accepts(text)).within(1, 15),
    FENCER_ATTEMPTS.entry(|text| FENCER_ATTEMPTS.accepts(text)).within(2, 20),
    CHECK_TIMEOUT.entry(|text| CHECK_TIMEOUT.accepts(text)).within(1, 600),
    STRATEGY.entry(|text| STRATEGY.accepts(text)).one_of(&["Force", "Permissive"]),
    CAP.entry(|text| CAP.accepts(text)).within(0, 10_000),
    WINDOW.entry(|text| WINDOW.accepts(text)).seconds(),
    INTERVAL.entry(|text| INTERVAL.accepts(text)).seconds(),
    LONGEST_PAUSE.entry(|text| LONGEST_PAUSE.accepts(text)).seconds(),
];

const WATCH: Sweep = Sweep {
    name: "lost hosts",
    every: |engine| engine.setting(&INTERVAL),
    by: By::Each,
    pass: |engine| Box::pin(watch::pass(engine)),
};

const RESTARTS: Sweep = Sweep {
    name: "vm restarts",
    every: |engine| engine.setting(&INTERVAL),
    by: By::Each,
    pass: |engine| Box::pin(restart::pass(engine)),
};

const EVENTS: &[(&str, &str)] = &[
    ("/ha/host/changed", "how giving it up stands: state, reason"),
    ("/ha/host/fenced", "it was given up: evidence, name"),
    ("/ha/host/killed", "it has killed VMs whose storage it had lost: reason, vmUuids"),
    ("/ha/vm/lost", "its host was given up, it is Stopped: hostUuid"),
    ("/ha/vm/left", "its host was given up, and it cannot run elsewhere: hostUuid, reason"),
    ("/ha/vm/restarting", "it has fallen and is started again: attempt"),
    ("/ha/vm/restartFailed", "it could not be started again, and will be tried: error"),
];

pub fn module() -> Module {
    Module::new("ha")
        .query::<HostFencingInventory>("QueryHostFencing", "/hosts/fencings")
        .ask::<api::GetHostFencing>()
        .api::<api::GiveUpHost>()
        .api::<power::SetHostPower>()
        .api::<power::DeleteHostPower>()
        .api::<power::GetHostPowerStatus>()
        .api::<power::PowerOnHost>()
        .api::<power::PowerResetHost>()
        .api::<power::ShutdownHost>()
        .flow::<power::Switch>()
        .flow::<give_up::GiveUp>()
        .family(&evidence::EVIDENCE)
        .family(&power::POWERS)
        .hook(&primary_storage::JOINED, "fencers", &fencer::Fencers)
        .hook(&host::MAINTAINING, "fencers", &fencer::Parting)
        .after("vms")
        .driver(&FILTERS, "SelfFenced", &trouble::SelfFenced)
        .settings(SETTINGS)
        .sweep(WATCH)
        .sweep(RESTARTS)
        .events(EVENTS)
        .admin()
        .flow::<bury::Bury>()
}

/// What an account says of its own VMs.
pub fn levels() -> Module {
    Module::new("ha levels")
        .category("instance")
        .api::<level::SetVmInstanceHaLevel>()
        .api::<level::DeleteVmInstanceHaLevel>()
        .ask::<level::GetVmInstanceHaLevel>()
        .tags(&[level::LEVEL])
}
