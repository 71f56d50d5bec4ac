//! A backup storage: where images are kept, and where hosts fetch them from.
//!
//! ```text
//!  status   Connecting ──▶ Connected ◀──▶ Disconnected      (pings decide)
//!  state    Enabled ◀──▶ Disabled                           (an operator decides; Disabled takes no new images)
//! ```
//!
//! It serves the zones that it is attached to and belongs to none: when a zone goes, only the attachment
//! goes with it.

mod add;
mod api;
mod cascade;
pub mod driver;
mod ping;
pub(crate) mod sftp;
mod store;

use std::time::Duration;

use engine::db::Tx;
use engine::inventory::{Members, attach, page_uuids};
use engine::module::Module;
use engine::setting::{AnySetting, Setting, seconds};
use engine::{Id, Result, Stamp, inventory};

use crate::machine::Machine;
use crate::machine::MachineInventory;
use crate::zone::ZoneInventory;
use engine::query::{Link, Relation};

pub use store::{connected, is_leaving, takes_images};

/// Marks ids of backup storages.
#[derive(Debug)]
pub enum BackupStorage {}

const ZONES: Link = Link { table: "backup_storage_zone", here: "backup_storage_uuid", there: "zone_uuid" };

inventory! {
    /// A backup storage as the API shows it. Capacities in bytes.
    BackupStorageInventory in "backup_storage" seen Everyone {
        uuid: Id<BackupStorage>,
        name: String,
        url: String,
        description: Option<String>,
        total_capacity: i64,
        available_capacity: i64,
        r#type: String,
        state: String,
        status: String,
        hostname: String,
        machine_uuid: Option<Id<Machine>>,
        username: String,
        ssh_port: i64,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { attached_zone_uuids: Vec<Id<crate::zone::Zone>> } => [
        Relation::linked::<ZoneInventory>("zone", ZONES)
            .back("backupStorage")
            .shows("attachedZoneUuids", "uuid"),
        Relation::one::<MachineInventory>("machine", "machine_uuid").back("backupStorage"),
    ]
}

impl BackupStorageInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let zones = store::zones(tx, page_uuids(page)).await?;
        attach(page, "attachedZoneUuids", zones)
    }

    pub fn is_connected(&self) -> bool {
        self.status == "Connected"
    }
}

pub(crate) const PING_INTERVAL: Setting<Duration> = Setting {
    category: "backupStorage",
    name: "ping.interval",
    default: "60",
    help: "how often each backup storage is pinged, seconds",
    read: seconds,
};

const SETTINGS: &[AnySetting] = &[PING_INTERVAL.entry(|text| PING_INTERVAL.accepts(text)).seconds()];

const EVENTS: &[(&str, &str)] = &[
    ("/backup-storage/status/changed", "it is connected, or no longer: status"),
    ("/backup-storage/deleted", "it is gone"),
];

pub fn module() -> Module {
    Module::new("backup storage")
        .query::<BackupStorageInventory>("QueryBackupStorage", "/backup-storage")
        .query::<BackupStorageInventory>("QuerySftpBackupStorage", "/backup-storage/sftp")
        .ask::<api::GetBackupStorageTypes>()
        .api::<api::AddSftpBackupStorage>()
        .api::<api::UpdateBackupStorage>()
        .api::<api::UpdateSftpBackupStorage>()
        .api::<api::ChangeBackupStorageState>()
        .api::<api::ReconnectBackupStorage>()
        .api::<api::ReconnectSftpBackupStorage>()
        .api::<api::AttachBackupStorageToZone>()
        .api::<api::DetachBackupStorageFromZone>()
        .api::<api::DeleteBackupStorage>()
        .flow::<add::Add>()
        .flow::<add::Reconnect>()
        .cascade(&cascade::BackupStorageKind, &[])
        .family(&driver::BACKUP_STORAGES)
        .settings(SETTINGS)
        .sweep(ping::SWEEP)
        .events(EVENTS)
        .admin()
}

/// Pings all of them now.
#[cfg(test)]
pub(crate) async fn ping_all(engine: &engine::Engine) {
    ping::pass(engine.clone()).await.unwrap();
}

#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;
