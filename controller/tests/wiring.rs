//! What the controller is made of, as text that people read in reviews: every change of the API, of a
//! flow's steps, of a cascade or a setting shows here.

use std::path::Path;

#[test]
fn the_wiring_is_what_the_file_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("wiring.txt");
    let now = cumulet_controller::modules::wiring();
    if std::env::var_os("UPDATE_WIRING").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        now, known,
        "the wiring has changed: run this test with UPDATE_WIRING=1, and look at the difference"
    );
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
