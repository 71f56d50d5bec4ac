//! The process of the fencer, seen from the agent and from itself.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::unistd::Pid;

use super::oom;

/// As the kernel writes it: never.
const NEVER: i32 = -1000;

/// Starts this program once more, as the fencer over `state_dir`. It goes on when we end.
pub fn start(state_dir: &Path) -> io::Result<Child> {
    // Also after an upgrade has replaced the file.
    let program = env::current_exe()?;
    let program = if program.exists() { program } else { "/proc/self/exe".into() };
    #[expect(clippy::disallowed_methods, reason = "it must outlive us, which no other program may")]
    let mut fencer = Command::new(program);
    fencer.arg("--state-dir").arg(state_dir).arg("fencer");
    // Signals from a terminal are for the agent.
    fencer.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).spawn()
}

/// Holds the lock of a file; `None` while somebody else does.
pub fn take_lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).append(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// This process shall be the last to go: it is not killed when memory is short, and does not wait for the disk
/// that its program lies on. What cannot be had is done without.
pub fn endure() {
    if let Err(error) = oom::set_score(Pid::this(), NEVER) {
        tracing::warn!(%error, "the fencer may be killed when memory is short");
    }
    if let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT) {
        tracing::warn!(%error, "the fencer may have to wait for the disk of its program");
    }
}
