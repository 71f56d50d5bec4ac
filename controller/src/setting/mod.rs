//! The run-time configuration as ZStack's clients know it: global configs, named by category and name.
//!
//! What settings there are stands in the code that reads them; only values that differ are kept.

mod api;
mod store;

use engine::Engine;
use engine::inventory::{Field, Inventory, Kind};
use engine::module::Module;
use engine::query::Args;
use serde::Serialize;

/// A setting as the API shows it. `id` numbers the list of one controller and means nothing else.
#[derive(Clone, Debug, engine::db::Row, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GlobalConfigInventory {
    pub id: i64,
    pub category: String,
    pub name: String,
    pub description: String,
    pub default_value: String,
    pub value: String,
}

impl Inventory for GlobalConfigInventory {
    const KIND: &'static str = "GlobalConfig";
    const TABLE: &'static str = "setting";
    const FIELDS: &'static [Field] = &[
        Field { column: "id", kind: Kind::Int, nullable: false },
        Field { column: "category", kind: Kind::Text, nullable: false },
        Field { column: "name", kind: Kind::Text, nullable: false },
        Field { column: "description", kind: Kind::Text, nullable: false },
        Field { column: "default_value", kind: Kind::Text, nullable: false },
        Field { column: "value", kind: Kind::Text, nullable: false },
    ];

    fn source(engine: &Engine, args: &mut Args) -> String {
        store::rows(engine.settings(), args)
    }
}

const EVENTS: &[(&str, &str)] = &[("/global-config/updated", "a setting was changed: category, name, value")];

pub fn module() -> Module {
    Module::new("setting")
        .query::<GlobalConfigInventory>("QueryGlobalConfig", "/global-configurations")
        .api::<api::UpdateGlobalConfig>()
        .events(EVENTS)
        .admin()
}

#[cfg(test)]
mod tests;
