//! The peer of rows 1 to 3: CherryPy from PyPI, in an environment of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cumulet_tests::lab::program::run;
use cumulet_tests::workspace;

use super::ground::Ground;
use super::subject::{Subject, free_address};
use crate::packages;

const CHERRYPY: &str = "cherrypy==18.10.0";

pub struct Peer {
    pub address: std::net::SocketAddr,
    pub process: Subject,
}

/// Starts it; an error says why there is no peer in this run.
pub async fn start(ground: &Ground) -> Result<Peer> {
    let python = environment(&ground.kept("python")).context("no peer: CherryPy cannot be had")?;
    let address = free_address()?;
    let script = workspace().join("packaging/xtask/bench/peer.py");
    let args = [script.into_os_string(), address.port().to_string().into()];
    let process = ground.start("peer.log", &python, args, address).await.context("no peer")?;
    Ok(Peer { address, process })
}

/// The Python of an environment that has CherryPy; made when it is not there.
fn environment(dir: &Path) -> Result<PathBuf> {
    let python = dir.join("bin/python");
    let has_it = |python: &Path| run(&python.to_string_lossy(), ["-c", "import cherrypy"]).is_ok();
    if has_it(&python) {
        return Ok(python);
    }
    if run("python3", ["-c", "import ensurepip, venv"]).is_err() {
        packages::install(packages::Purpose::Bench)?;
    }
    run("python3", ["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), dir.as_os_str()])?;
    run(&python.to_string_lossy(), ["-m", "pip", "install", "--quiet", CHERRYPY])?;
    Ok(python)
}
