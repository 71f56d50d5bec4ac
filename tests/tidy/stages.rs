//! Every test program has its stage.

use toml::Table;

use crate::{File, files, none, sample};

/// The names of a crate's test programs: of files in `tests/`, and those that its manifest names.
fn programs(manifests: &[File], sources: &[File]) -> Vec<String> {
    let found = sources.iter().filter_map(|file| {
        let (of, name) = file.path.rsplit_once("/tests/")?;
        let of_crate = manifests.iter().any(|manifest| manifest.path == format!("{of}/Cargo.toml"));
        let name = name.strip_suffix("/main.rs").or_else(|| name.strip_suffix(".rs"))?;
        (of_crate && !name.contains('/')).then(|| name.to_owned())
    });
    let named = manifests.iter().flat_map(|manifest| {
        let table: Table = manifest.text.parse().expect("a manifest");
        let tests = table.get("test").and_then(|tests| tests.as_array()).cloned().unwrap_or_default();
        tests.into_iter().filter_map(|test| test.get("name")?.as_str().map(str::to_owned)).collect::<Vec<_>>()
    });
    found.chain(named).collect()
}

fn without_stage(programs: &[String], stages: &str) -> Vec<String> {
    let words: Vec<_> = stages.split([' ', '"']).collect();
    let runs = |program: &str| words.windows(2).any(|pair| pair == ["--test", program]);
    programs.iter().filter(|program| !runs(program)).cloned().collect()
}

#[test]
fn every_test_program_has_a_stage() {
    let manifests = [
        sample("a/Cargo.toml", "[package]\n"),
        sample("b/Cargo.toml", "[package]\n[[test]]\nname = \"far\"\npath = \"far/main.rs\"\n"),
    ];
    let sources = [
        sample("a/tests/store.rs", ""),
        sample("a/src/tests/unit.rs", ""),
        sample("a/tests/walk/main.rs", ""),
        sample("a/tests/walk/relay.rs", ""),
    ];
    let found = programs(&manifests, &sources);
    assert_eq!(found, ["store", "walk", "far"]);
    assert_eq!(without_stage(&found, "\"--lib --test store --test walk\"; --test farther"), ["far"]);

    let stages = files("rs").into_iter().find(|file| file.path == "packaging/xtask/src/test.rs").unwrap();
    none(&without_stage(&programs(&files("toml"), &files("rs")), &stages.text));
}
