//! One operation: its parameters, its body, its answers.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::super::{Entry, EntryKind};
use super::{Draw, Place, without_null};
use crate::inventory::camel;

/// What is at hand while the operations of a path are told.
pub(super) struct Teller<'t> {
    pub path: &'t str,
    pub kinds: &'t BTreeMap<&'static str, Draw>,
    pub generator: &'t mut SchemaGenerator,
    /// The parameters of each call, by its name.
    pub named: &'t mut Map<String, Value>,
}

/// What a call takes beside what stands in its path.
struct Params {
    description: Option<Value>,
    path: Vec<(String, Value)>,
    rest: Map<String, Value>,
    required: Vec<String>,
}

impl Teller<'_> {
    /// The calls of one place.
    pub fn operation(&mut self, place: &Place<'_>) -> Value {
        let first = place.entries[0];
        if first.entity().is_some() {
            return self.list(place, first);
        }
        let all: Vec<_> = place.entries.iter().map(|entry| (*entry, self.params(entry))).collect();
        let mut told = self.common(place, operation_id(&all));
        let mut parameters = in_path(self.path, &all[0].1);
        match all.as_slice() {
            [(entry, params)] => {
                describe(&mut told, entry, params);
                if entry.route.body.is_none() {
                    parameters.extend(in_url(params));
                }
            }
            _ => told["description"] = json!("One of several actions, which the member of the body names."),
        }
        if all.iter().any(|(entry, _)| matches!(entry.kind, EntryKind::Job { .. })) {
            parameters.extend(["jobUuid", "webHook"].map(reference));
        }
        if first.route.method == "DELETE" && matches!(first.kind, EntryKind::Job { .. }) {
            parameters.extend(["preview", "planHash"].map(reference));
        }
        told["parameters"] = parameters.into();
        if let Some(body) = self.body(all) {
            told["requestBody"] = body;
        }
        told["responses"] = self.responses(place);
        if let Some(inventory) = self.made(place) {
            told["x-inventory"] = inventory;
        }
        told
    }

    /// `GET path/{uuid}` of a query.
    pub fn row(&mut self, place: &Place<'_>, entry: &Entry) -> Value {
        let mut told = self.list(place, entry);
        told["operationId"] = format!("{}ByUuid", entry.route.name).into();
        let uuid = json!({ "name": "uuid", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } });
        if let Some(parameters) = told["parameters"].as_array_mut() {
            parameters.insert(0, uuid);
        }
        told["responses"]["404"] = super::errors::response("404");
        told
    }

    fn common(&self, place: &Place<'_>, id: String) -> Value {
        let mut told = json!({ "operationId": id, "tags": [place.tag] });
        if place.entries.iter().all(|entry| entry.is_open()) {
            told["security"] = json!([{}, { "session": [] }]);
        }
        if place.entries.iter().all(|entry| entry.route.admin) {
            told["x-admin"] = true.into();
        }
        told
    }

    fn list(&mut self, place: &Place<'_>, entry: &Entry) -> Value {
        let inventory = entry.shape.reply.map(|draw| draw(self.generator));
        let mut told = self.common(place, entry.route.name.to_owned());
        told["x-calls"] = json!([{ "name": entry.route.name }]);
        let shared = ["q", "limit", "start", "after", "count", "replyWithCount", "groupBy", "sort", "fields"];
        told["parameters"] = shared.map(reference).into_iter().collect();
        told["responses"] = super::errors::of(&["400", "401", "403", "503"]);
        told["responses"]["200"] = answer(
            "What was found; `next` when there is more behind it.",
            &json!({
                "type": "object",
                "properties": {
                    "inventories": { "type": "array", "items": inventory },
                    "total": { "type": "integer", "minimum": 0 },
                    "next": { "type": "string" },
                },
                "additionalProperties": false,
            }),
        );
        told
    }

    fn params(&mut self, entry: &Entry) -> Params {
        let schema = entry.shape.params.map(|draw| draw(self.generator)).unwrap_or_default();
        let mut rest = super::properties(&schema);
        let path = entry.route.in_path().map(|name| (name.to_owned(), rest.remove(name).unwrap_or_default()));
        let path = path.collect();
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let required = required.filter_map(Value::as_str).filter(|name| rest.contains_key(*name));
        let required = required.map(str::to_owned).collect();
        Params { description: schema.get("description").cloned(), path, rest, required }
    }

    /// What the body may be, for the calls that take one.
    fn body(&mut self, all: Vec<(&Entry, Params)>) -> Option<Value> {
        let mut required = all.len() > 1;
        let mut shapes = Vec::new();
        for (entry, params) in all {
            let Some(key) = entry.route.body else { continue };
            required |= !params.required.is_empty();
            shapes.push(self.shape(entry, key, params, required));
        }
        let schema = match shapes.len() {
            0 => return None,
            1 => shapes.remove(0),
            _ => json!({ "oneOf": shapes }),
        };
        Some(json!({ "required": required, "content": { "application/json": { "schema": schema } } }))
    }

    fn shape(&mut self, entry: &Entry, key: &str, params: Params, required: bool) -> Value {
        let name = entry.route.name;
        let demanding = !params.required.is_empty();
        let mut schema = json!({
            "type": "object",
            "properties": params.rest,
            "required": params.required,
            "additionalProperties": false,
        });
        if let Some(description) = params.description {
            schema["description"] = description;
        }
        self.named.insert(name.to_owned(), schema);
        // As people write it; ZStack's clients write "null" there, which is taken too.
        let key = if key == "null" { "params" } else { key };
        let params = json!({ "$ref": format!("#/components/schemas/{name}") });
        let params = if demanding { params } else { json!({ "anyOf": [params, { "type": "null" }] }) };
        let mut members = json!({ key: params });
        if entry.carries().is_some() {
            for tags in ["systemTags", "userTags"] {
                members[tags] = json!({ "type": ["array", "null"], "items": { "type": "string" } });
            }
        }
        json!({
            "title": name,
            "type": "object",
            "properties": members,
            "required": if required { vec![key] } else { Vec::new() },
            "additionalProperties": false,
        })
    }

    fn responses(&mut self, place: &Place<'_>) -> Value {
        let mut codes = vec!["400", "401", "404", "501", "503"];
        if place.entries.iter().any(|entry| !entry.is_open()) {
            codes.push("403");
        }
        if place.entries.iter().any(|entry| entry.is_open()) {
            codes.push("429");
        }
        let jobs = place.entries.iter().any(|entry| matches!(entry.kind, EntryKind::Job { .. }));
        codes.push("409");
        let mut told = super::errors::of(&codes);
        let mut replies: Vec<Value> = Vec::new();
        for draw in place.entries.iter().filter_map(|entry| entry.shape.reply) {
            replies.push(draw(self.generator).into());
        }
        if place.entries[0].route.method == "DELETE" && jobs {
            let preview = json!({ "$ref": "#/components/schemas/Preview" });
            replies.push(json!({
                "type": "object",
                "properties": { "preview": preview },
                "required": ["preview"],
                "additionalProperties": false,
            }));
        }
        match replies.len() {
            0 => {}
            1 => told["200"] = answer("The answer.", &replies[0]),
            _ => told["200"] = answer("The answer of the action.", &json!({ "anyOf": replies })),
        }
        if jobs {
            told["202"] = super::errors::response("202");
        }
        told
    }

    /// What polling a job will show, where it makes something.
    fn made(&mut self, place: &Place<'_>) -> Option<Value> {
        let makes = place.entries.iter().find_map(|entry| match entry.kind {
            EntryKind::Job { makes, .. } => makes,
            _ => None,
        });
        let draw = makes.and_then(|kind| self.kinds.get(kind))?;
        Some(draw(self.generator).into())
    }
}

