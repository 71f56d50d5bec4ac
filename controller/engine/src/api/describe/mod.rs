//! The API told by itself, as OpenAPI 3.1: from the routes, the types of their parameters and replies, and the
//! inventories. Nothing of it is written by hand but what the portal itself adds to every call.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{Entry, EntryKind};
use crate::cascade::Preview;
use crate::error::ErrorCode;
use crate::inventory::{Inventory, Shown};
use crate::module::Module;

mod errors;
mod operation;

/// Draws the schema of a type.
pub type Draw = fn(&mut SchemaGenerator) -> Schema;

/// What the document says of itself.
#[derive(Clone, Copy, Debug)]
pub struct About {
    pub title: &'static str,
    pub version: &'static str,
    pub description: &'static str,
}

/// The calls of one method and path.
struct Place<'m> {
    /// The module that has the first of them.
    tag: &'static str,
    entries: Vec<&'m Entry>,
}

pub(crate) fn inventory<I: Inventory>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Shown<I>>()
}

/// The document. The same modules give the same text.
pub fn openapi(modules: &[&Module], about: About) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    generator.subschema_for::<ErrorCode>();
    generator.subschema_for::<Preview>();
    let kinds = kinds(modules);
    let mut paths = Map::new();
    let mut named = Map::new();
    for ((path, method), place) in places(modules) {
        let item = paths.entry(path.clone()).or_insert_with(|| json!({}));
        let mut told =
            operation::Teller { path: &path, kinds: &kinds, generator: &mut generator, named: &mut named };
        item[method.to_ascii_lowercase()] = told.operation(&place);
        if let [entry] = place.entries.as_slice()
            && entry.entity().is_some()
        {
            let one = format!("{path}/{{uuid}}");
            let row = told.row(&place, entry);
            paths.entry(one).or_insert_with(|| json!({}))["get"] = row;
        }
    }
    operation::portal(&mut paths);
    let mut schemas = generator.take_definitions(true);
    for (name, schema) in named {
        let taken = schemas.insert(name, schema);
        debug_assert!(taken.is_none(), "a type is called as a call is: {taken:?}");
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": about.title, "version": about.version, "description": about.description },
        "servers": [{ "url": "/zstack/v1" }, { "url": "/v1" }],
        "tags": modules.iter().filter(|m| !m.entries.is_empty()).map(|m| json!({ "name": m.name })).collect::<Vec<_>>(),
        "security": [{ "session": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": operation::parameters(),
            "headers": errors::headers(),
            "responses": errors::responses(),
            "securitySchemes": { "session": {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "`OAuth <session>`: the uuid that a login answers; or `ZStack <access key id>:<signature>`",
            }},
        },
    })
}

/// The inventories by what they show.
fn kinds(modules: &[&Module]) -> BTreeMap<&'static str, Draw> {
    let entries = modules.iter().flat_map(|module| module.entries());
    let known = entries.filter_map(|entry| Some((entry.entity()?.kind, entry.shape.reply?)));
    known.collect()
}

/// Calls of one path stand together, whatever they name its parameters: as the first of them does.
fn places<'m>(modules: &[&'m Module]) -> BTreeMap<(String, &'static str), Place<'m>> {
    let mut spelled = BTreeMap::new();
    let mut places = BTreeMap::<(String, &'static str), Place<'_>>::new();
    for (tag, entry) in modules.iter().flat_map(|module| module.entries().map(|entry| (module.name, entry))) {
        if let EntryKind::Missing = entry.kind {
            continue;
        }
        let shape = super::portal::shape(entry.route.path);
        let path = spelled.entry(shape).or_insert_with(|| entry.route.path.to_owned()).clone();
        let place =
            places.entry((path, entry.route.method)).or_insert_with(|| Place { tag, entries: Vec::new() });
        place.entries.push(entry);
    }
    places
}

impl<I: Inventory> JsonSchema for Shown<I> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        I::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        format!("{}::shown", I::schema_id()).into()
    }

    /// Columns and filled members, of which a query may leave out any and none is null.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut columns = I::json_schema(generator);
        let filled = I::filled(generator);
        let mut members = properties(&columns);
        members.extend(properties(&filled));
        members.values_mut().for_each(without_null);
        let description = columns.remove("description").unwrap_or_default();
        json_schema!({
            "type": "object",
            "description": description,
            "properties": members,
            "additionalProperties": false,
        })
    }
}

fn properties(schema: &Schema) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// What may be null, without that.
fn without_null(schema: &mut Value) {
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(choices) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        choices.retain(|choice| !choice.is_null());
    }
    let Some(either) = schema.get_mut("anyOf").and_then(Value::as_array_mut) else { return };
    either.retain(|one| one["type"] != "null");
    let told = schema.get("description").cloned();
    if let Some([only]) = schema["anyOf"].as_array().map(Vec::as_slice) {
        *schema = only.clone();
        if let Some(told) = told {
            schema["description"] = told;
        }
    }
}
