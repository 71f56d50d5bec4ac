//! A disk offering: how large a volume is.
//!
//! A volume copies what it is offered; changing or deleting an offering touches no volume.

mod api;
mod cascade;
mod store;

use engine::inventory;
use engine::module::Module;
use engine::{Id, Stamp};

/// Marks ids of disk offerings.
#[derive(Debug)]
pub enum DiskOffering {}

inventory! {
    /// A disk offering as the API shows it. `disk_size` in bytes.
    DiskOfferingInventory in "disk_offering" seen Owned("uuid") {
        uuid: Id<DiskOffering>,
        name: String,
        description: Option<String>,
        disk_size: i64,
        sort_key: i64,
        state: String,
        r#type: String,
        allocator_strategy: String,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

pub use api::STRATEGY;

pub fn module() -> Module {
    Module::new("disk offering")
        .category("configuration")
        .query::<DiskOfferingInventory>("QueryDiskOffering", "/disk-offerings")
        .api::<api::CreateDiskOffering>()
        .api::<api::UpdateDiskOffering>()
        .api::<api::ChangeDiskOfferingState>()
        .api::<api::DeleteDiskOffering>()
        .cascade(&cascade::DiskOfferingKind, cascade::EDGES)
}

#[cfg(test)]
mod tests;
