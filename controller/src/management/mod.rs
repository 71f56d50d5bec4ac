//! The controllers themselves, as ZStack's clients know them: management nodes.

mod api;

use engine::module::Module;
use engine::{Id, Stamp, inventory};

/// Marks ids of management nodes: each start of a controller is one.
#[derive(Debug)]
pub enum ManagementNode {}

inventory! {
    /// A controller that is alive. `heart_beat` is until when it has said so.
    ManagementNodeInventory in "management_node_view" {
        uuid: Id<ManagementNode>,
        host_name: String,
        join_date: Stamp,
        heart_beat: Stamp,
    }
}

pub fn module() -> Module {
    Module::new("management node")
        .category("managementNode")
        .query::<ManagementNodeInventory>("QueryManagementNode", "/management-nodes")
        .ask::<api::IsReadyToGo>()
        .ask::<api::GetVersion>()
        .ask::<api::IsOpensourceVersion>()
        .ask::<api::GetCurrentTime>()
        .ask::<api::GetManagementNodeArch>()
        .ask::<api::GetManagementNodeOS>()
        .ask::<api::GetSupportAPIs>()
        .ask::<api::GetPlatformTimeZone>()
}

#[cfg(test)]
mod tests;
