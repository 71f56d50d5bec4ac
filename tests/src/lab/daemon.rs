//! A program that runs on a machine of the lab until it is stopped; its words go to a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    pid: u32,
    child: Arc<Mutex<Child>>,
}

impl Daemon {
    pub(super) fn new(name: String, log: PathBuf, child: Arc<Mutex<Child>>) -> Self {
        let pid = child.lock().expect("never poisoned").id();
        Self { name, log, pid, child }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number outside the machine.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log.
    pub fn last_words(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().expect("never poisoned")
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child().try_wait().with_context(|| format!("cannot ask how {} is", self.name))
    }

    /// Fails, with its last words, when it has ended.
    pub fn must_live(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} ended ({status}):\n{}", self.name, self.last_words(20));
        }
        Ok(())
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        if child.try_wait()?.is_some() {
            bail!("{} has ended: there is nothing to send {signal} to", self.name);
        }
        kill(Pid::from_raw(self.pid as i32), signal)
            .with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// The power cut for one program.
    pub async fn kill(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            self.signal(Signal::SIGKILL)?;
        }
        self.wait(Duration::from_secs(10)).await.map(drop)
    }

    /// Asks it to end and waits.
    pub async fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        if self.ended()?.is_none() {
            self.signal(Signal::SIGTERM)?;
        }
        self.wait(patience).await
    }

    pub async fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} does not end within {} s:\n{}", self.name, patience.as_secs(), self.last_words(20));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let mut child = self.child();
        let _already_gone = child.kill();
        let _already_gone = child.wait();
    }
}

/// The last lines of a file; empty when it cannot be read.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
