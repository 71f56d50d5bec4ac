//! The run-time configuration as ZStack's clients know it: global configs, named by category and name.
//!
//! Some can be set for resources too ([`resource`]); the nearest value holds. Every change is remembered, with
//! who made it.
//!
//! What settings there are stands in the code that reads them; only values that differ are kept.

mod api;
mod resource;
mod store;

use engine::inventory::{Field, Inventory, Kind};
use engine::module::Module;
use engine::query::Args;
use engine::{Any, Engine, Id, Stamp, inventory};
use schemars::JsonSchema;
use serde::Serialize;

/// A setting as the API shows it. `id` numbers the list of one controller and means nothing else.
#[derive(Clone, Debug, engine::db::Row, Serialize, JsonSchema)]
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

/// Marks ids of changes.
#[derive(Debug)]
pub enum SettingChange {}

inventory! {
    /// One change of a setting: of the whole cloud's, unless a resource is named. Without an old or a new value
    /// the resource had none of its own.
    SettingChangeInventory in "setting_change" {
        uuid: Id<SettingChange>,
        category: String,
        name: String,
        resource_uuid: Option<Id<Any>>,
        old_value: Option<String>,
        new_value: Option<String>,
        account_uuid: Id<Any>,
        user_uuid: Option<Id<Any>>,
        create_date: Stamp,
    }
}

const EVENTS: &[(&str, &str)] = &[
    ("/global-config/updated", "a setting was changed: category, name, value"),
    (
        "/resource-config/updated",
        "a setting was changed for it: category, name, value, none when it was taken away",
    ),
];

pub fn module() -> Module {
    Module::new("setting")
        .query::<GlobalConfigInventory>("QueryGlobalConfig", "/global-configurations")
        .query::<SettingChangeInventory>("QueryGlobalConfigHistory", "/global-configurations/history")
        .ask::<api::GetGlobalConfigOptions>()
        .api::<api::UpdateGlobalConfig>()
        .api::<api::ResetGlobalConfig>()
        .query::<resource::ResourceConfigInventory>("QueryResourceConfig", "/resource-configurations")
        .ask::<resource::GetResourceConfig>()
        .ask::<resource::GetResourceConfigs>()
        .ask::<resource::GetResourceBindableConfig>()
        .api::<resource::UpdateResourceConfig>()
        .api::<resource::UpdateResourceConfigs>()
        .api::<resource::DeleteResourceConfig>()
        .events(EVENTS)
        .admin()
}

#[cfg(test)]
mod tests;
