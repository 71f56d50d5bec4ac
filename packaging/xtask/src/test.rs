//! `cargo xtask test`: everything that says whether the repository is sound, in stages.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use cumulet_tests::lab::program::{command, run as run_quietly, words};
use cumulet_tests::{untried_dir, workspace};

use crate::count::Count;
use crate::packages::{self, Purpose};
use crate::programs;

#[derive(Args)]
pub struct Options {
    /// Only this stage
    #[arg(long, value_enum)]
    only: Option<Stage>,
    /// Goes on after a stage that failed
    #[arg(long)]
    keep_going: bool,
    /// Only tests whose names contain this; formatting and lints are left out
    filter: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Source is formatted
    Format,
    /// No warnings
    Clippy,
    /// Tests of single crates, and of the repository's order (tests/tidy)
    Unit,
    /// Every SQL statement on every database; a message broker
    Store,
    /// A real controller with simulated agents (tests/scenarios)
    Scenario,
    /// Everything real (tests/real)
    Real,
}

/// How a stage ended.
struct Outcome {
    stage: Stage,
    sound: bool,
    count: Count,
    took: Duration,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    packages::install(Purpose::Test)?;
    forget_untried()?;
    let mut outcomes = Vec::new();
    for stage in stages(options) {
        let outcome = stage.run(options.filter.as_deref())?;
        let sound = outcome.sound;
        outcomes.push(outcome);
        if !sound && !options.keep_going {
            break;
        }
    }
    report(&outcomes, options)
}

fn stages(options: &Options) -> Vec<Stage> {
    let wanted = |stage: &Stage| options.only.is_none_or(|only| only == *stage);
    let filtered = |stage: &Stage| options.filter.is_none() || stage.runs_tests();
    let all = Stage::value_variants().iter().copied();
    all.filter(|stage| wanted(stage) && filtered(stage) && stage.exists()).collect()
}

fn report(outcomes: &[Outcome], options: &Options) -> Result<ExitCode> {
    let mut sum = Count::default();
    println!();
    for outcome in outcomes {
        let Outcome { stage, sound, count, took } = outcome;
        let tests = if stage.runs_tests() { count.to_string() } else { String::new() };
        let verdict = if *sound { "ok" } else { "FAILED" };
        println!("{:<9} {verdict:<7} {:6.1} s  {tests}", stage.name(), took.as_secs_f32());
        sum += *count;
    }
    if let Some(filter) = options.filter.as_ref().filter(|_| sum.all() == 0) {
        bail!("no test has {filter:?} in its name");
    }
    println!("{sum}");
    for untried in untried()? {
        println!("not tried here: {untried}");
    }
    let sound = outcomes.iter().all(|outcome| outcome.sound);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn forget_untried() -> Result<()> {
    match std::fs::remove_dir_all(untried_dir()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", untried_dir().display()))
        }
        _ => Ok(()),
    }
}

/// What tests could not try, each by its name.
fn untried() -> Result<Vec<String>> {
    let Ok(files) = std::fs::read_dir(untried_dir()) else { return Ok(Vec::new()) };
    let told = files.map(|file| {
        let path = file?.path();
        let test = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(format!("{} ({})", std::fs::read_to_string(&path)?, test.replace('.', "::")))
    });
    let mut told: Vec<String> = told.collect::<Result<_>>()?;
    told.sort();
    Ok(told)
}

impl Stage {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn runs_tests(self) -> bool {
        !matches!(self, Self::Format | Self::Clippy)
    }

    fn exists(self) -> bool {
        let file = match self {
            Self::Format | Self::Clippy | Self::Unit => return true,
            Self::Store => "controller/tests/store.rs",
            Self::Scenario => "tests/scenarios/main.rs",
            Self::Real => "tests/real/main.rs",
        };
        workspace().join(file).exists()
    }

