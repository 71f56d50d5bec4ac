//! An instance offering: how many CPUs and how much memory a VM gets.
//!
//! A VM copies what it is offered; changing or deleting an offering touches no VM.

mod api;
mod cascade;
mod store;

use engine::inventory;
use engine::module::Module;
use engine::{Id, Stamp};

/// Marks ids of instance offerings.
#[derive(Debug)]
pub enum InstanceOffering {}

inventory! {
    /// An instance offering as the API shows it. Memory in bytes.
    InstanceOfferingInventory in "instance_offering" seen Owned("uuid") {
        uuid: Id<InstanceOffering>,
        name: String,
        description: Option<String>,
        cpu_num: i64,
        cpu_speed: i64,
        memory_size: i64,
        reserved_memory_size: i64,
        r#type: String,
        allocator_strategy: String,
        sort_key: i64,
        state: String,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

/// How VMs find their hosts, where nothing else is said.
pub const ALLOCATOR_STRATEGY: &str = "LeastVmPreferredHostAllocatorStrategy";

pub fn module() -> Module {
    Module::new("offering")
        .category("configuration")
        .query::<InstanceOfferingInventory>("QueryInstanceOffering", "/instance-offerings")
        .api::<api::CreateInstanceOffering>()
        .api::<api::UpdateInstanceOffering>()
        .api::<api::ChangeInstanceOfferingState>()
        .api::<api::DeleteInstanceOffering>()
        .cascade(&cascade::InstanceOfferingKind, cascade::EDGES)
}

#[cfg(test)]
mod tests;
