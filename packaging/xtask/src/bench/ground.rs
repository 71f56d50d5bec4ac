//! What measurements stand on: a directory on a real disk, release builds, programs in it.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cumulet_tests::lab::program::{command, show};
use cumulet_tests::{target, workspace};

use super::subject::Subject;
use crate::programs::cargo;
use crate::progress::Progress;

pub struct Ground {
    dir: PathBuf,
    pub progress: Progress,
}

impl Ground {
    /// An empty one.
    pub fn new() -> Result<Self> {
        let dir = target().join("bench");
        for entry in ["state", "log"] {
            match fs::remove_dir_all(dir.join(entry)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot empty {}", dir.display()));
                }
                _ => {}
            }
            fs::create_dir_all(dir.join(entry))?;
        }
        Ok(Self { dir, progress: Progress::new() })
    }

    /// What is kept from run to run.
    pub fn kept(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A new directory below the one for state.
    pub fn state(&self, name: &str) -> Result<PathBuf> {
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