/// A job, and what becomes of it.
pub(super) fn accepted() -> Value {
    answer(
        "It will be done: poll `location`, which ends with 200 and the answer, or 503 and the error.",
        &json!({
            "type": "object",
            "properties": { "location": { "type": "string", "format": "uri" } },
            "required": ["location"],
            "additionalProperties": false,
        }),
    )
}

/// Of one call its name; of several a name of their path.
fn operation_id(all: &[(&Entry, Params)]) -> String {
    if let [(entry, _)] = all {
        return entry.route.name.to_owned();
    }
    let route = all[0].0.route;
    let parts = route.path.split(['/', '-']).filter(|part| !part.is_empty());
    let parts = parts.map(|part| match part.strip_prefix('{') {
        Some(name) => format!("By{}", capital(name.trim_end_matches('}'))),
        None => capital(part),
    });
    format!("{}{}", capital(&route.method.to_ascii_lowercase()), parts.collect::<String>())
}

fn capital(text: &str) -> String {
    camel(&format!("_{text}"))
}

/// The first sentence as its summary, all of it as its description.
fn describe(told: &mut Value, entry: &Entry, params: &Params) {
    told["x-calls"] = json!([{ "name": entry.route.name }]);
    if let Some(description) = &params.description {
        told["description"] = description.clone();
    }
}