    fn run(self, filter: Option<&str>) -> Result<Outcome> {
        eprintln!("\n=== {}", self.name());
        let start = Instant::now();
        let (mut sound, mut count) = (true, Count::default());
        if matches!(self, Self::Scenario | Self::Real) {
            programs::build(if self == Self::Real { REAL } else { SCENARIO })?;
        }
        for command in self.commands(filter) {
            let (well, counted) = follow(command)?;
            sound &= well;
            count += counted;
        }
        Ok(Outcome { stage: self, sound: sound && count.failed == 0, count, took: start.elapsed() })
    }

    fn commands(self, filter: Option<&str>) -> Vec<Command> {
        match self {
            Self::Format => vec![cargo(&["fmt", "--all", "--check"])],
            Self::Clippy => {
                vec![cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])]
            }
            Self::Unit => vec![tests(UNIT, filter), documentation(filter)],
            Self::Store => vec![tests(STORE, filter), set_apart(STORE_APART, filter)],
            Self::Scenario => vec![tests(SCENARIO, filter)],
            Self::Real => vec![tests(REAL, filter)],
        }
    }
}

// The test programs of each stage, of whatever crate.
const UNIT: &str = "--lib --bins --test agent --test contract --test door --test fencing --test flows \
                    --test hooks --test openapi --test ownership --test tidy --test walk --test wiring";
const STORE: &str = "--test store --test query";
/// Of those that are ignored elsewhere.
const STORE_APART: &str = "--test walk --test broker";
const SCENARIO: &str = "--test scenario";
const REAL: &str = "--test real";

fn cargo(args: &[&str]) -> Command {
    let mut command = command(&programs::cargo(), args);
    // What would be kept for the next small change weighs more than everything that is built.
    command.current_dir(workspace()).env("CARGO_INCREMENTAL", "0");
    command
}

/// Always of the whole workspace: libraries are built once for each set of crates whose needs they meet.
const NEXTEST: &[&str] =
    &["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests", "pass", "--status-level", "slow"];
const STANDARD: &[&str] = &["test", "--workspace", "--no-fail-fast"];

/// By nextest where it is installed, else by the standard runner.
fn tests(which: &str, filter: Option<&str>) -> Command {
    let nextest = has_nextest();
    let mut args = if nextest { NEXTEST } else { STANDARD }.to_vec();
    args.extend(which.split(' '));
    args.extend(filter);
    if !nextest && which == REAL {
        // As .config/nextest.toml says: guests without KVM take a whole processor each.
        args.extend(["--", "--test-threads", "2"]);
    }
    cargo(&args)
}

/// Those that their own stage leaves to another.
fn set_apart(which: &str, filter: Option<&str>) -> Command {
    let nextest = has_nextest();
    let mut args = if nextest { NEXTEST } else { STANDARD }.to_vec();
    args.extend(which.split(' '));
    args.extend(filter);
    args.extend(if nextest { &["--run-ignored", "only"][..] } else { &["--", "--ignored"] });
    cargo(&args)
}

fn has_nextest() -> bool {
    run_quietly(&programs::cargo(), ["nextest", "--version"]).is_ok()
}

fn documentation(filter: Option<&str>) -> Command {
    let mut args = vec!["test", "--quiet", "--workspace", "--doc"];
    args.extend(filter.map(|filter| ["--", filter]).into_iter().flatten());
    cargo(&args)
}

/// Runs it, shows what it says, counts the tests that it speaks of.
fn follow(mut command: Command) -> Result<(bool, Count)> {
    let words = words(&command);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().map_err(|error| anyhow::anyhow!("cannot start {words}: {error}"))?;
    let (out, err) = (child.stdout.take().context("no output")?, child.stderr.take().context("no output")?);
    let other = std::thread::spawn(move || count(BufReader::new(out)));
    let mut counted = count(BufReader::new(err));
    counted += other.join().map_err(|_| anyhow::anyhow!("cannot read what {words} says"))?;
    Ok((child.wait()?.success(), counted))
}

fn count(lines: impl BufRead) -> Count {
    let mut sum = Count::default();
    for line in lines.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        sum += Count::of(&line);
    }
    sum
}
