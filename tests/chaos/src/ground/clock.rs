//! A controller's wall clock, which can be set while it runs: a library that stands before the C library's.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cumulet_tests::lab::program::run;

const SOURCE: &str = include_str!("clock.c");

/// Builds the library.
pub fn library(dir: &Path) -> Result<PathBuf> {
    let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
    fs::write(&source, SOURCE)?;
    let args = ["-shared", "-fPIC", "-O2", "-o"].map(Into::into);
    run("gcc", args.into_iter().chain([library.clone().into_os_string(), source.into(), "-ldl".into()]))
        .context("the clock's library is not built: install gcc and libc6-dev")?;
    Ok(library)
}

/// Seconds, and how often the wrong time was read, as the library has them.
pub struct Clock {
    path: PathBuf,
}

impl Clock {
    pub fn new(path: PathBuf) -> Result<Self> {
        fs::write(&path, [0; 16])?;
        Ok(Clock { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn set(&self, seconds: i64) -> Result<()> {
        let file = fs::File::options().write(true).open(&self.path)?;
        Ok(file.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }

    pub fn reads(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        fs::File::open(&self.path)?.read_exact_at(&mut bytes, 8)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}
