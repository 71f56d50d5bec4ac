//! `cargo xtask demo`: a whole cloud on this machine, with a VM in it, shown and taken away again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use cumulet_tests::cloud::{ACCOUNT, Cloud, PASSWORD, Plan, Shape, Vm};
use cumulet_tests::lab::tail;
use cumulet_tests::{guest, guest_cache, target};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use crate::packages::{self, Purpose};
use crate::programs;
use crate::progress::Progress;

#[derive(Args)]
pub struct Options {
    /// Takes everything down as soon as the VM has answered
    #[arg(long)]
    exit: bool,
}

/// Ctrl-C, or the polite kill.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

struct Shown {
    cloud: Cloud,
    vm: Vm,
    said: String,
    console: String,
}

pub async fn run(options: Options) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the demo makes networks and starts libvirt: run it as root");
    }
    let mut interrupts = Interrupts::new()?;
    let progress = Progress::new();
    let done = tokio::select! {
        done = show(&progress) => done,
        () = interrupts.next() => {
            progress.stage("interrupted: everything has been taken down");
            return Ok(ExitCode::FAILURE);
        }
    };
    let shown = match done {
        Ok(shown) => shown,
        Err(error) => return Ok(failed(&progress, &error)),
    };
    match enjoy(shown, &options, &mut interrupts).await {
        Ok(cloud) => take_down(cloud, &progress, &mut interrupts).await,
        Err(error) => Ok(failed(&progress, &error)),
    }
}

impl Interrupts {
    fn new() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// From nothing to a VM that has answered.
async fn show(progress: &Progress) -> Result<Shown> {
    progress.stage("packages");
    spawn_blocking(|| packages::install(Purpose::Demo)).await??;
    progress.stage("building the programs");
    let programs = spawn_blocking(|| programs::build("")).await??;
    progress.stage("guest image");
    let image = spawn_blocking(|| guest::image(&guest_cache())).await??;
    let narrator = progress.clone();
    let plan = Plan {
        dir: dir(),
        prefix: "cmldemo".into(),
        shape: Shape::Here,
        programs,
        image,
        narrator: Arc::new(move |text| narrator.stage(text)),
    };
    let cloud = Cloud::start(plan).await?;
    progress.stage("VM hello");
    let vm = cloud.create_vm("hello").await?;
    progress.stage("waiting for the guest's own answer");
    let said = cloud.guest_answers(&vm).await?;
    progress.stage("console");
    let console = cloud.console(&vm).await?;
    Ok(Shown { cloud, vm, said, console })
}

fn dir() -> PathBuf {
    target().join("demo")
}

/// Shows what there is, until it shall end.
async fn enjoy(shown: Shown, options: &Options, interrupts: &mut Interrupts) -> Result<Cloud> {
    summary(&shown)?;
    print(&shown)?;
    let mut cloud = shown.cloud;
    if options.exit {
        return Ok(cloud);
    }
    println!("\nCtrl-C takes everything down.");
    let mut look = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = interrupts.next() => return Ok(cloud),
            _ = look.tick() => cloud.programs_mut().must_live()?,
        }
    }
}

fn print(shown: &Shown) -> Result<()> {
    println!("\n{:<16} {:>8}  {:<22} log", "program", "pid", "address");
    for status in shown.cloud.programs().status() {
        let address = status.listen.map_or_else(String::new, |listen| listen.to_string());
        println!("{:<16} {:>8}  {address:<22} {}", status.name, status.pid, status.log.display());
    }
    for (pid, words) in shown.cloud.others()? {
        println!("{:<16} {pid:>8}", program_name(&words));
    }
    println!("\nAPI       {}   account {ACCOUNT}, password {PASSWORD}", shown.cloud.api().base());
    println!("VM        hello at {}, which says: {}", shown.vm.ip, shown.said);
    println!("          ip netns exec {} curl http://{}/", shown.cloud.outside().name(), shown.vm.ip);
    println!("Console   {}   (once; ask POST /consoles for another)", shown.console);
    Ok(())
}

fn program_name(words: &str) -> String {
    let first = words.split(' ').next().unwrap_or_default();
    Path::new(first).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The same for programs, in `target/demo/summary.json`.
fn summary(shown: &Shown) -> Result<()> {
    let listening = shown.cloud.programs().status().into_iter().filter_map(|status| {
        let address = status.listen?;
        Some((status.name, json!(format!("https://{address}"))))
    });
    let agents: serde_json::Map<_, _> = listening.filter(|(name, _)| name != "controller").collect();
    let summary = json!({
        "api": shown.cloud.api().base(),
        "account": ACCOUNT,
        "password": PASSWORD,
        "console": shown.console,
        "agents": agents,
        "vm": { "uuid": shown.vm.uuid, "ip": shown.vm.ip },
    });
    let path = shown.cloud.dir().join("summary.json");
    fs::write(&path, serde_json::to_vec_pretty(&summary)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

async fn take_down(cloud: Cloud, progress: &Progress, interrupts: &mut Interrupts) -> Result<ExitCode> {
    tokio::select! {
        done = cloud.tear_down() => match done {
            Ok(()) => {
                progress.stage("everything has been taken down");
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Ok(failed(progress, &error)),
        },
        () = interrupts.next() => {
            progress.stage("interrupted again: the power has been cut");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Which stage, why, and what the programs said.
fn failed(progress: &Progress, error: &anyhow::Error) -> ExitCode {
    let stage = progress.last();
    eprintln!("\nfailed after {:.1} s at: {stage}", progress.seconds());
    let why = format!("{error:#}");
    eprintln!("{why}");
    for log in logs(&dir().join("machines")) {
        let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = tail(&log, 20);
        let concerned = name == "controller" || stage.contains(&name) || text.contains("ERROR");
        let told = text.is_empty() || why.contains(&text);
        if concerned && !told {
            eprintln!("\n--- {}\n{text}", log.display());
        }
    }
    eprintln!("\neverything has been taken down; state and logs are in {}", dir().display());
    ExitCode::FAILURE
}

/// `machines/<machine>/<program>.log`, in the order of their names.
fn logs(machines: &Path) -> Vec<PathBuf> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries(machines).flat_map(|machine| entries(&machine).collect::<Vec<_>>());
    let mut logs: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    logs.sort();
    logs
}
