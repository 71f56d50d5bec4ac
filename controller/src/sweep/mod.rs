//! The inventory sweep: what agents have is compared with what the records say they should have.
//!
//! ```text
//!             seen again, long enough          repair
//!  Suspected ────────────────────────▶ Open ─────────▶ Repaired
//!      │ not seen                     │ │ ▲               │ seen
//!      ▼                       ignore │ │ └─ Suspected ◀──┤
//!   (gone)                Ignored ◀───┘ │ not seen        │
//!                                       └──────────────▶ Gone
//! ```
//!
//! * What a live flow works on is in motion and is never judged, nor is a host that is being connected.
//! * Nothing is told or touched that was not seen in two passes a while apart: a command may be making it
//!   right now. Only a VM's state needs one pass, for its flows are counted before and after it is asked.
//! * A repair is a flow that owns the resource, looks once more at both sides, and then does one thing.
//! * That something is missing in an inventory proves nothing and leads to nothing.
//! * What an operator has ignored stays ignored, whatever inventories say meanwhile.

mod api;
mod kind;
mod pass;
mod place;
mod remedy;
mod repair;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use engine::module::Module;
use engine::query::Relation;
use engine::setting::{AnySetting, Setting, plain, seconds};
use engine::sweep::{By, Sweep};
use engine::{Any, Engine, Id, Stamp, inventory};

use crate::backup_storage::{BackupStorage, BackupStorageInventory};
use crate::host::{Host, HostInventory};

/// Marks ids of findings.
#[derive(Debug)]
pub enum Finding {}

inventory! {
    /// A finding as the API shows it.
    FindingInventory in "finding" {
        uuid: Id<Finding>,
        kind: String,
        host_uuid: Option<Id<Host>>,
        backup_storage_uuid: Option<Id<BackupStorage>>,
        /// The program that has it.
        agent: String,
        /// As the agent's inventory names it.
        name: String,
        mark: Option<String>,
        owner_uuid: Option<Id<Any>>,
        /// What is wrong, and what a repair does.
        detail: String,
        repairable: bool,
        /// Whether passes repair it by themselves.
        consent: String,
        state: String,
        error: Option<String>,
        first_seen: Stamp,
        last_seen: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<HostInventory>("host", "host_uuid").back("finding"),
        Relation::one::<BackupStorageInventory>("backupStorage", "backup_storage_uuid").back("finding"),
    ]
}

/// How far a pass may go by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    Observe,
    Repair,
}

impl FromStr for Consent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "observe" => Ok(Consent::Observe),
            "repair" => Ok(Consent::Repair),
            _ => Err("must be observe or repair"),
        }
    }
}

impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Consent::Repair { "repair" } else { "observe" })
    }
}

pub(crate) const INTERVAL: Setting<Duration> = Setting {
    category: "sweep",
    name: "interval",
    default: "60",
    help: "how often what agents have is compared with the records, seconds",
    read: seconds,
};
pub(crate) const SETTLE: Setting<Duration> = Setting {
    category: "sweep",
    name: "settle",
    default: "60",
    help: "what two passes so far apart have seen counts as found, seconds",
    read: seconds,
};
pub(crate) const CONSENT: Setting<Consent> = Setting {
    category: "sweep",
    name: "consent",
    default: "observe",
    help: "repair takes what belongs to nobody away, observe only reports it",
    read: plain,
};
pub(crate) const STATE_CONSENT: Setting<Consent> = Setting {
    category: "sweep",
    name: "vmState.consent",
    default: "repair",
    help: "repair lets a VM's record follow what the VM is on its host, observe only reports the difference",
    read: plain,
};

const SETTINGS: &[AnySetting] = &[
    INTERVAL.entry(|text| INTERVAL.accepts(text)).seconds(),
    SETTLE.entry(|text| SETTLE.accepts(text)).seconds(),
    CONSENT.entry(|text| CONSENT.accepts(text)).one_of(&["observe", "repair"]),
    STATE_CONSENT.entry(|text| STATE_CONSENT.accepts(text)).one_of(&["observe", "repair"]),
];

const SWEEP: Sweep = Sweep {
    name: "inventory",
    every: |engine| engine.setting(&INTERVAL),
    by: By::Each,
    pass: |engine| Box::pin(pass::regular(engine)),
};

/// Looks at one host now, as the next pass would.
pub async fn look_at(engine: &Engine, host: Id<Host>) -> engine::Result<()> {
    pass::run(engine, |place| place.uuid() == host.cast()).await.map(|_| ())
}

const EVENTS: &[(&str, &str)] = &[
    ("/sweep/found", "what the records and a place say differs"),
    ("/sweep/repaired", "a finding was repaired"),
    ("/sweep/gone", "a finding is no longer so"),
];

pub fn module() -> Module {
    Module::new("sweep")
        .query::<FindingInventory>("QueryFinding", "/sweep/findings")
        .api::<api::RunSweep>()
        .api::<api::RepairFinding>()
        .api::<api::IgnoreFinding>()
        .flow::<repair::Repair>()
        .settings(SETTINGS)
        .sweep(SWEEP)
        .admin()
        .events(EVENTS)
}
