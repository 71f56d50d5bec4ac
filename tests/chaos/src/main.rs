//! `chaos`: three controllers on a PostgreSQL with a synchronous standby, and simulated hosts, each in a network
//! of its own, under load and under faults from a seed; then a judge. See docs/chaos.md.
//!
//! The last line is the summary. Ends with failure on any finding, and when a planned fault did not fire.

mod check;
mod dice;
mod ground;
mod hosts;
mod load;
mod nemesis;
mod plan;
mod report;
mod takeover;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use check::Finding;
use dice::Dice;
use ground::Ground;
use load::Load;
use load::history::History;
use load::request::Door;
use report::Report;

/// Breaks a cloud of three controllers for a while, and says whether it kept its promises.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Args)]
struct Options {
    /// How long there are faults
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// The same seed plans the same faults and calls
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The controllers' lease, milliseconds
    #[arg(long, default_value_t = 10_000)]
    lease: u64,
    #[arg(long, default_value_t = 12)]
    clients: usize,
    /// Only faults of these kinds, such as kill,cut
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Another controller than the one in target/debug
    #[arg(long)]
    controller: Option<PathBuf>,
    /// Where logs and histories are left; by default target/chaos
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Part {
    /// The simulated hosts, as the run starts them
    #[command(hide = true)]
    Hosts {
        #[arg(long)]
        socket: PathBuf,
        #[arg(long)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.part {
        Some(Part::Hosts { socket, seed }) => simulate(socket, *seed),
        None => break_a_cloud(&args.options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn simulate(socket: &std::path::Path, seed: u64) -> Result<ExitCode> {
    wire::agent::main_setup();
    Runtime::new()?.block_on(hosts::serve(socket, seed)).map(|()| ExitCode::SUCCESS)
}

fn break_a_cloud(options: &Options) -> Result<ExitCode> {
    let unknown = options.only.iter().find(|kind| !plan::KINDS.contains(&kind.as_str()));
    ensure!(unknown.is_none(), "there are no faults {unknown:?}: name some of {}", plan::KINDS.join(","));
    // Before there are threads.
    ground::network::enter()?;
    let runtime = Runtime::new()?;
    let report = runtime.block_on(run(options));
    runtime.shutdown_background();
    let report = report?;
    report.print();
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(options: &Options) -> Result<Report> {
    let dir = options.dir.clone().unwrap_or_else(|| cumulet_tests::target().join("chaos"));
    let lease = Duration::from_millis(options.lease);
    let program = options.controller.clone();
    let program = program.unwrap_or_else(|| cumulet_tests::target().join("debug/cumulet-controller"));
    let span = Duration::from_secs_f64(options.minutes * 60.0);
    eprintln!("seed {}: the cloud is put up in {}", options.seed, dir.display());
    let ground = Arc::new(Ground::new(&dir, program, lease, options.seed).await?);
    let site = ground.furnish().await?;
    let plan = plan::plan(options.seed, span, lease, &options.only);

    let watched = Arc::clone(&ground);
    let supervisor = tokio::spawn(async move { watched.supervise().await });
    let (door, history) = (Door::new(ground.session()), History::new(ground.dir())?);
    let load = Load::begin(door, history, &site, options.clients, &Dice::new(options.seed));
    let (door, history, stop) = (Arc::clone(&load.door), Arc::clone(&load.history), CancellationToken::new());
    let prober = tokio::spawn(load::prober::probe(ground.session(), stop.clone()));
    let began = tokio::time::Instant::now();
    let mut fired = nemesis::rage(Arc::clone(&ground), plan).await;
    tokio::time::sleep(span.saturating_sub(began.elapsed())).await;
    eprintln!("{:7.1} s  all is healed", began.elapsed().as_secs_f64());
    stop.cancel();
    let ticks = prober.await?;
    let owned = load.end().await?;
    let (settled, mut findings) = check::converge(&ground).await?;
    supervisor.abort();
    findings.extend(check::judge(&ground, &owned, &history.entries()).await?);
    let effects = hosts::tell(ground.dir(), "show").await?.effects;
    fired.take_overs.iter_mut().for_each(|one| one.heed(&effects));
    findings.extend(fired.findings.iter().map(|what| Finding::new(what, &[])));
    Report::new(options.seed, options.minutes, &ground, (fired, ticks), (history, door), (settled, findings))
}
