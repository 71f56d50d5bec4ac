//! What the controller is made of, as text that people read in reviews: every change of the API, of a
//! flow's steps, of a cascade or a setting shows here.

use std::collections::HashMap;
use std::path::Path;

use engine::api::catalogue::{self, Known};

#[test]
fn the_wiring_is_what_the_file_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("wiring.txt");
    let now = cumulet_controller::modules::wiring(Vec::new()).unwrap();
    if std::env::var_os("UPDATE_WIRING").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        now, known,
        "the wiring has changed: run this test with UPDATE_WIRING=1, and look at the difference"
    );
}

/// A call that has the name of one of ZStack's is that one.
#[test]
fn calls_of_zstack_stand_where_zstack_has_them() {
    let table = include_str!("../catalogue.tsv");
    let known: HashMap<_, _> = catalogue::read(table).into_iter().map(|known| (known.name, known)).collect();
    assert_eq!(known.len(), 553);
    let modules: Vec<_> =
        engine::own_modules().into_iter().chain(cumulet_controller::modules::all()).collect();
    let routes = modules.iter().flat_map(|module| module.entries()).map(|entry| entry.route);
    let elsewhere: Vec<_> = routes
        .filter_map(|route| {
            let theirs = known.get(route.name)?;
            // What ZStack's clients put into the URL of a deletion may stand in its body here.
            let body = route.body.filter(|_| route.method != "DELETE");
            let ours = Known { path: route.path, method: route.method, name: route.name, body };
            (ours != *theirs).then(|| format!("{ours:?} is {theirs:?}"))
        })
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

#[test]
fn every_error_code_has_a_page() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let codes = engine::error::codes::ALL.iter().chain(cumulet_controller::modules::CODES);
    let missing: Vec<_> =
        codes.map(|code| code.0).filter(|code| !text.contains(&format!("## {code}\n"))).collect();
    assert!(missing.is_empty(), "docs/errors.md says nothing about {missing:?}");
}
