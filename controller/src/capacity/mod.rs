//! How much there is and how much of it is left, added up over zones, clusters, hosts and storages.
//!
//! The database adds up; what is told of a host is what [`crate::host`] says its settings let it lend.

mod api;
mod store;

use engine::module::Module;

pub fn module() -> Module {
    Module::new("capacity")
        .ask::<api::GetCpuMemoryCapacity>()
        .ask::<api::GetPrimaryStorageCapacity>()
        .ask::<api::GetBackupStorageCapacity>()
        .admin()
}

#[cfg(test)]
mod tests;
