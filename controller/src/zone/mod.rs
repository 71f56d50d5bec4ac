//! A zone: a data centre or a part of one; everything else lies in one.

mod api;
mod cascade;
mod store;

use engine::inventory;
use engine::module::Module;
use engine::{Id, Stamp};

/// Marks ids of zones.
#[derive(Debug)]
pub enum Zone {}

inventory! {
    /// A zone as the API shows it.
    ZoneInventory in "zone" seen Everyone {
        uuid: Id<Zone>,
        name: String,
        description: Option<String>,
        state: String,
        r#type: String,
        is_default: bool,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

pub use store::LADDER;

pub fn module() -> Module {
    Module::new("zone")
        .query::<ZoneInventory>("QueryZone", "/zones")
        .ask::<api::GetZone>()
        .api::<api::CreateZone>()
        .api::<api::UpdateZone>()
        .api::<api::ChangeZoneState>()
        .api::<api::DeleteZone>()
        .cascade(&cascade::ZoneKind, &[])
        .admin()
}
