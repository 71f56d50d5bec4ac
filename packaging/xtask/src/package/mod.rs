//! `cargo xtask package`: one .deb and one .rpm for each program.
//!
//! Everything about a package follows from its row in [`table`]: what lies in it ([`tree`]), what the two
//! formats say of it ([`deb`], [`rpm`]), what happens when it is installed ([`script`]). Units and
//! configuration files are in `packaging/<program>/`.

mod deb;
mod rpm;
mod script;
mod table;
#[cfg(test)]
mod tests;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use cumulet_tests::lab::program::{command, show};
use cumulet_tests::{target, workspace};

use crate::packages::{self, Purpose};
use crate::programs;
use crate::progress::Progress;
use table::{PROGRAMS, Program};

#[derive(Args)]
pub struct Options {
    /// Only this format
    #[arg(long, value_enum)]
    only: Option<Format>,
    /// Packs the programs that lie in this directory, instead of building them
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Where packages are written [default: target/package]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Deb,
    Rpm,
}

/// What all packages of one run have in common.
struct Build {
    version: &'static str,
    /// Where the built programs lie.
    programs: PathBuf,
    /// Where packages go; absolute.
    out: PathBuf,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let progress = Progress::new();
    progress.stage("packages");
    packages::install(Purpose::Package)?;
    let packaged = packaged()?;
    let programs = match &options.from {
        Some(dir) => std::path::absolute(dir)?,
        None => {
            progress.stage("building the programs");
            release(&packaged)?
        }
    };
    let out = std::path::absolute(options.out.clone().unwrap_or_else(|| target().join("package")))?;
    let build = Build { version: env!("CARGO_PKG_VERSION"), programs, out };
    tree::make_dir(&build.out)?;
    let mut made = Vec::new();
    for program in packaged {
        progress.stage(program.name);
        made.extend(build.packages(program, options.only)?);
    }
    build.clean()?;
    report(&made)
}

/// The programs that this workspace holds.
fn packaged() -> Result<Vec<&'static Program>> {
    let metadata = command(&programs::cargo(), ["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .context("cannot ask cargo for the workspace")?;
    if !metadata.status.success() {
        bail!("cannot ask cargo for the workspace: {}", String::from_utf8_lossy(&metadata.stderr).trim());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
    let members = metadata["packages"].as_array().context("cargo names no packages")?;
    let is_member = |program: &&Program| members.iter().any(|member| member["name"] == program.krate);
    let (found, absent): (Vec<_>, Vec<_>) = PROGRAMS.iter().partition(is_member);
    for program in absent {
        eprintln!("no package of {}: the workspace has no crate {}", program.name, program.krate);
    }
    Ok(found)
}

fn release(programs: &[&Program]) -> Result<PathBuf> {
    programs::web_assets()?;
    let mut args = vec!["build", "--release", "--locked", "--bins"];
    args.extend(programs.iter().flat_map(|program| ["--package", program.krate]));
    let mut cargo = command(&programs::cargo(), args);
    cargo.current_dir(workspace());
    show(cargo)?;
    Ok(std::path::absolute(target())?.join("release"))
}

fn report(made: &[PathBuf]) -> Result<ExitCode> {
    println!();
    for path in made {
        let size = fs::metadata(path).with_context(|| format!("cannot see {}", path.display()))?.len();
        println!("{:8.2} MiB  {}", size as f64 / f64::from(1 << 20), path.display());
    }
    Ok(ExitCode::SUCCESS)
}

impl Build {
    fn packages(&self, program: &Program, only: Option<Format>) -> Result<Vec<PathBuf>> {
        let wanted = |format| only.is_none_or(|only| only == format);
        let mut made = Vec::new();
        if wanted(Format::Deb) {
            made.push(deb::build(self, program)?);
        }
        if wanted(Format::Rpm) {
            made.push(rpm::build(self, program)?);
        }
        Ok(made)
    }

    fn binary(&self, program: &Program) -> PathBuf {
        self.programs.join(program.name)
    }

    /// Where one package is put together.
    fn work(&self, program: &Program, format: &str) -> PathBuf {
        self.scratch().join(program.name).join(format)
    }

    fn scratch(&self) -> PathBuf {
        Path::new(&self.out).join("work")
    }

    fn clean(&self) -> Result<()> {
        let scratch = self.scratch();
        fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))
    }
}
