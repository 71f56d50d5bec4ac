//! `cargo xtask …`: what is done with this repository besides building it.

mod bench;
mod chaos;
mod count;
mod coverage;
mod demo;
mod package;
mod packages;
mod programs;
mod progress;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs a whole cloud on this machine, with a VM in it, until Ctrl-C; needs Debian 12 and root
    Demo(demo::Options),
    /// Installs what the tests need and runs them all
    Test(test::Options),
    /// Measures the goals of docs/benchmarks.md beside their floor or peer
    Bench(bench::Options),
    /// Breaks three controllers, their database and network for a while, and judges what came of it
    Chaos(chaos::Options),
    /// Says how much of ZStack's API is there, resource by resource
    Coverage(coverage::Options),
    /// Builds a .deb and an .rpm of each program, in target/package
    Package(package::Options),
}

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::Demo(options) => in_runtime(demo::run(options)),
        Task::Test(options) => test::run(&options),
        Task::Bench(options) => in_runtime(bench::run(options)),
        Task::Chaos(options) => chaos::run(&options),
        Task::Coverage(options) => coverage::run(&options),
        Task::Package(options) => package::run(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Does not wait for what blocks when the work is over: after Ctrl-C nobody wants it.
fn in_runtime(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}
