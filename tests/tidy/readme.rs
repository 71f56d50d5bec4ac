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

/// The code blocks that name the file they quote, and what they say it is: `rust src/main.rs`.
fn quotes(document: &str) -> Vec<(String, String)> {
    let blocks = document.split("\n```").skip(1).step_by(2);
    let quote = |block: &str| {
        let (info, text) = block.split_once('\n')?;
        let (_, path) = info.split_once(' ')?;
        Some((path.to_owned(), format!("{text}\n")))
    };
    blocks.filter_map(quote).collect()
}

/// A file of `known` that the document quotes otherwise, or not at all.
fn misquoted(document: &str, known: &[File]) -> Vec<String> {
    let quotes = quotes(document);
    let of = |file: &File| quotes.iter().find(|(path, _)| file.path == *path).map(|(_, text)| text.clone());
    let wrong = known.iter().filter(|file| of(file) != Some(file.text.clone()));
    let unknown = quotes.iter().filter(|(path, _)| !known.iter().any(|file| file.path == *path));
    wrong.map(|file| file.path.clone()).chain(unknown.map(|(path, _)| path.clone())).collect()
}

#[test]
fn the_document_of_plugins_quotes_what_is_built_and_run() {
    let document = "Text\n```rust a.rs\nfn a() {}\n```\nMore\n```sh\nls\n```\n```rust c.rs\nc\n```\n";
    let known = [sample("a.rs", "fn a() {}\n"), sample("b.rs", "")];
    assert_eq!(misquoted(document, &known), ["b.rs", "c.rs"]);
    assert_eq!(misquoted(document, &[sample("a.rs", "fn b() {}\n")]), ["a.rs", "c.rs"]);

    const EXAMPLE: &str = "docs/examples/l2-plugin/";
    let ours = |extension: &str| {
        let found = files(extension).into_iter();
        found
            .filter_map(|file| Some(sample(file.path.strip_prefix(EXAMPLE)?, &file.text)))
            .collect::<Vec<_>>()
    };
    let example = [ours("rs"), ours("toml")].concat();
    assert!(example.len() > 4, "the example is not where it was");
    let document = std::fs::read_to_string(cumulet_tests::workspace().join("docs/plugins.md")).unwrap();
    none(&misquoted(&document, &example));
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
