//! Tags as clients see them: users' own, and the system tags that modules declare (`engine::tag`).

mod api;
mod store;

use std::time::Duration;

use engine::inventory::{Field, Inventory, Kind};
use engine::module::Module;
use engine::query::Args;
use engine::scope::Scope;
use engine::sweep::{By, Sweep};
use engine::{Any, Engine, Id, Stamp, tag};
use schemars::JsonSchema;
use serde::Serialize;

/// Marks ids of tags of both types, which are one list to clients that delete.
#[derive(Debug)]
pub enum Tag {}

/// A user's tag as the API shows it.
#[derive(Clone, Debug, engine::db::Row, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserTagInventory {
    pub uuid: Id<Tag>,
    pub resource_uuid: Id<Any>,
    pub resource_type: String,
    pub tag: String,
    pub r#type: String,
    pub create_date: Stamp,
    pub last_op_date: Stamp,
}

/// A system tag as the API shows it. An inherent one is the cloud's own.
#[derive(Clone, Debug, engine::db::Row, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemTagInventory {
    pub uuid: Id<Tag>,
    pub resource_uuid: Id<Any>,
    pub resource_type: String,
    pub tag: String,
    pub r#type: String,
    pub inherent: bool,
    pub create_date: Stamp,
    pub last_op_date: Stamp,
}

const fn field(column: &'static str, kind: Kind) -> Field {
    Field { column, kind, nullable: false }
}

const FIELDS: &[Field] = &[
    field("uuid", Kind::Text),
    field("resource_uuid", Kind::Text),
    field("resource_type", Kind::Text),
    field("tag", Kind::Text),
    field("type", Kind::Text),
    field("create_date", Kind::Moment),
    field("last_op_date", Kind::Moment),
    // Of system tags alone.
    field("inherent", Kind::Bool),
];

impl Inventory for UserTagInventory {
    const KIND: &'static str = "UserTag";
    const TABLE: &'static str = "user_tag_view";
    const FIELDS: &'static [Field] = FIELDS.split_at(FIELDS.len() - 1).0;
    const SCOPE: Scope = Scope::Owned("resource_uuid");

    fn source(engine: &Engine, _: &mut Args) -> String {
        tag::shown(engine.schema(), Self::TABLE)
    }
}

impl Inventory for SystemTagInventory {
    const KIND: &'static str = "SystemTag";
    const TABLE: &'static str = "system_tag_view";
    const FIELDS: &'static [Field] = FIELDS;
    const SCOPE: Scope = Scope::Owned("resource_uuid");

    fn source(engine: &Engine, _: &mut Args) -> String {
        tag::shown(engine.schema(), Self::TABLE)
    }
}

pub fn module() -> Module {
    Module::new("tag")
        .query::<UserTagInventory>("QueryUserTag", "/user-tags")
        .query::<SystemTagInventory>("QuerySystemTag", "/system-tags")
        .api::<api::CreateUserTag>()
        .api::<api::CreateSystemTag>()
        .api::<api::CreateSystemTags>()
        .api::<api::UpdateSystemTag>()
        .api::<api::DeleteTag>()
        .sweep(Sweep {
            name: "tags without a resource",
            every: |_| Duration::from_secs(600),
            by: By::One,
            pass: |engine| Box::pin(async move { tag::drop_orphans(&engine).await }),
        })
}
