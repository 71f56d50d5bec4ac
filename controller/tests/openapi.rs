//! The document that tells the API: as the file says, whole, and of one voice.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

fn document() -> Value {
    serde_json::from_str(&cumulet_controller::modules::openapi(&[])).unwrap()
}

/// Every value of this name, however deep.
fn found<'v>(value: &'v Value, name: &str, all: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => {
            all.extend(members.get(name));
            members.values().for_each(|member| found(member, name, all));
        }
        Value::Array(list) => list.iter().for_each(|member| found(member, name, all)),
        _ => {}
    }
}

#[test]
fn the_document_is_what_the_file_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let now = cumulet_controller::modules::openapi(&[]);
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let lines = now.lines().zip(known.lines()).position(|(now, known)| now != known);
    assert!(
        now == known,
        "the API has changed (line {lines:?} of docs/openapi.json): run this test with UPDATE_OPENAPI=1, and look \
         at the difference"
    );
}

#[test]
fn what_is_referred_to_is_there() {
    let document = document();
    let mut all = Vec::new();
    found(&document, "$ref", &mut all);
    assert!(all.len() > 500, "{} references", all.len());
    let pointers = all.into_iter().map(|reference| reference.as_str().unwrap().trim_start_matches('#'));
    let dangling: BTreeSet<_> = pointers.filter(|pointer| document.pointer(pointer).is_none()).collect();
    assert!(dangling.is_empty(), "{dangling:?}");
}

#[test]
fn every_call_that_is_there_is_told_once() {
    let document = document();
    let (mut ids, mut titles) = (Vec::new(), Vec::new());
    found(&document["paths"], "operationId", &mut ids);
    found(&document["paths"], "title", &mut titles);
    let mut once = BTreeSet::new();
    assert!(ids.iter().all(|id| once.insert(id.as_str().unwrap())), "two operations have one id");
    let told: BTreeSet<_> = ids.into_iter().chain(titles).filter_map(Value::as_str).collect();
    let modules = engine::own_modules().into_iter().chain(cumulet_controller::modules::all());
    let modules: Vec<_> = modules.collect();
    let calls = modules.iter().flat_map(engine::module::Module::entries).map(|entry| entry.route.name);
    let untold: Vec<_> = calls.filter(|name| !told.contains(name)).collect();
    assert!(untold.is_empty(), "{untold:?}");
}

/// Two types of one name would be told apart by a number, which changes when a third comes.
#[test]
fn types_have_names_of_their_own() {
    let document = document();
    let names = document["components"]["schemas"].as_object().unwrap().keys();
    let numbered: Vec<_> = names.filter(|name| name.ends_with(|c: char| c.is_ascii_digit())).collect();
    assert!(numbered.is_empty(), "{numbered:?}: name one of them by #[schemars(rename = \"…\")]");
}
