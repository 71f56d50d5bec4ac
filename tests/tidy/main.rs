//! The architecture as a test: what the design says about the shape of the source.
//!
//! Every rule is a function from source text to complaints, and is tried on a bad sample first: a rule that
//! cannot fail says nothing.

mod crates;
mod readme;
mod source;
mod stages;

use std::fs;
use std::path::Path;

use cumulet_tests::workspace;

/// A source file: its path within the workspace, and its text.
#[derive(Clone)]
struct File {
    path: String,
    text: String,
}

/// All files with this extension below the workspace, without what is built or fetched.
fn files(extension: &str) -> Vec<File> {
    let mut found = Vec::new();
    gather(&workspace(), extension, &mut found);
    assert!(found.len() > 5, "the search for .{extension} files finds next to nothing");
    found
}

fn gather(dir: &Path, extension: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            gather(&path, extension, found);
        } else if path.is_file() && path.extension().is_some_and(|found| found == extension) {
            let text = fs::read_to_string(&path).expect("a text file");
            let path = path.strip_prefix(workspace()).expect("lies below it").display().to_string();
            found.push(File { path, text });
        }
    }
}

/// A file that stands for a real one when a rule is tried.
fn sample(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

/// Fails with the complaints of a rule, one to a line.
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
