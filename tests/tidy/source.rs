//! Rules about Rust source, file by file.

use super::{File, files, none, sample};

const LONGEST_FILE: usize = 600;
const VAGUE_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "manager", "misc", "shared"];

/// What only `sys/` may name in an agent: what touches the machine without further ado.
const MACHINE: [&str; 7] =
    ["virt::", "virt_sys", "nix::", "rtnetlink", "host::process", "std::process::Command", "libc::"];
const AGENTS: [&str; 4] = ["kvm-agent/", "storage-agent/", "vrouter-agent/", "console-proxy/"];

const SQL: [&str; 5] = ["SELECT ", "INSERT INTO ", "DELETE FROM ", "UPDATE ", "CREATE TABLE "];

const RESOURCES: [&str; 11] =
    ["zone", "cluster", "vm", "nic", "volume", "snapshot", "image", "eip", "vip", "offering", "bridge"];

/// The program's part of a file, line by line with numbers: no comments, no unit tests.
fn code(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let lines = file.text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    let numbered = lines.enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn complain(file: &File, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", file.path)
}

fn too_long(files: &[File]) -> Vec<String> {
    let long = files.iter().filter(|file| file.text.lines().count() > LONGEST_FILE);
    long.map(|file| complain(file, LONGEST_FILE, "the file is longer than this: divide it")).collect()
}

fn vaguely_named(files: &[File]) -> Vec<String> {
    let vague =
        |file: &&File| file.path.trim_end_matches(".rs").split('/').any(|part| VAGUE_NAMES.contains(&part));
    files.iter().filter(vague).map(|file| complain(file, 1, "the name does not say what it is")).collect()
}

/// Compiled for tests alone: directories and modules of these names.
fn of_tests(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("/simulated.rs")
}

/// SQL stands in the controller's stores and in the engine; statements of a resource nowhere else.
fn sql_outside_stores(files: &[File]) -> Vec<String> {
    let may = |path: &str| {
        path.starts_with("controller/engine/")
            || path.starts_with("tests/")
            || path.ends_with("/store.rs")
            || path.contains("/store/")
            || of_tests(path)
    };
    let strict = files.iter().filter(|file| !may(&file.path) && file.path.starts_with("controller/"));
    let mut complaints = Vec::new();
    for file in strict {
        let sql = |line: &&str| SQL.iter().any(|word| line.contains(&format!("\"{word}")));
        let lines = code(file).filter(|(_, line)| sql(line));
        complaints.extend(lines.map(|(number, _)| complain(file, number, "SQL outside a store.rs")));
    }
    complaints
}

/// Who passes over errors asks `says_nothing`: a lost lease, or a database that is away, says as little of a step
/// as another owner does.
fn nothing_told_apart(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("controller/src/")) {
        let lines = code(file).filter(|(_, line)| line.contains(".is(codes::LOST)"));
        complaints.extend(lines.map(|(number, _)| complain(file, number, "ask says_nothing() instead")));
    }
    complaints
}

fn machine_outside_sys(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| of_agents_operations(&file.path)) {
        for (number, line) in code(file) {
            for word in MACHINE.iter().filter(|word| names(line, word)) {
                complaints.push(complain(file, number, &format!("{word} outside sys/")));
            }
        }
    }
    complaints
}

fn of_agents_operations(path: &str) -> bool {
    let machines = path.contains("/sys/") || path.ends_with("/sys.rs") || path.ends_with("tests.rs");
    AGENTS.iter().any(|agent| path.starts_with(&format!("{agent}src/"))) && !machines
}

/// Whether the path stands there from its beginning: `libvirt::` does not name `virt::`.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

fn shells(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| !file.path.starts_with("tests/") && !of_tests(&file.path)) {
        let shell =
            |line: &&str| ["\"sh\"", "\"bash\"", "\"/bin/sh\""].iter().any(|word| line.contains(word));
        let lines = code(file).filter(|(_, line)| shell(line));
        complaints.extend(lines.map(|(number, _)| complain(file, number, "a shell: use an argument vector")));
    }
    complaints
}

fn resources_in_engine(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("controller/engine/src/")) {
        for (number, line) in code(file) {
            for resource in words(line).filter(|word| RESOURCES.contains(&word.as_str())) {
                complaints.push(complain(file, number, &format!("the engine names the resource {resource}")));
            }
        }
    }
    complaints
}

