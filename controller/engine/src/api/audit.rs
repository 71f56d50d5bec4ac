//! Who has called what: the jobs, for as long as they are kept. No record costs a write of its own.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::db::Tx;
use crate::error::{ErrorCode, Result};
use crate::id::{Any, Id, Stamp};
use crate::inventory::Members;
use crate::module::Module;
use crate::setting::{AnySetting, Setting, seconds};

crate::inventory! {
    /// One call that was to change something. `request` holds its parameters, without secrets.
    AuditInventory in "audit" seen Accounts("account_uuid") {
        uuid: Id<Any>,
        api_name: String,
        resource_uuid: Option<Id<Any>>,
        account_uuid: Id<Any>,
        user_uuid: Option<Id<Any>>,
        session_token: Option<String>,
        client_ip: Option<String>,
        request: String,
        state: String,
        success: Option<bool>,
        error: Option<String>,
        create_date: Stamp,
        end_date: Option<Stamp>,
    } fill {
        request: Map<String, Value>,
        error: Option<ErrorCode>,
    }
}

impl AuditInventory {
    /// What is kept as text is shown as what it is.
    async fn fill_page(_tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        for members in page {
            for name in ["request", "error"] {
                let text = members.read::<String>(name);
                let Some(Ok(read)) = text.map(|text| serde_json::from_str::<Value>(&text)) else { continue };
                let inner = read.get("error").cloned().unwrap_or(read);
                members.insert(name, &inner)?;
            }
        }
        Ok(())
    }
}

pub(super) const KEPT: Setting<Duration> = Setting {
    category: "identity",
    name: "audit.kept",
    default: "2592000",
    help: "how long it is recorded who has called what, seconds; at least as long as results can be polled",
    read: seconds,
};

const SETTINGS: &[AnySetting] = &[KEPT.entry(|text| KEPT.accepts(text)).seconds()];

/// What people see of calls that were made.
pub(crate) fn module() -> Module {
    Module::new("audit").query::<AuditInventory>("QueryAudit", "/audits").settings(SETTINGS)
}
