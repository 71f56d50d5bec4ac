//! Programs of the machine that the lab runs to their end: argument vectors, a time limit, their last words.
//!
//! The lab depends on no crate of the product, so that `xtask` builds on a machine that has only Rust.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LIMIT: Duration = Duration::from_secs(600);

/// Runs a program to its end: its standard output, or an error with its last words.
pub fn run<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Result<String> {
    finish(command(program, args))
}

/// The same in another directory.
pub fn run_in<A: AsRef<OsStr>>(
    dir: &Path,
    program: &str,
    args: impl IntoIterator<Item = A>,
) -> Result<String> {
    let mut command = command(program, args);
    command.current_dir(dir);
    finish(command)
}

/// The same with more environment.
pub fn run_with<A: AsRef<OsStr>>(
    environment: &[(&str, &str)],
    program: &str,
    args: impl IntoIterator<Item = A>,
) -> Result<String> {
    let mut command = command(program, args);
    command.envs(environment.iter().copied());
    finish(command)
}

/// Runs a program whose words a person shall see as they come.
pub fn show(mut command: Command) -> Result<()> {
    let words = words(&command);
    let status = command.status().with_context(|| format!("cannot start {words}"))?;
    if !status.success() {
        bail!("{words} failed ({status})");
    }
    Ok(())
}

/// A command that is not started yet.
#[expect(clippy::disallowed_methods, reason = "this is where the lab starts programs")]
pub fn command<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").env("PATH", path()).stdin(Stdio::null());
    command
}

/// With the places of administrators' programs, which `su` leaves out.
fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

fn finish(command: Command) -> Result<String> {
    finish_within(command, LIMIT)
}

/// Runs a command to its end, or kills it when its time is over: its standard output.
pub fn finish_within(mut command: Command, limit: Duration) -> Result<String> {
    let words = words(&command);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.with_context(|| format!("cannot start {words}"))?;
    let pid = Pid::from_raw(child.id() as i32);
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(limit) else {
        kill(pid, Signal::SIGKILL).with_context(|| format!("cannot stop {words}"))?;
        bail!("{words} did not finish within {} s", limit.as_secs());
    };
    judge(&words, output.with_context(|| format!("cannot read what {words} says"))?)
}

fn judge(words: &str, output: Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.is_empty() {
        said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }
    bail!("{words} failed ({}): {said}", output.status)
}

/// The command as a person would type it.
pub fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_last_words() {
        let error = run("ls", ["/no/such/place"]).unwrap_err().to_string();
        assert!(error.starts_with("ls /no/such/place failed"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run("no-such-program", ["x"]).unwrap_err().to_string();
        assert_eq!(error, "cannot start no-such-program x");
    }
}
