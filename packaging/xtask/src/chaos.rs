//! `cargo xtask chaos`: three controllers under faults, for as long as one likes.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use cumulet_tests::lab::program::{command, show};
use cumulet_tests::{target, workspace};

use crate::packages::{self, Purpose};
use crate::programs::cargo;

#[derive(Args)]
pub struct Options {
    /// How long there are faults
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// The same seed plans the same faults and calls
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The controllers' lease, milliseconds
    #[arg(long)]
    lease: Option<u64>,
    /// Only faults of these kinds, such as kill,cut
    #[arg(long)]
    only: Option<String>,
}

/// The program says all there is to say; its summary is the last line.
pub fn run(options: &Options) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("chaos makes networks and parts them: run it as root");
    }
    packages::install(Purpose::Chaos)?;
    let mut build = command(&cargo(), ["build", "-p", "chaos", "-p", "cumulet-controller", "--bins"]);
    build.current_dir(workspace());
    show(build)?;
    let mut args = vec![format!("--minutes={}", options.minutes), format!("--seed={}", options.seed)];
    args.extend(options.lease.map(|lease| format!("--lease={lease}")));
    args.extend(options.only.as_ref().map(|kinds| format!("--only={kinds}")));
    let status = command(&target().join("debug/chaos").to_string_lossy(), args).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
