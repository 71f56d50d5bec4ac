//! What documentation tells people to type must exist.

use super::{File, files, none, sample};

/// The words after `cargo xtask` in code: within backquotes or on a line of a code block.
fn tasks(text: &str) -> Vec<String> {
    let after = text.split("cargo xtask ").skip(1);
    let words =
        after.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '-').next().unwrap_or_default());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The names that clap makes of the variants of `enum Task`.
fn known_tasks(source: &str) -> Vec<String> {
    let body =
        source.split("enum Task {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap_or_default();
    let variants = body.lines().map(str::trim).filter(|line| line.starts_with(|c: char| c.is_uppercase()));
    variants.map(|line| line.split(['(', ',', ' ']).next().unwrap_or_default().to_lowercase()).collect()
}

fn unknown_tasks(documents: &[File], source: &str) -> Vec<String> {
    let known = known_tasks(source);
    let mut complaints = Vec::new();
    for file in documents {
        let unknown = tasks(&file.text).into_iter().filter(|task| !known.contains(task));
        complaints.extend(unknown.map(|task| format!("{}: there is no cargo xtask {task}", file.path)));
    }
    complaints
}

#[test]
fn documented_tasks_exist() {
    let source = "enum Task {\n    /// Docs\n    Demo(demo::Options),\n    Test,\n}\n";
    let documents = [sample("README.md", "Run `cargo xtask demo`, then\n    cargo xtask fly --high\n")];
    assert_eq!(unknown_tasks(&documents, source), ["README.md: there is no cargo xtask fly"]);

    let source = include_str!("../../packaging/xtask/src/main.rs");
    let root = cumulet_tests::workspace();
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the workspace has a README.md");
    let mut documents = vec![sample("README.md", &readme)];
    if root.join("docs").is_dir() {
        let mut found = Vec::new();
        super::gather(&root.join("docs"), "md", &mut found);
        documents.extend(found);
    }
    assert!(tasks(&readme).contains(&"demo".to_owned()), "the README shows the demo");
    none(&unknown_tasks(&documents, source));
    assert!(files("rs").iter().any(|file| file.path == "packaging/xtask/src/main.rs"));
}
