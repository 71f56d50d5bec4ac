//! Row 16: from nothing to the first VM that answers, as `cargo xtask demo --exit` goes through it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use cumulet_tests::lab::program::command;

use super::ground::Ground;
use super::table::{Gate, Line, Report, Unit};

/// Parts of the demo, each with the stage that begins it.
const PARTS: [(&str, &str); 6] = [
    ("packages", "packages"),
    ("building the programs", "compile"),
    ("guest image", "guest image"),
    ("machines and networks", "start all programs"),
    ("login", "furnish the zone by the API"),
    ("VM hello", "VM Running"),
];
const ANSWER: &str = "waiting for the guest's own answer";
const END: &str = "console";
/// What it says before it installs packages.
const INSTALLING: &str = "installing ";

/// When a stage began, in seconds, and what it is.
type Stage = (f64, String);

/// What the demo went through.
struct Demo {
    stages: Vec<Stage>,
    /// Packages were missing and were installed: only then it began from nothing.
    installed: bool,
}

pub async fn measure(ground: &Ground) -> Result<Report> {
    ground.progress.stage("row 16: the demo");
    let demo = tokio::task::spawn_blocking(demo).await??;
    let mut report = Report { lines: lines(&demo)?, ..Report::default() };
    report.notes.push(match demo.installed {
        true => "row 16: without compiling, which an installation from packages does not need".into(),
        false => {
            "row 16: all packages were installed before and compiling is left out: the gate is not judged"
                .into()
        }
    });
    Ok(report)
}

fn demo() -> Result<Demo> {
    let this = std::env::current_exe()?;
    let mut demo = command(&this.to_string_lossy(), ["demo", "--exit"]);
    let mut child =
        demo.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start the demo")?;
    let (mut stages, mut words) = (Vec::new(), Vec::new());
    for line in BufReader::new(child.stderr.take().context("no output")?).lines() {
        let line = line?;
        eprintln!("        | {line}");
        stages.extend(stage(&line));
        words.push(line);
    }
    let status = child.wait()?;
    if !status.success() {
        let last = words.split_off(words.len().saturating_sub(12));
        bail!("the demo failed ({status}):\n{}", last.join("\n"));
    }
    Ok(Demo { stages, installed: words.iter().any(|line| line.starts_with(INSTALLING)) })
}

/// `  12.3 s  what is being done`.
fn stage(line: &str) -> Option<Stage> {
    let (seconds, text) = line.trim_start().split_once(" s  ")?;
    Some((seconds.parse().ok()?, text.to_owned()))
}

fn lines(demo: &Demo) -> Result<Vec<Line>> {
    let begins = |name: &str| {
        let found = demo.stages.iter().find(|(_, text)| text == name).map(|(seconds, _)| *seconds);
        found.with_context(|| format!("the demo has no stage {name:?}"))
    };
    let seconds = |value: f64| Unit::Seconds.of(value);
    let named = PARTS.into_iter().chain([(ANSWER, "the guest answers")]);
    let mut starts = named.map(|(stage, part)| Ok((begins(stage)?, part))).collect::<Result<Vec<_>>>()?;
    starts.push((begins(END)?, ""));
    let parts: Vec<_> = starts.windows(2).map(|two| (two[0].1, two[1].0 - two[0].0)).collect();
    let compiling: f64 = parts.iter().filter(|(part, _)| *part == "compile").map(|(_, took)| took).sum();
    let whole = begins(END)? - begins(PARTS[0].0)?;
    let gate = if demo.installed { Gate::AtMost(60.0) } else { Gate::None };
    let mut lines =
        vec![Line::new(16, "first VM's answer, without compiling", seconds(whole - compiling)).gate(gate)];
    lines.extend(parts.into_iter().map(|(part, took)| Line::new(16, format!("- {part}"), seconds(took))));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_and_other_lines_are_not() {
        assert_eq!(stage("   0.5 s  guest image"), Some((0.5, "guest image".into())));
        assert_eq!(stage("    Finished `dev` profile in 0.5 s"), None);
    }

    #[test]
    fn the_parts_add_up_and_compiling_does_not_count() {
        let names = PARTS.map(|(stage, _)| stage).into_iter().chain([ANSWER, END]);
        let stages: Vec<_> = names.zip([0.0, 1.0, 31.0, 32.0, 34.0, 35.0, 36.0, 40.0]).collect();
        let stages: Vec<_> = stages.iter().map(|(name, at)| (*at, (*name).to_owned())).collect();
        let demo = |installed, stages: &[Stage]| Demo { stages: stages.to_vec(), installed };
        let lines = super::lines(&demo(false, &stages)).unwrap();
        assert_eq!(lines[0].ours.value, 10.0);
        assert_eq!(lines[1..].iter().map(|line| line.ours.value).sum::<f64>(), 40.0);
        let gate = |installed| super::lines(&demo(installed, &stages)).unwrap()[0].gate;
        assert_eq!((gate(false), gate(true)), (Gate::None, Gate::AtMost(60.0)));
        assert!(super::lines(&demo(false, &stages[1..])).unwrap_err().to_string().contains("packages"));
    }
}
