//! What the cloud stands on: networks, PostgreSQL, controllers, simulated hosts.

mod clock;
pub mod controller;
pub mod database;
pub mod network;

use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use cumulet_tests::api::Api;
use cumulet_tests::cloud::{ACCOUNT, PASSWORD};
use cumulet_tests::http::Client;
use cumulet_tests::lab::program::command;
use cumulet_tests::lab::{Daemon, Lab, Machine, Network, Spec};
use cumulet_tests::site::{Range, Site, Wanted};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::hosts;
use crate::plan::{CONTROLLERS, Party};
use controller::Controller;
use database::Database;

/// As it is dropped, from top to bottom.
pub struct Ground {
    pub controllers: Vec<Mutex<Controller>>,
    pub database: Mutex<Database>,
    pub lease: Duration,
    outages: std::sync::Mutex<Vec<(Instant, Option<Instant>)>>,
    controller_logs: Vec<PathBuf>,
    dir: PathBuf,
    session: OnceCell<String>,
    _fleet: (Daemon, Machine),
    _lab: Lab,
}

impl Ground {
    pub async fn new(dir: &Path, program: PathBuf, lease: Duration, seed: u64) -> Result<Ground> {
        let lab = Lab::open(dir, &prefix(dir))?;
        let made = controller::Made { program, library: clock::library(lab.dir())?, lease };
        let [one, other] = [("pga", 21), ("pgb", 22)]
            .map(|(name, last)| network::join(&lab, name, &[network::address(last)]));
        let database_networks = [one?, other?];
        let mut networks = database_networks.to_vec();
        let mut database = Database::start(&lab, database_networks).await?;
        let mut controllers = Vec::new();
        for number in 0..CONTROLLERS {
            let network = network::join(&lab, &format!("c{number}"), &[controller::ip(number)])?;
            networks.push(network.clone());
            controllers.push(Controller::new(&lab, number, network, &made)?);
        }
        let fleet = network::join(&lab, "fleet", &hosts::addresses())?;
        networks.push(fleet.clone());
        database.furnish(networks).await?;
        let fleet = start_fleet(&lab, fleet, seed).await?;
        for (number, controller) in controllers.iter_mut().enumerate() {
            controller.start(number).await?;
        }
        Ok(Ground {
            controller_logs: controllers.iter().map(Controller::log).collect(),
            controllers: controllers.into_iter().map(Mutex::new).collect(),
            database: Mutex::new(database),
            lease,
            outages: std::sync::Mutex::default(),
            dir: lab.dir().to_owned(),
            session: OnceCell::new(),
            _fleet: fleet,
            _lab: lab,
        })
    }

    /// Everything that a VM needs, made through the API.
    pub async fn furnish(&self) -> Result<Site> {
        let api = self.login(0).await?;
        for (path, value) in [("host/ping.interval", "10"), ("backupStorage/ping.interval", "10")] {
            let path = format!("/global-configurations/{path}/actions");
            let body = serde_json::json!({ "updateGlobalConfig": { "value": value } });
            api.call(hyper::Method::PUT, &path, body).await?;
        }
        let _first = self.session.set(api.session().to_owned());
        Site::furnish(&api, &wanted(), &|_| ()).await
    }

    /// Starts controllers again that have ended by themselves, as systemd does, until it is dropped.
    pub async fn supervise(&self) {
        loop {
            for controller in &self.controllers {
                // Whoever holds it does something to it.
                let Ok(mut controller) = controller.try_lock() else { continue };
                if let Err(error) = controller.restart_if_ended() {
                    eprintln!("a controller is not started again: {error:#}");
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    pub async fn login(&self, number: usize) -> Result<Api> {
        Api::login(Client::default(), &base(number), ACCOUNT, PASSWORD).await
    }

    /// What everybody may present from the start.
    pub fn session(&self) -> String {
        self.session.get().cloned().unwrap_or_default()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn controller_logs(&self) -> &[PathBuf] {
        &self.controller_logs
    }

    /// From now on the database may not take writes, until [`Ground::outage_ends`].
    pub fn outage_begins(&self) {
        self.outages.lock().expect("never poisoned").push((Instant::now(), None));
    }

    /// Waits until the database takes writes.
    pub async fn outage_ends(&self) {
        while !database::takes_writes().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if let Some(last) = self.outages.lock().expect("never poisoned").last_mut() {
            last.1 = Some(Instant::now());
        }
    }

    /// Whether the database may not have taken writes between these moments.
    pub fn outage_in(&self, from: Instant, to: Instant) -> bool {
        let outages = self.outages.lock().expect("never poisoned");
        outages.iter().any(|(began, ended)| *began <= to && ended.is_none_or(|ended| from <= ended))
    }

    pub fn outage_time(&self) -> Duration {
        let outages = self.outages.lock().expect("never poisoned");
        outages.iter().map(|(began, ended)| ended.unwrap_or_else(Instant::now) - *began).sum()
    }
}

/// Names of networks are the whole machine's: another directory has others.
fn prefix(dir: &Path) -> String {
    let mut hash = std::hash::DefaultHasher::new();
    dir.hash(&mut hash);
    format!("x{:06x}", hash.finish() & 0xff_ffff)
}

pub fn base(number: usize) -> String {
    format!("http://{}/zstack/v1", controller::at(number))
}

/// Where a party is, and a port at which it listens.
pub fn whereabouts(party: Party) -> (Vec<Ipv4Addr>, Option<std::net::SocketAddr>) {
    match party {
        Party::Controller(number) => (vec![controller::ip(number)], Some(controller::at(number))),
        Party::Database => (Database::addresses(), Some(network::at(network::PRIMARY, database::PORT))),
        Party::Hosts => {
            let addresses = hosts::addresses();
            let first = network::at(addresses[0], hosts::PORTS[0]);
            (addresses, Some(first))
        }
        Party::Clients => (vec![network::CLIENTS], None),
    }
}

async fn start_fleet(lab: &Lab, network: Network, seed: u64) -> Result<(Daemon, Machine)> {
    let spec = Spec { name: "fleet".into(), network: Some(network), ..Spec::default() };
    let machine = lab.machine(spec)?;
    let (program, socket) = (std::env::current_exe()?, lab.dir().join("fleet.sock"));
    let seed = seed.to_string();
    let args = ["hosts".as_ref(), "--socket".as_ref(), socket.as_os_str(), "--seed".as_ref(), seed.as_ref()];
    let mut command = command(&program.to_string_lossy(), args);
    command.env("NO_COLOR", "1").env("TMPDIR", lab.make_dir("fleet")?);
    command.env("RUST_LOG", "warn");
    let mut daemon = machine.daemon("hosts", command)?;
    while !socket.exists() {
        daemon.must_live()?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((daemon, machine))
}

fn wanted() -> Wanted {
    let hosts = hosts::addresses();
    Wanted {
        hosts: hosts.iter().enumerate().map(|(n, ip)| (format!("hv{n}"), (*ip).into())).collect(),
        primary: "/chaos_ps".into(),
        images_at: hosts[0].into(),
        backup: "/chaos_bs".into(),
        image: "http://images.example.org/tiny.qcow2".into(),
        physical: "eth1".into(),
        range: Range {
            start: Ipv4Addr::new(10, 9, 0, 10),
            end: Ipv4Addr::new(10, 9, 3, 250),
            netmask: Ipv4Addr::new(255, 255, 252, 0),
            gateway: Ipv4Addr::new(10, 9, 0, 1),
        },
    }
}
