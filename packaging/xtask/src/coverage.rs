//! `cargo xtask coverage`: how much of ZStack's API is there, resource by resource; `coverage agent`: how much
//! of its KVM agent's, area by area.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};

const CATALOGUE: &str = "controller/catalogue.tsv";
/// A test keeps it true.
const WIRING: &str = "controller/wiring.txt";
const AGENT_CATALOGUE: &str = "kvm-agent/catalogue.tsv";
/// A test keeps it true.
const AGENT_PATHS: &str = "kvm-agent/paths.txt";

#[derive(clap::Args)]
pub struct Options {
    /// Of what
    #[arg(value_enum, default_value = "api")]
    of: Of,
    /// Names what is missing
    #[arg(long)]
    missing: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Of {
    /// The controller's REST API
    Api,
    /// The KVM agent's commands
    Agent,
}

#[derive(Default)]
struct Resource<'t> {
    there: usize,
    missing: Vec<&'t str>,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    match options.of {
        Of::Api => {
            let (catalogue, wiring) = (read(CATALOGUE)?, read(WIRING)?);
            let there: HashSet<&str> = wiring.lines().filter_map(call).collect();
            tell(&compare(&catalogue, 2, segment, &there)?, options.missing)?;
        }
        Of::Agent => {
            let (catalogue, paths) = (read(AGENT_CATALOGUE)?, read(AGENT_PATHS)?);
            let there: HashSet<&str> = paths.lines().collect();
            tell(&compare(&catalogue, 0, segment, &there)?, options.missing)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))
}

fn segment(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// The lines of a catalogue, by resource: which have in column `name` what is there.
fn compare<'t>(
    catalogue: &'t str,
    name: usize,
    resource: impl Fn(&'t str) -> &'t str,
    there: &HashSet<&str>,
) -> Result<BTreeMap<&'t str, Resource<'t>>> {
    let mut resources = BTreeMap::<&str, Resource>::new();
    for line in catalogue.lines().skip(1) {
        let path = line.split('\t').next().unwrap_or_default();
        let name = line.split('\t').nth(name).context("a line without a name")?;
        let resource = resources.entry(resource(path)).or_default();
        match there.contains(name) {
            true => resource.there += 1,
            false => resource.missing.push(name),
        }
    }
    Ok(resources)
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

/// To a reader that may have heard enough (`| head`).
fn tell(resources: &BTreeMap<&str, Resource>, missing: bool) -> Result<()> {
    match std::io::stdout().write_all(table(resources, missing).as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        told => Ok(told?),
    }
}

fn table(resources: &BTreeMap<&str, Resource>, missing: bool) -> String {
    let mut table = String::new();
    for (name, Resource { there, missing: not }) in resources {
        table.push_str(&format!("{name:24} {there:3} of {:3}\n", there + not.len()));
        for name in not.iter().filter(|_| missing) {
            table.push_str(&format!("    {name}\n"));
        }
    }
    let there: usize = resources.values().map(|resource| resource.there).sum();
    let missing: usize = resources.values().map(|resource| resource.missing.len()).sum();
    table + &format!("total: {there} of {}\n", there + missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let table = "path\tkind\n/vm/start\tasync\n/vm/fly\tasync\n";
        let told = compare(table, 0, segment, &HashSet::from(["/vm/start"])).unwrap();
        assert_eq!((told["vm"].there, told["vm"].missing.as_slice()), (1, &["/vm/fly"][..]));
    }

    #[test]
    fn calls_are_told_from_the_other_lines_of_the_wiring() {
        assert_eq!(call("  GET    /zones → QueryZone (admin)"), Some("QueryZone"));
        assert_eq!(call("  flow   vm.stop v1: stopping → stop → stopped"), None);
        assert_eq!(call("  edge   deleting Zone deletes Cluster"), None);
    }
}