/// The words of the identifiers and texts in a line: `vm_nic` and `VmNic` are `vm` and `nic`. Paths of
/// libraries (`tz::TimeZone`) speak of other things.
fn words(line: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    for c in line.replace("TimeZone", "").chars() {
        if c.is_uppercase() || !c.is_alphanumeric() {
            spaced.push(' ');
        }
        spaced.extend(c.to_lowercase().filter(|c| c.is_alphanumeric()));
    }
    spaced.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Children know parents, never back: the resource graph from its leaves to its ground.
const LAYERS: [&[&str]; 8] = [
    &["console", "sweep", "ha"],
    &["vm", "snapshot", "eip", "port_forwarding", "load_balancer", "security_group"],
    &["nic", "vip", "volume"],
    &["l3", "image"],
    &["l2", "primary_storage", "backup_storage"],
    &["host"],
    &["cluster"],
    &[
        "account",
        "tag",
        "machine",
        "zone",
        "offering",
        "disk_offering",
        "affinity_group",
        "management",
        "event",
    ],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn arrows_upwards(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        let Some(module) =
            file.path.strip_prefix("controller/src/").and_then(|rest| rest.split(['/', '.']).next())
        else {
            continue;
        };
        let Some(own) = layer(module) else { continue };
        for (number, line) in code(file) {
            for above in named_modules(line).filter(|other| layer(other).is_some_and(|other| other < own)) {
                complaints.push(complain(
                    file,
                    number,
                    &format!("{module} knows {above}, which stands above it"),
                ));
            }
        }
    }
    complaints
}

fn named_modules(line: &str) -> impl Iterator<Item = &str> {
    let parts = line.split("crate::").skip(1);
    parts.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

#[test]
fn no_file_is_too_long() {
    assert_eq!(too_long(&[sample("a.rs", &"x\n".repeat(601))]).len(), 1);
    none(&too_long(&files("rs")));
}

#[test]
fn every_module_says_what_it_is() {
    assert_eq!(vaguely_named(&[sample("wire/src/util.rs", ""), sample("a/common/b.rs", "")]).len(), 2);
    none(&vaguely_named(&files("rs")));
}

#[test]
fn sql_stands_in_stores_alone() {
    let bad = sample("controller/src/zone/api.rs", "// \"SELECT 1\"\nlet q = \"SELECT * FROM zone\";\n");
    assert_eq!(sql_outside_stores(&[bad]), ["controller/src/zone/api.rs:2: SQL outside a store.rs"]);
    assert!(sql_outside_stores(&[sample("controller/src/zone/store.rs", "\"SELECT 1\"")]).is_empty());
    none(&sql_outside_stores(&files("rs")));
}

#[test]
fn what_says_nothing_of_a_step_is_not_taken_for_its_failure() {
    let bad = sample("controller/src/vm/a.rs", "Err(error) if error.is(codes::LOST) => return Err(error),");
    assert_eq!(nothing_told_apart(&[bad]), ["controller/src/vm/a.rs:1: ask says_nothing() instead"]);
    none(&nothing_told_apart(&files("rs")));
}

#[test]
fn agents_touch_the_machine_in_sys_alone() {
    let bad =
        sample("kvm-agent/src/vm/start.rs", "use crate::sys::libvirt::X;\nuse virt::connect::Connect;\n");
    assert_eq!(machine_outside_sys(&[bad]), ["kvm-agent/src/vm/start.rs:2: virt:: outside sys/"]);
    assert!(machine_outside_sys(&[sample("kvm-agent/src/sys/libvirt.rs", "use virt::x;")]).is_empty());
    none(&machine_outside_sys(&files("rs")));
}

#[test]
fn nothing_starts_a_shell() {
    assert_eq!(shells(&[sample("host/src/a.rs", "program(\"sh\").arg(\"-c\")")]).len(), 1);
    none(&shells(&files("rs")));
}

#[test]
fn the_engine_names_no_resource() {
    let bad = sample("controller/engine/src/flow.rs", "/// a vm\nfn start_vm() {}\nstruct ZoneRow;\n");
    assert_eq!(resources_in_engine(&[bad]).len(), 2);
    none(&resources_in_engine(&files("rs")));
}

#[test]
fn resources_know_nothing_above_them() {
    let bad = sample("controller/src/zone/mod.rs", "use crate::vm::Vm;\nuse crate::account;\n");
    assert_eq!(
        arrows_upwards(&[bad]),
        ["controller/src/zone/mod.rs:1: zone knows vm, which stands above it"]
    );
    assert!(arrows_upwards(&[sample("controller/src/vm/mod.rs", "use crate::zone::Zone;")]).is_empty());
    none(&arrows_upwards(&files("rs")));
}
