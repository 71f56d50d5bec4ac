//! What measurements stand on: a directory on a real disk, release builds, programs in it.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cumulet_tests::lab::program::{command, show};
use cumulet_tests::{target, workspace};

use super::subject::Subject;
use crate::programs::cargo;
use crate::progress::Progress;

pub struct Ground {
    dir: PathBuf,
    pub progress: Progress,
    /// Locked as long as it is open.
    _alone: File,
}

impl Ground {
    /// An empty one; there is one at a time, since two would measure each other.
    pub fn new() -> Result<Self> {
        let dir = target().join("bench");
        let alone = alone(&dir)?;
        for entry in ["state", "log"] {
            match fs::remove_dir_all(dir.join(entry)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot empty {}", dir.display()));
                }
                _ => {}
            }
            fs::create_dir_all(dir.join(entry))?;
        }
        Ok(Self { dir, progress: Progress::new(), _alone: alone })
    }

    /// What is kept from run to run.
    pub fn kept(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A new directory below the one for state.
    pub fn state(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let dir = self.dir.join("state").join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir)
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(name)
    }

    /// Starts a program that listens at `address`; its words go to a log of its name.
    pub async fn start<A: Into<OsString>>(
        &self,
        name: &str,
        program: &Path,
        args: impl IntoIterator<Item = A>,
        address: SocketAddr,
    ) -> Result<Subject> {
        let args = args.into_iter().map(Into::into);
        let mut command = command(&program.to_string_lossy(), args.collect::<Vec<_>>());
        command.env("NO_COLOR", "1").env("TMPDIR", self.dir.join("state"));
        Subject::start(command, &self.log(name), address).await
    }
}

fn alone(dir: &Path) -> Result<File> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let lock = File::create(dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("another measurement is going on in {}", dir.display()),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// What `cargo build --release` makes of these words, such as `-p wire --example null_agent`.
pub fn build(words: &[&str]) -> Result<()> {
    let mut cargo = command(&cargo(), ["build", "--quiet", "--release"].iter().chain(words));
    cargo.current_dir(workspace()).stdout(std::io::stderr());
    show(cargo)
}

/// A program of a release build.
pub fn program(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// An example of a release build.
pub fn example(name: &str) -> PathBuf {
    program("examples").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_measurements_are_not_made_at_a_time() {
        let dir = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        let first = alone(&dir).unwrap();
        assert!(alone(&dir).unwrap_err().to_string().contains("another measurement"));
        drop(first);
        assert!(alone(&dir).is_ok());
        fs::remove_dir_all(dir).unwrap();
    }
}
