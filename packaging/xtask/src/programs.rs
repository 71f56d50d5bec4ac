//! Building the product: its programs, and the web assets that go into one of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cumulet_tests::lab::program::{command, show};
use cumulet_tests::{target, workspace};

/// Cargo, as this program was started by it.
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Builds all programs, with what `beside` names; where they lie. What cargo says is shown. With tests beside
/// them, programs are those that tests are built with: libraries have the features that either of them needs.
pub fn build(beside: &str) -> Result<PathBuf> {
    web_assets()?;
    let mut cargo = command(&cargo(), ["build", "--workspace", "--bins"]);
    cargo.args(beside.split_whitespace()).current_dir(workspace()).env("CARGO_INCREMENTAL", "0");
    show(cargo)?;
    Ok(target().join("debug"))
}

/// Gets what the console's page consists of, from npm, by its lock file.
pub fn web_assets() -> Result<()> {
    let web = workspace().join("console-proxy/web");
    let lock = web.join("package-lock.json");
    if is_newer(&web.join("node_modules/.package-lock.json"), &lock)? {
        return Ok(());
    }
    let mut npm = command("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    npm.current_dir(web).stdout(std::io::stderr());
    show(npm).context("cannot get the console's web assets")
}

fn is_newer(made: &Path, source: &Path) -> Result<bool> {
    let changed = fs::metadata(source).and_then(|data| data.modified());
    let changed = changed.with_context(|| format!("cannot read {}", source.display()))?;
    Ok(fs::metadata(made).and_then(|data| data.modified()).is_ok_and(|made| made >= changed))
}
