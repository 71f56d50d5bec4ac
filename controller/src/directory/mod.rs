//! A directory: resources of one kind, sorted by people. A resource is in one directory at most, and of a
//! directory that goes the resources stay.

mod api;
mod cascade;
mod store;

use engine::db::Tx;
use engine::inventory::{Members, attach, page_uuids};
use engine::module::Module;
use engine::query::Relation;
use engine::{Id, Result, Stamp, inventory};

use crate::zone::{Zone, ZoneInventory};

/// Marks ids of directories.
#[derive(Debug)]
pub enum Directory {}

inventory! {
    /// A directory as the API shows it. `group_name` is its way from the top: `a/b/c`; `resourceUuids` what
    /// is in it.
    DirectoryInventory in "directory_view" seen Owned("uuid") {
        uuid: Id<Directory>,
        name: String,
        group_name: String,
        parent_uuid: Option<Id<Directory>>,
        root_directory_uuid: Id<Directory>,
        zone_uuid: Id<Zone>,
        r#type: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { resource_uuids: Vec<Id<engine::Any>> } => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid"),
        Relation::one::<DirectoryInventory>("parent", "parent_uuid"),
    ]
}

impl DirectoryInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let held = store::held(tx, page_uuids(page)).await?;
        attach(page, "resourceUuids", held)
    }
}

pub fn module() -> Module {
    Module::new("directory")
        .query::<DirectoryInventory>("QueryDirectory", "/directories")
        .api::<api::CreateDirectory>()
        .api::<api::UpdateDirectory>()
        .api::<api::MoveDirectory>()
        .api::<api::DeleteDirectory>()
        .api::<api::AddResourcesToDirectory>()
        .api::<api::MoveResourcesToDirectory>()
        .api::<api::RemoveResourcesFromDirectory>()
        .cascade(&cascade::DirectoryKind, cascade::EDGES)
}

#[cfg(test)]
mod tests;
