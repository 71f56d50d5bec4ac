//! Services beside the controller, in any language: each answers the calls under its own prefix.
//!
//! `ANY /zstack/v1/x/<prefix>/…` goes to the service's URL with what follows the prefix. The controller has
//! found out who asks, and says so in headers that it signs with the service's secret; what proved it, a session
//! or a key, stays here. Where a service is, is asked of the database at every call, so that all controllers
//! agree.

mod api;
mod forward;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use engine::error::Code;
use engine::module::Module;
use engine::setting::{AnySetting, Setting, seconds};
use engine::{Id, Stamp, inventory};

pub(crate) use forward::router;

/// Marks ids of services.
#[derive(Debug)]
pub enum Service {}

inventory! {
    /// A service as the API shows it: without its secret.
    ServiceInventory in "service" {
        uuid: Id<Service>,
        name: String,
        description: Option<String>,
        prefix: String,
        url: String,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

pub const UNKNOWN: Code = Code("SVC.1001", "there is no such service");
pub const AWAY: Code = Code("SVC.1002", "the service does not answer");
pub const SLOW: Code = Code("SVC.1003", "the service takes too long");

pub(crate) const TIMEOUT: Setting<Duration> = Setting {
    category: "service",
    name: "timeout",
    default: "30",
    help: "how long a service may take to answer a call, seconds",
    read: seconds,
};

const SETTINGS: &[AnySetting] = &[TIMEOUT.entry(|text| TIMEOUT.accepts(text))];

pub fn module() -> Module {
    Module::new("service")
        .query::<ServiceInventory>("QueryService", "/services")
        .api::<api::RegisterService>()
        .api::<api::UpdateService>()
        .api::<api::DeleteService>()
        .settings(SETTINGS)
        .admin()
}
