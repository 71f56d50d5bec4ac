//! What goes together: images, backup storages and networks of a zone, asked before something is made of them.
//! An image can be used in a zone to which a backup storage that has it is attached, on every network there.

mod api;
mod store;

use engine::module::Module;

pub fn module() -> Module {
    Module::new("candidate")
        .category("image")
        .ask::<api::GetInterdependentL3NetworksImages>()
        .ask::<api::GetInterdependentL3NetworksBackupStorages>()
        .ask::<api::GetCandidateBackupStorageForCreatingImage>()
        .ask::<api::GetPrimaryStorageAllocatorStrategies>()
}

#[cfg(test)]
mod tests;
