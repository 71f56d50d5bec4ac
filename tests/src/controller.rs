//! One controller process whose agents are on ports of somebody's choice; it can be killed and started again.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::api::Api;
use crate::cloud::{ACCOUNT, PASSWORD};
use crate::http::Client;
use crate::lab::program::command;
use crate::lab::tail;

/// Longer than a start or an end takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where agents listen on every host.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub kvm: u16,
    pub vrouter: u16,
    pub storage: u16,
}

/// What several controllers have in common.
#[derive(Clone, Debug)]
pub struct Shared {
    pub database: String,
    pub heartbeat: Duration,
    pub lease: Duration,
}

/// Killed when dropped.
#[derive(Debug)]
pub struct Controller {
    program: PathBuf,
    dir: PathBuf,
    address: SocketAddr,
    agents: SocketAddr,
    child: Option<Child>,
}

impl Controller {
    /// One that is not started yet, with its state in `dir`, on loopback; it speaks with agents in the plain.
    pub fn new(program: PathBuf, dir: &Path, ports: Ports) -> Result<Self> {
        let address = free_address()?;
        Self::configured(program, dir, ports, address, address, ("agents = \"plain\"", ""))
    }

    /// One whose agents prove who they are.
    pub fn certified(program: PathBuf, dir: &Path, ports: Ports) -> Result<Self> {
        let (address, agents) = (free_address()?, free_address()?);
        let door = format!("agents-listen = \"{agents}\"");
        Self::configured(program, dir, ports, address, agents, (&door, ""))
    }

    /// One of several, not started yet; it speaks with agents in the plain.
    pub fn among(program: PathBuf, dir: &Path, ports: Ports, shared: &Shared) -> Result<Self> {
        let Shared { database, heartbeat, lease } = shared;
        let more = format!(
            "\n[database]\nurl = \"{database}\"\n\n[node]\nheartbeat = {}\nlease = {}\n",
            heartbeat.as_millis(),
            lease.as_millis()
        );
        let address = free_address()?;
        Self::configured(program, dir, ports, address, address, ("agents = \"plain\"", &more))
    }

    fn configured(
        program: PathBuf,
        dir: &Path,
        ports: Ports,
        address: SocketAddr,
        agents: SocketAddr,
        (first, last): (&str, &str),
    ) -> Result<Self> {
        ensure!(program.exists(), "{} is missing: cargo build --workspace", program.display());
        let Ports { kvm, vrouter, storage } = ports;
        let config = format!(
            "listen = \"{address}\"\n{first}\nstate-dir = {dir:?}\nadmin-password = \"{PASSWORD}\"\n\n[ports]\n\
             kvm-agent = {kvm}\nvrouter-agent = {vrouter}\nstorage-agent = {storage}\n{last}",
        );
        std::fs::write(dir.join("controller.toml"), config)
            .with_context(|| format!("cannot write into {}", dir.display()))?;
        Ok(Self { program, dir: dir.to_owned(), address, agents, child: None })
    }

    /// Puts `other` in the place of `text` in its configuration, for its next start.
    pub fn amend(&self, text: &str, other: &str) -> Result<()> {
        let path = self.dir.join("controller.toml");
        let config = std::fs::read_to_string(&path)?;
        ensure!(config.contains(text), "there is no {text:?} in {}", path.display());
        Ok(std::fs::write(path, config.replacen(text, other, 1))?)
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let config = self.dir.join("controller.toml");
        let mut command = command(&self.program.to_string_lossy(), ["--config".as_ref(), config.as_os_str()]);
        command.env("NO_COLOR", "1").stdout(Stdio::null()).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        self.child = Some(child);
        let started = Instant::now();
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            if started.elapsed() > PATIENCE {
                bail!("the controller does not start:\n{}", self.last_words());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Where it keeps its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where machines enrol and agents report.
    pub fn agents(&self) -> SocketAddr {
        self.agents
    }

    pub async fn login(&self) -> Result<Api> {
        let base = format!("http://{}/zstack/v1", self.address);
        Api::login(Client::default(), &base, ACCOUNT, PASSWORD).await
    }

    /// The process's number.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Kills it, from wherever this is called.
    ///
    /// # Panics
    /// When it does not run.
    pub fn killer(&self) -> impl FnOnce() + Send + 'static {
        let pid = Pid::from_raw(self.pid().cast_signed());
        move || kill(pid, Signal::SIGKILL).expect("it lives until now")
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), signal)
            .with_context(|| format!("cannot send {signal} to the controller"))
    }

    /// Waits for the death that a [`Controller::killer`] brings.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn dies(&mut self) -> Result<()> {
        let mut child = self.child.take().expect("it runs");
        let started = Instant::now();
        while child.try_wait()?.is_none() {
            if started.elapsed() > PATIENCE {
                self.child = Some(child);
                bail!("the fault did not fire:\n{}", self.last_words());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Whether there is such a word in its log.
    pub fn said(&self, word: &str) -> bool {
        std::fs::read_to_string(self.log()).unwrap_or_default().contains(word)
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        tail(&self.log(), 40)
    }
}

/// Nobody listens there now.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the controller says:\n{}", self.last_words());
        }
    }
}
