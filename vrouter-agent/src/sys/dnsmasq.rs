//! dnsmasq processes: one per network, started inside its namespace, independent of this program's life.
//!
//! A process is known by its command line, which names the network's configuration file, and by its
//! namespace; the pid file only saves looking at all processes. It runs without root's rights, with its
//! own directory mounted where the other networks' namespaces would be: it sees its files wherever they
//! really are, whoever may enter the directories above.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use host::netns::{self, Namespace};
use host::process::program;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::dhcp::files::{CONF, PID};

/// Where a dnsmasq sees its own directory.
pub const SEEN_AT: &str = netns::DIR;
const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Starts one in `namespace` with the configuration in `dir`; it serves when this returns.
pub async fn start(dir: &Path, namespace: &Namespace) -> io::Result<()> {
    let runtime = Handle::current();
    let dir = dir.to_owned();
    let dnsmasq = program("dnsmasq").arg(conf_argument(&dir)).limit(START_LIMIT);
    let started = namespace.within(move || {
        netns::mount_privately(&dir, Path::new(SEEN_AT))?;
        Ok(runtime.block_on(dnsmasq.run()))
    });
    started.await?.map(drop).map_err(io::Error::other)
}

/// The one that serves from `dir` inside `namespace`.
pub fn find(dir: &Path, namespace: &Namespace) -> io::Result<Option<Pid>> {
    let noted = fs::read_to_string(dir.join(PID)).ok().and_then(|text| text.trim().parse().ok());
    match noted {
        Some(pid) if is_ours(pid, dir) && namespace.holds(pid)? => Ok(Some(Pid::from_raw(pid))),
        _ => Ok(None),
    }
}

/// Ends every process that serves from `dir`, in whatever namespace; its ports are free when this
/// returns. Succeeds when there is none.
pub async fn stop(dir: &Path) -> io::Result<()> {
    let patience = Instant::now() + STOP_GRACE;
    let mut ending = BTreeSet::new();
    loop {
        ending.retain(|&pid| !has_ended(pid));
        let alive = all(dir)?;
        ending.extend(&alive);
        if ending.is_empty() {
            return Ok(());
        }
        let signal = if Instant::now() < patience { Signal::SIGTERM } else { Signal::SIGKILL };
        for pid in alive {
            match kill(pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        sleep(Duration::from_millis(3)).await;
    }
}

/// An ending process loses its command line first, and its sockets before it becomes a zombie.
fn has_ended(pid: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// All processes that serve from `dir`: it, and children that answer over TCP.
pub fn all(dir: &Path) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        if is_ours(pid, dir) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// By the command line, which only a process that was started so has; a dead one has none.
fn is_ours(pid: i32, dir: &Path) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = line.split(|&byte| byte == 0);
    let program = words.next().unwrap_or_default();
    program.ends_with(b"dnsmasq") && words.next() == Some(conf_argument(dir).as_bytes())
}

fn conf_argument(dir: &Path) -> String {
    format!("--conf-file={}", dir.join(CONF).display())
}
