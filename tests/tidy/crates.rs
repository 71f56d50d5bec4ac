//! The direction in which crates may know each other.

use toml::Table;

use super::{File, files, none, sample};

/// A crate's directory, and the crates of the workspace that it may be built from. Tests may know more.
const DIRECTIONS: [(&str, &[&str]); 17] = [
    ("wire", &[]),
    ("host", &[]),
    ("kvm-agent", &["wire", "host"]),
    ("storage-agent", &["wire", "host"]),
    ("vrouter-agent", &["wire", "host"]),
    ("console-proxy", &["wire", "host"]),
    ("controller/engine", &["wire", "engine-derive"]),
    ("controller/engine/derive", &[]),
    ("controller", &["wire", "engine"]),
    ("cli", &[]),
    // The lab must build on a machine that has only Rust.
    ("tests", &[]),
    ("tests/chaos", &["cumulet-tests", "fleet", "wire"]),
    ("tests/fleet", &["wire"]),
    ("tests/model", &["wire"]),
    ("packaging/xtask", &["cumulet-tests"]),
    // Somebody else's, for the reader of docs/plugins.md.
    ("docs/examples/l2-plugin", &["wire", "engine", "cumulet-controller"]),
    ("", &[]),
];

fn wrong_directions(manifests: &[File]) -> Vec<String> {
    let names: Vec<String> = manifests.iter().filter_map(|file| name(&parse(file))).collect();
    let mut complaints = Vec::new();
    for file in manifests {
        let dir = file.path.trim_end_matches("Cargo.toml").trim_end_matches('/');
        let Some((_, may)) = DIRECTIONS.iter().find(|(known, _)| *known == dir) else {
            complaints.push(format!("{}: the crate has no place in the list of directions", file.path));
            continue;
        };
        let needs = dependencies(&parse(file));
        let wrong = needs.iter().filter(|name| names.contains(name) && !may.contains(&name.as_str()));
        complaints.extend(wrong.map(|name| format!("{}: must not be built from {name}", file.path)));
    }
    complaints
}

fn parse(file: &File) -> Table {
    file.text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.path))
}

fn name(manifest: &Table) -> Option<String> {
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}

fn dependencies(manifest: &Table) -> Vec<String> {
    let tables =
        ["dependencies", "build-dependencies"].into_iter().filter_map(|key| manifest.get(key)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}

fn manifests() -> Vec<File> {
    files("toml").into_iter().filter(|file| file.path.ends_with("Cargo.toml")).collect()
}

#[test]
fn crates_know_each_other_in_one_direction() {
    let wire =
        sample("wire/Cargo.toml", "[package]\nname = \"wire\"\n[dependencies]\nengine = {}\nserde = \"1\"\n");
    let engine = sample("controller/engine/Cargo.toml", "[package]\nname = \"engine\"\n");
    let complaints = wrong_directions(&[wire, engine]);
    assert_eq!(complaints, ["wire/Cargo.toml: must not be built from engine"]);
    assert_eq!(wrong_directions(&[sample("new/Cargo.toml", "[package]\nname = \"new\"\n")]).len(), 1);
    none(&wrong_directions(&manifests()));
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    let without = |manifests: &[File]| -> Vec<String> {
        let members = manifests.iter().filter(|file| name(&parse(file)).is_some());
        let lax = members.filter(|file| !file.text.contains("[lints]\nworkspace = true"));
        lax.map(|file| format!("{}: has no [lints] workspace = true", file.path)).collect()
    };
    assert_eq!(without(&[sample("a/Cargo.toml", "[package]\nname = \"a\"\n")]).len(), 1);
    let ours: Vec<File> = manifests().into_iter().filter(|file| !file.path.starts_with("docs/")).collect();
    none(&without(&ours));
}