/// The parameters of a path, as it spells them.
fn in_path(path: &str, params: &Params) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let told = names.zip(&params.path).map(|(name, (_, schema))| {
        let mut schema = schema.clone();
        if schema["type"] == "string" && schema.get("pattern").is_none() && schema.get("format").is_none() {
            schema["minLength"] = 1.into();
        }
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    });
    told.collect()
}

/// What a call without a body takes; no map fits into a URL.
fn in_url(params: &Params) -> Vec<Value> {
    let mut told = Vec::new();
    for (name, schema) in &params.rest {
        let mut schema = schema.clone();
        without_null(&mut schema);
        if schema["type"] != "object" {
            let required = params.required.contains(name);
            told.push(json!({ "name": name, "in": "query", "required": required, "schema": schema }));
        }
    }
    told
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

pub(super) fn answer(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

/// What every query takes, and every job.
pub(super) fn parameters() -> Value {
    let text = || json!({ "type": "string" });
    let truth = || json!({ "type": "boolean" });
    let number = |most: Option<i64>| match most {
        Some(most) => json!({ "type": "integer", "minimum": 0, "maximum": most }),
        None => json!({ "type": "integer", "minimum": 0, "format": "int64" }),
    };
    let list = json!({ "type": "array", "items": { "type": "string" } });
    let highest = crate::query::HIGHEST_LIMIT;
    let of_queries = [
        ("q", list, "A condition, such as `name=web` or `state!=Enabled`; all of them must be true"),
        ("limit", number(Some(highest)), "At most so many rows"),
        ("start", number(None), "Leaves out so many"),
        ("after", text(), "The `next` of the page before"),
        ("count", truth(), "Only `total`"),
        ("replyWithCount", truth(), "`total` beside the rows"),
        ("groupBy", text(), "One row for each value of this field"),
        ("sort", text(), "`+field` or `-field`"),
        ("fields", text(), "Only these members, with commas between"),
    ];
    let of_deletions = [
        ("preview", truth(), "Only tells what would be touched"),
        ("planHash", text(), "Only if the preview would still have this hash"),
    ];
    let mut told = Map::new();
    for (name, schema, description) in of_queries.into_iter().chain(of_deletions) {
        let one = json!({ "name": name, "in": "query", "description": description, "schema": schema });
        told.insert(name.to_owned(), one);
    }
    for (name, header, schema, description) in [
        ("jobUuid", "X-Job-UUID", uuid(), "Names the job: the same again is refused, not done twice"),
        (
            "webHook",
            "X-Web-Hook",
            json!({ "type": "string", "format": "uri" }),
            "A URL that is told of the end; for the administrator alone",
        ),
    ] {
        let one = json!({ "name": header, "in": "header", "description": description, "schema": schema });
        told.insert(name.to_owned(), one);
    }
    told.into()
}

fn uuid() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-fA-F]{32}$" })
}

/// What is no module's: polling jobs, and the stream of events.
pub(super) fn portal(paths: &mut Map<String, Value>) {
    let mut poll = super::errors::of(&["400", "401", "404", "503"]);
    poll["200"] = answer("It is done: the answer of the call.", &json!({ "type": "object" }));
    poll["202"] = answer("It is at work.", &json!({ "type": "object", "additionalProperties": false }));
    let job = json!({ "name": "uuid", "in": "path", "required": true, "schema": uuid() });
    paths.insert(
        "/api-jobs/{uuid}".to_owned(),
        json!({ "get": {
            "operationId": "PollJob",
            "tags": ["job"],
            "description": "How a job has ended; 503 with its error when it has failed.",
            "parameters": [job],
            "responses": poll,
        }}),
    );
    let mut stream = super::errors::of(&["400", "401", "403", "503"]);
    stream["200"] = json!({
        "description": "Events, one after the other, without an end.",
        "content": { "text/event-stream": { "schema": { "type": "string" } } },
    });
    let since = json!({ "name": "since", "in": "query", "schema": { "type": "integer", "format": "int64" } });
    let name = json!({ "name": "type", "in": "query", "schema": { "type": "string" } });
    paths.insert(
        "/events".to_owned(),
        json!({ "get": {
            "operationId": "ListenToEvents",
            "tags": ["job"],
            "description": "What happens, as server-sent events, from any place in the outbox.",
            "parameters": [since, name],
            "responses": stream,
            "x-admin": true,
        }}),
    );
}
