//! `cargo xtask bench`: the goals of docs/benchmarks.md, measured beside their floor or peer in the same run.
//!
//! It reports and asserts nothing about time. A row whose peer or program cannot be had says so.

mod cascade;
mod choose;
mod command;
mod create;
mod crowd;
mod failover;
mod first_vm;
mod ground;
mod heartbeats;
mod http;
mod load;
mod memory;
mod peer;
mod ring;
mod scale;
mod subject;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use cumulet_tests::lab::program::command as program_command;

use crate::packages::{self, Purpose};
use ground::Ground;
use heartbeats::Scale;
use table::Report;

#[derive(Args)]
pub struct Options {
    /// Only these rows; can be repeated
    #[arg(long)]
    row: Vec<u8>,
    /// JSON on standard output instead of a table
    #[arg(long)]
    json: bool,
    /// How many VMs rows 7 and 9 have
    #[arg(long, default_value_t = 1_000_000)]
    vms: u64,
    /// How many hosts rows 8 and 9 have
    #[arg(long, default_value_t = 100_000)]
    hosts: u32,
    /// How long row 8 is measured
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// So many VMs row 11 deletes.
const DELETED: usize = 10_000;

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Command,
    Memory,
    Create,
    Failover,
    Ring,
    Heartbeats,
    Scale,
    Cascade,
    Choose,
    FirstVm,
}

impl Group {
    /// The demo goes first: it installs what it needs, and that is part of what is measured.
    const ALL: [Self; 10] = [
        Self::FirstVm,
        Self::Command,
        Self::Memory,
        Self::Create,
        Self::Heartbeats,
        Self::Scale,
        Self::Cascade,
        Self::Choose,
        Self::Failover,
        Self::Ring,
    ];

    fn rows(self) -> &'static [u8] {
        match self {
            Self::Command => &[1, 2],
            Self::Memory => &[3],
            Self::Create => &[4, 5, 6],
            Self::Failover => &[10],
            Self::Ring => &[12],
            Self::Heartbeats => &[8],
            Self::Scale => &[7, 9],
            Self::Cascade => &[11],
            Self::FirstVm => &[16],
            Self::Choose => &[17],
        }
    }

    async fn measure(self, ground: &Ground, options: &Options) -> Result<Report> {
        let scale = Scale { hosts: options.hosts, time: Duration::from_secs(options.seconds.max(1)) };
        // The demo measures that too; hosts that only beat need nothing.
        if !matches!(self, Self::FirstVm | Self::Heartbeats) {
            packages::install(Purpose::Demo)?;
        }
        match self {
            Self::Command => command::measure(ground).await,
            Self::Memory => memory::measure(ground).await,
            Self::Create => create::measure(ground).await,
            Self::Failover => failover::measure(ground).await,
            Self::Ring => ring::measure(ground),
            Self::Heartbeats => heartbeats::measure(ground, scale).await,
            Self::Scale => scale::measure(ground, options.vms, scale).await,
            Self::Cascade => cascade::measure(ground, DELETED).await,
            Self::Choose => choose::measure(ground).await,
            Self::FirstVm => first_vm::measure(ground).await,
        }
    }
}

pub async fn run(options: Options) -> Result<ExitCode> {
    let groups = groups(&options.row)?;
    if cfg!(debug_assertions) {
        return again_in_release();
    }
    let ground = Ground::new()?;
    let mut report = Report::default();
    for group in groups {
        match group.measure(&ground, &options).await {
            Ok(measured) => report.add(measured),
            Err(error) => report.failures.push(format!("rows {:?}: {error:#}", group.rows())),
        }
    }
    if !options.row.is_empty() {
        report.lines.retain(|line| options.row.contains(&line.row));
    }
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&report.json())?),
        false => print!("\n{report}"),
    }
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn groups(rows: &[u8]) -> Result<Vec<Group>> {
    let known: Vec<_> = Group::ALL.iter().flat_map(|group| group.rows()).collect();
    if let Some(row) = rows.iter().find(|row| !known.contains(row)) {
        bail!("row {row} is not measured yet; there are {known:?}");
    }
    let wanted = |group: &Group| rows.is_empty() || group.rows().iter().any(|row| rows.contains(row));
    Ok(Group::ALL.into_iter().filter(wanted).collect())
}

/// What puts the load on must not be what is slow.
fn again_in_release() -> Result<ExitCode> {
    ground::build(&["-p", "xtask"])?;
    let xtask = ground::program("xtask");
    let mut again = program_command(&xtask.to_string_lossy(), std::env::args_os().skip(1));
    let status = again.status().with_context(|| format!("cannot start {}", xtask.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_with_those_that_are_measured_together() {
        assert_eq!(groups(&[]).unwrap(), Group::ALL);
        assert_eq!(groups(&[6, 4, 2]).unwrap(), [Group::Command, Group::Create]);
        assert!(groups(&[1, 99]).unwrap_err().to_string().contains("row 99"));
    }
}
