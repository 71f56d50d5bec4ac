//! `cargo xtask coverage`: how much of ZStack's API is there, resource by resource.

use std::collections::{BTreeMap, HashSet};
use std::process::ExitCode;

use anyhow::{Context, Result};

const CATALOGUE: &str = "controller/catalogue.tsv";
/// A test keeps it true.
const WIRING: &str = "controller/wiring.txt";

#[derive(clap::Args)]
pub struct Options {
    /// Names the calls that are missing
    #[arg(long)]
    missing: bool,
}

#[derive(Default)]
struct Resource<'t> {
    there: usize,
    missing: Vec<&'t str>,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"));
    let (catalogue, wiring) = (read(CATALOGUE)?, read(WIRING)?);
    let there: HashSet<&str> = wiring.lines().filter_map(call).collect();
    let mut resources = BTreeMap::<&str, Resource>::new();
    for line in catalogue.lines().skip(1) {
        let mut columns = line.split('\t');
        let (path, name) =
            (columns.next().unwrap_or_default(), columns.nth(1).context("a line without a name")?);
        let resource = resources.entry(path.split('/').nth(1).unwrap_or_default()).or_default();
        match there.contains(name) {
            true => resource.there += 1,
            false => resource.missing.push(name),
        }
    }
    tell(&resources, options.missing);
    Ok(ExitCode::SUCCESS)
}

/// The name of a call in a line such as `  GET    /zones → QueryZone (admin)`.
fn call(line: &str) -> Option<&str> {
    let (_, name) = line.split_once(" → ")?;
    ["GET", "POST", "PUT", "DELETE"]
        .iter()
        .any(|method| line.trim_start().starts_with(method))
        .then_some(())?;
    name.split_whitespace().next()
}

fn tell(resources: &BTreeMap<&str, Resource>, missing: bool) {
    for (name, Resource { there, missing: not }) in resources {
        println!("{name:24} {there:3} of {:3}", there + not.len());
        for name in not.iter().filter(|_| missing) {
            println!("    {name}");
        }
    }
    let there: usize = resources.values().map(|resource| resource.there).sum();
    let missing: usize = resources.values().map(|resource| resource.missing.len()).sum();
    println!("total: {there} of {}", there + missing);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_the_other_lines_of_the_wiring() {
        assert_eq!(call("  GET    /zones → QueryZone (admin)"), Some("QueryZone"));
        assert_eq!(call("  flow   vm.stop v1: stopping → stop → stopped"), None);
        assert_eq!(call("  edge   deleting Zone deletes Cluster"), None);
    }
}
