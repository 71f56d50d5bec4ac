//! One of the controllers: a process on a machine of its own, with a clock of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cumulet_tests::cloud::PASSWORD;
use cumulet_tests::lab::program::command;
use cumulet_tests::lab::{Daemon, Lab, Machine, Network, Spec};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::clock::Clock;
use super::database::Database;
use super::network::{self, address};
use crate::hosts;

const PORT: u16 = 8080;
/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What all controllers are made of.
#[derive(Clone)]
pub struct Made {
    pub program: PathBuf,
    /// Stands before the C library.
    pub library: PathBuf,
    pub lease: Duration,
}

pub struct Controller {
    pub network: Network,
    pub clock: Clock,
    name: String,
    config: PathBuf,
    made: Made,
    machine: Machine,
    daemon: Option<Daemon>,
}

pub fn ip(number: usize) -> Ipv4Addr {
    address(11 + u8::try_from(number).unwrap_or(0))
}

pub fn at(number: usize) -> SocketAddr {
    network::at(ip(number), PORT)
}

impl Controller {
    pub fn new(lab: &Lab, number: usize, network: Network, made: &Made) -> Result<Self> {
        ensure!(made.program.exists(), "{} is missing: cargo build --workspace", made.program.display());
        let name = format!("c{number}");
        let spec = Spec { name: name.clone(), network: Some(network.clone()), ..Spec::default() };
        let dir = lab.make_dir(&name)?;
        let config = dir.join("controller.toml");
        let [kvm, vrouter, storage] = hosts::PORTS;
        let text = format!(
            "listen = \"{}\"\nagents = \"plain\"\nstate-dir = {dir:?}\nadmin-password = \"{PASSWORD}\"\n\n[ports]\n\
             kvm-agent = {kvm}\nvrouter-agent = {vrouter}\nstorage-agent = {storage}\n\n\
             [database]\nurl = \"{}\"\n\n[node]\nheartbeat = {}\nlease = {}\n",
            at(number),
            Database::url(),
            made.lease.as_millis() / 5,
            made.lease.as_millis()
        );
        fs::write(&config, text)?;
        let clock = Clock::new(dir.join("clock"))?;
        let machine = lab.machine(spec)?;
        Ok(Controller { network, clock, name, config, made: made.clone(), machine, daemon: None })
    }

    /// Starts it; whether it serves is another question.
    pub fn begin(&mut self) -> Result<()> {
        let mut command =
            command(&self.made.program.to_string_lossy(), ["--config".as_ref(), self.config.as_os_str()]);
        command
            .env("NO_COLOR", "1")
            .env("LD_PRELOAD", &self.made.library)
            .env("CHAOS_CLOCK", self.clock.path());
        command.env("RUST_LOG", std::env::var("CHAOS_LOG").unwrap_or_else(|_| "info".into()));
        self.daemon = Some(self.machine.daemon("controller", command)?);
        Ok(())
    }

    /// Starts it until it serves: again when the database was not there.
    pub async fn start(&mut self, number: usize) -> Result<()> {
        let began = Instant::now();
        self.begin()?;
        while tokio::net::TcpStream::connect(at(number)).await.is_err() {
            if began.elapsed() > PATIENCE {
                bail!("{} does not start:\n{}", self.name, self.last_words());
            }
            if self.daemon.as_mut().context("it was started")?.ended()?.is_some() {
                sleep(Duration::from_millis(500)).await;
                self.begin()?;
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// kill -9. Whether it died of that.
    pub async fn kill(&mut self) -> Result<bool> {
        self.restart_if_ended()?;
        let mut daemon = self.daemon.take().context("it does not run")?;
        let alive = daemon.ended()?.is_none();
        daemon.kill().await?;
        Ok(alive)
    }

    /// As its unit does: one that cannot reach the database ends, and is started again.
    pub fn restart_if_ended(&mut self) -> Result<()> {
        match self.has_ended() {
            true => self.begin(),
            false => Ok(()),
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.daemon.as_ref().context("it does not run")?.signal(signal)
    }

    /// Whether it is stopped by SIGSTOP now.
    pub fn is_stopped(&self) -> bool {
        let pid = self.daemon.as_ref().map_or(0, Daemon::pid);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    /// It has ended without being told to.
    pub fn has_ended(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| !matches!(daemon.ended(), Ok(None)))
    }

    pub fn log(&self) -> PathBuf {
        self.machine.dir().join("controller.log")
    }

    pub fn last_words(&self) -> String {
        cumulet_tests::lab::tail(&self.log(), 30)
    }
}
