//! Machines that agents run on, and the authority that certifies them.
//!
//! ```text
//!  token    made ──▶ used by one machine        (or expired, or deleted)
//!  machine  Enrolled ──▶ Revoked                (for good; it may enrol again as another)
//! ```
//!
//! Invariants: an address has one enrolled machine; a machine's roles are those of its token and never
//! change; a token makes one machine, whose key alone gets the answer again; no secret of a token is kept.
//! The authority's key lies in the database, because every controller signs: who reads the database is the
//! authority.

mod address;
mod api;
mod authority;
mod door;
mod enrolment;
#[cfg(test)]
pub(crate) mod simulated;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use engine::module::Module;
use engine::query::Relation;
use engine::setting::{AnySetting, Setting, number};
use engine::{Id, Result, Stamp, inventory};

pub use address::{Agents, at};
pub use authority::open;
pub use door::door;

/// Marks ids of machines.
#[derive(Debug)]
pub enum Machine {}

/// Marks ids of enrolment tokens.
#[derive(Debug)]
pub enum EnrolmentToken {}

inventory! {
    /// A machine as the API shows it.
    MachineInventory in "machine" {
        uuid: Id<Machine>,
        name: String,
        roles: String,
        address: String,
        state: String,
        certified_until: Stamp,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

inventory! {
    /// An enrolment token as the API shows it: without its secret.
    EnrolmentTokenInventory in "enrolment_token" {
        uuid: Id<EnrolmentToken>,
        name: String,
        roles: String,
        expired_date: Stamp,
        machine_uuid: Option<Id<Machine>>,
        create_date: Stamp,
    } => [
        Relation::one::<MachineInventory>("machine", "machine_uuid").back("enrolmentToken"),
    ]
}

const LIFE: Setting<Duration> = Setting {
    category: "machine",
    name: "certificate.days",
    default: "90",
    help: "how long a machine's certificate is good, days (1 to 3650); it is renewed when two thirds are over",
    read: days,
};

fn days(text: &str) -> Result<Duration> {
    Ok(Duration::from_secs(number::<1, 3650>(text)?.unsigned_abs() * 24 * 3600))
}

const SETTINGS: &[AnySetting] = &[LIFE.entry(|text| LIFE.accepts(text)).within(1, 3650)];

const EVENTS: &[(&str, &str)] = &[("/machine/revoked", "it is trusted no longer")];

pub fn module() -> Module {
    Module::new("machine")
        .query::<MachineInventory>("QueryMachine", "/machines")
        .query::<EnrolmentTokenInventory>("QueryEnrolmentToken", "/enrolment-tokens")
        .ask::<api::CreateEnrolmentToken>()
        .api::<api::DeleteEnrolmentToken>()
        .api::<api::RevokeMachine>()
        .settings(SETTINGS)
        .sweep(authority::SWEEP)
        .sweep(enrolment::SWEEP)
        .events(EVENTS)
        .admin()
}
