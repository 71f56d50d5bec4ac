//! A program that is measured: started, found listening, looked at through `/proc`, killed in the end.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cumulet_tests::lab::program::words;
use cumulet_tests::lab::tail;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const START: Duration = Duration::from_secs(30);
/// The kernel counts processor time in these (`USER_HZ`, the same on all of Linux's usual machines).
const TICK: Duration = Duration::from_millis(10);

/// Killed when dropped.
pub struct Subject {
    child: Child,
    log: PathBuf,
}

/// Memory of a process, in megabytes (10⁶ bytes).
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident: f64,
    /// Of this, what is no page of a file.
    pub anonymous: f64,
    /// The most that was ever resident.
    pub peak: f64,
}

/// A loopback address that nobody uses.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl Subject {
    /// Starts `command`, whose words go to `log`, and waits until it listens at `address`.
    pub async fn start(mut command: Command, log: &Path, address: SocketAddr) -> Result<Self> {
        command.stdout(Stdio::null()).stderr(File::create(log)?);
        let words = words(&command);
        let child = command.spawn().with_context(|| format!("cannot start {words}"))?;
        let mut subject = Self { child, log: log.to_owned() };
        let patience = Instant::now() + START;
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = subject.child.try_wait()? {
                bail!("{words} ended ({status}):\n{}", subject.last_words());
            }
            if Instant::now() > patience {
                bail!("{words} does not listen at {address}:\n{}", subject.last_words());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(subject)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn last_words(&self) -> String {
        tail(&self.log, 20)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time that a process has used so far, all its threads together.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.with_context(|| format!("process {pid} has ended"))?;
    let ticks = ticks(&stat).with_context(|| format!("/proc/{pid}/stat is not as usual"))?;
    Ok(TICK * ticks)
}

/// User and system time, the 14th and 15th field; the second may hold spaces.
fn ticks(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}

pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.with_context(|| format!("process {pid} has ended"))?;
    let field = |name| megabytes(&status, name).with_context(|| format!("/proc/{pid}/status has no {name}"));
    Ok(Memory { resident: field("VmRSS:")?, anonymous: field("RssAnon:")?, peak: field("VmHWM:")? })
}

fn megabytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a) b c) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 3 0 99 1 2";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a"), None);
        assert!(processor_time(std::process::id()).is_ok());
    }

    #[test]
    fn memory_is_told_in_megabytes() {
        assert_eq!(megabytes("VmPeak:\t  9 kB\nVmRSS:\t    1000 kB\n", "VmRSS:"), Some(1.024));
        let own = memory(std::process::id()).unwrap();
        assert!(own.resident >= own.anonymous && own.anonymous > 0.0, "{own:?}");
    }
}
