//! Rows 4 to 6: creating VMs on simulated hosts, durably: how many, how soon, at what cost.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cumulet_tests::api::Api;
use cumulet_tests::controller::{Controller, Ports, Shared};
use cumulet_tests::lab::program::command;
use cumulet_tests::postgres::Postgres;
use cumulet_tests::site::{Range, Site, Wanted};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::json;

use super::ground::{Ground, build, example, program};
use super::load::{Aim, Limit, Measured, Told, load};
use super::subject::{free_address, processor_time};
use super::table::{Figure, Gate, Line, Report, Unit};
use crate::packages::{self, Purpose};

pub const HOSTS: u8 = 8;
/// As a controller has them that is told nothing else.
const HEARTBEAT: Duration = Duration::from_secs(2);
const LEASE: Duration = Duration::from_secs(10);
/// Every host has fetched the image by then.
const WARM_UP: usize = 32;
/// How many at a time, for how long, and nova's creations per second with so many (see docs/benchmarks.md).
const LOADS: [(usize, Duration, f64); 3] =
    [(1, Duration::from_secs(5), 1.9), (8, Duration::from_secs(5), 2.5), (32, Duration::from_secs(8), 2.4)];
/// Of nova with one at a time, in milliseconds, and per creation in milliseconds of processor time.
const NOVA_LATENCY: f64 = 480.0;
const NOVA_PROCESSOR: f64 = 620.0;

pub const DATABASE: &str = "creations";
const COUNTED: usize = 100;
const FORGET: &str = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT pg_stat_statements_reset()";
const ALL: &str = "SELECT round(sum(calls) / {trips}.0, 1) FROM pg_stat_statements";
const EACH: &str = "SELECT round(calls / {trips}.0, 2), round(mean_exec_time::numeric, 3), query \
     FROM pg_stat_statements ORDER BY calls DESC";

/// What the controller keeps its rows in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Base {
    Sqlite,
    Postgres,
}

/// Simulated hosts in a process of their own, which ends with its standard input.
pub struct Fleet {
    child: Child,
    input: Option<ChildStdin>,
    at: At,
}

#[derive(Deserialize)]
struct At {
    kvm: u16,
    vrouter: u16,
    storage: u16,
    addresses: Vec<IpAddr>,
}

/// A load, and the processor time of controller and hosts.
struct Round {
    measured: Measured,
    controller: Duration,
    fleet: Duration,
}

/// A controller, and simulated hosts that are its.
pub struct Cloud {
    pub controller: Controller,
    fleet: Fleet,
    pub api: Api,
    pub site: Site,
    pub postgres: Option<Postgres>,
}

pub async fn measure(ground: &Ground) -> Result<Report> {
    build(&["-p", "cumulet-controller"])?;
    build(&["-p", "fleet", "--example", "hosts"])?;
    build(&["-p", "xtask", "--example", "floor_create"])?;
    let mut report = on(ground, Base::Sqlite).await?;
    match on(ground, Base::Postgres).await {
        Ok(more) => report.add(more),
        Err(error) => report.failures.push(format!("rows 4 to 6 on PostgreSQL: {error:#}")),
    }
    report.lines.sort_by_key(|line| line.row);
    report.notes.push(format!("rows 4 to 6: {HOSTS} simulated hosts, whose agents journal on the same disk"));
    Ok(report)
}

async fn on(ground: &Ground, base: Base) -> Result<Report> {
    ground.progress.stage(&format!("row 4: a controller{} with simulated hosts", base.name()));
    let cloud = Cloud::start(ground, base, "row4", HOSTS).await?;
    load(&cloud.aim(), 1, Limit::trips(WARM_UP)).await?;
    let (address, state) = (free_address()?, ground.state(base.directory("row4", "floor"))?);
    let args = [address.to_string().into(), state.into_os_string()];
    let _floor = ground.start("floor_create.log", &example("floor_create"), args, address).await?;
    let mut report = Report::default();
    for (lanes, time, nova) in LOADS {
        ground.progress.stage(&format!("row 4: creating VMs{}, {lanes} at a time", base.name()));
        let ours = cloud.round(lanes, Limit::time(time)).await?;
        let floor = load(&floor_aim(address), lanes, Limit::time(time / 2)).await?;
        report.lines.extend(lines(lanes, base, &ours, &floor, nova));
        if lanes == 1 {
            report.lines.extend(latencies(base, &ours.measured, &floor));
        }
    }
    report.notes.extend(cloud.statements(ground).await?);
    cloud.all_run().await?;
    Ok(report)
}

impl Base {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " on PostgreSQL",
        }
    }

    fn directory(self, row: &str, what: &str) -> String {
        match self {
            Self::Sqlite => format!("{row}-{what}"),
            Self::Postgres => format!("{row}-postgres-{what}"),
        }
    }
}

/// A PostgreSQL that waits for the disk, as one that is meant to keep something.
pub async fn durable(dir: &Path) -> Result<Postgres> {
    packages::install(Purpose::Bench)?;
    let mut postgres =
        Postgres::start(dir).await?.with("fsync=on").with("shared_preload_libraries=pg_stat_statements");
    postgres.stop(Signal::SIGINT)?;
    postgres.resume().await?;
    Ok(postgres)
}

fn lines(lanes: usize, base: Base, ours: &Round, floor: &Measured, nova: f64) -> Vec<Line> {
    let (base, trips) = (base.name(), ours.measured.trips() as f64);
    let each = |time: Duration| Unit::Milliseconds.of(time.as_secs_f64() * 1e3 / trips);
    let rate = |measured: &Measured| Unit::PerSecond.of(measured.per_second());
    vec![
        Line::new(4, format!("VM creates c={lanes}{base}"), rate(&ours.measured))
            .floor(rate(floor))
            .peer(Some(Unit::PerSecond.of(nova).earlier()))
            .gate(Gate::TimesPeer(100.0)),
        Line::new(
            5,
            format!("CPU per create c={lanes}{base}, with hosts"),
            each(ours.controller + ours.fleet),
        )
        .peer(Some(Unit::Milliseconds.of(NOVA_PROCESSOR).earlier()))
        .gate(Gate::AtMost(6.0)),
        Line::new(5, format!("CPU per create c={lanes}{base}, controller"), each(ours.controller)),
    ]
}

fn latencies(base: Base, ours: &Measured, floor: &Measured) -> [Line; 2] {
    let base = base.name();
    let at = |measured: &Measured, share| -> Figure { Unit::Milliseconds.of(measured.milliseconds(share)) };
    [
        Line::new(6, format!("VM create latency c=1{base} p50"), at(ours, 0.5))
            .floor(at(floor, 0.5))
            .peer(Some(Unit::Milliseconds.of(NOVA_LATENCY).earlier()))
            .gate(Gate::AtMost(20.0)),
        Line::new(6, format!("VM create latency c=1{base} p99"), at(ours, 0.99)).floor(at(floor, 0.99)),
    ]
}

impl Fleet {
    /// `name` is that of their directory.
    pub fn start(ground: &Ground, number: u8, name: &str) -> Result<Self> {
        let mut hosts = command(&example("hosts").to_string_lossy(), [number.to_string()]);
        let log = std::fs::File::create(ground.log("hosts.log"))?;
        hosts.env("TMPDIR", ground.state(name)?).env("RUST_LOG", "warn");
        hosts.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = hosts.spawn().context("cannot start the simulated hosts")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let at = serde_json::from_str(&line).with_context(|| {
            format!("the simulated hosts do not start; see {}", ground.log("hosts.log").display())
        });
        Ok(Self { at: at?, child, input })
    }

    pub fn ports(&self) -> Ports {
        let At { kvm, vrouter, storage, .. } = self.at;
        Ports { kvm, vrouter, storage }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

impl Cloud {
    /// Its files are called by `row`.
    pub async fn start(ground: &Ground, base: Base, row: &str, hosts: u8) -> Result<Self> {
        let fleet = Fleet::start(ground, hosts, &base.directory(row, "hosts"))?;
        let (state, ports) = (ground.state(base.directory(row, "controller"))?, fleet.ports());
        let program = program("cumulet-controller");
        let (mut controller, postgres) = match base {
            Base::Sqlite => (Controller::new(program, &state, ports)?, None),
            Base::Postgres => {
                let postgres = durable(&ground.state(base.directory(row, "server"))?).await?;
                let database = postgres.database(DATABASE)?;
                let shared = Shared { database, heartbeat: HEARTBEAT, lease: LEASE };
                (Controller::among(program, &state, ports, &shared)?, Some(postgres))
            }
        };
        controller.start().await?;
        let api = controller.login().await?;
        let site = Site::furnish(&api, &wanted(&fleet)?, &|_| ()).await;
        let site = site.with_context(|| format!("the controller says:\n{}", controller.last_words()))?;
        Ok(Self { controller, fleet, api, site, postgres })
    }

    async fn round(&self, lanes: usize, limit: Limit) -> Result<Round> {
        let pids = [self.controller.pid(), self.fleet.child.id()];
        let [controller, fleet] = [processor_time(pids[0])?, processor_time(pids[1])?];
        let measured = load(&self.aim(), lanes, limit).await;
        let measured =
            measured.with_context(|| format!("the controller says:\n{}", self.controller.last_words()))?;
        Ok(Round {
            measured,
            controller: processor_time(pids[0])? - controller,
            fleet: processor_time(pids[1])? - fleet,
        })
    }

    /// VMs are created.
    pub fn aim(&self) -> Aim {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let (to, session, site) =
            (self.controller.address(), self.api.session().to_owned(), self.site.clone());
        let request = move |id: &str, _callback: &str| {
            let params = site.vm(format_args!("vm-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
            let body = json!({ "params": params }).to_string();
            format!(
                "POST /zstack/v1/vm-instances HTTP/1.1\r\nhost: {to}\r\nauthorization: OAuth {session}\r\n\
                 x-job-uuid: {id}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let asker = self.api.session().to_owned();
        let question = Arc::new(move |id: &str| {
            format!(
                "GET /zstack/v1/api-jobs/{id} HTTP/1.1\r\nhost: bench\r\nauthorization: OAuth {asker}\r\n\r\n"
            )
        });
        Aim {
            to,
            told: Told::Looking,
            status: 202,
            fresh: false,
            request: Arc::new(request),
            question,
            success: None,
        }
    }

    /// How many statements a creation is; which ones stands in the log.
    async fn statements(&self, ground: &Ground) -> Result<Option<String>> {
        let Some(postgres) = &self.postgres else { return Ok(None) };
        postgres.sql_in(DATABASE, FORGET)?;
        let trips = load(&self.aim(), 1, Limit::trips(COUNTED)).await?.trips();
        let [all, each] =
            [ALL, EACH].map(|sql| postgres.sql_in(DATABASE, &sql.replace("{trips}", &trips.to_string())));
        std::fs::write(ground.log("statements.txt"), each?)?;
        Ok(Some(format!("row 4: {} statements to PostgreSQL for a creation, one at a time", all?.trim())))
    }

    /// What was measured must have been what it is called.
    async fn all_run(&self) -> Result<()> {
        let running = self.api.get("/vm-instances?q=state=Running&count=true").await?;
        let all = self.api.get("/vm-instances?count=true").await?;
        ensure!(
            running["total"] == all["total"],
            "not every VM runs: {} of {}",
            running["total"],
            all["total"]
        );
        Ok(())
    }
}

pub fn wanted(fleet: &Fleet) -> Result<Wanted> {
    let at = &fleet.at;
    let hosts =
        at.addresses.iter().enumerate().map(|(number, address)| (format!("hv{}", number + 1), *address));
    Ok(Wanted {
        hosts: hosts.collect(),
        primary: "/fleet_ps".into(),
        images_at: *at.addresses.first().context("no simulated host")?,
        backup: "/fleet_bs".into(),
        image: "http://images.example.org/tiny.qcow2".into(),
        physical: "eth1".into(),
        range: Range {
            start: Ipv4Addr::new(10, 9, 0, 10),
            end: Ipv4Addr::new(10, 9, 255, 250),
            netmask: Ipv4Addr::new(255, 255, 0, 0),
            gateway: Ipv4Addr::new(10, 9, 0, 1),
        },
    })
}

fn floor_aim(to: SocketAddr) -> Aim {
    let request =
        move |_: &str, _: &str| format!("POST / HTTP/1.1\r\nhost: {to}\r\ncontent-length: 2\r\n\r\n{{}}");
    let question = Arc::new(|_: &str| String::new());
    Aim {
        to,
        told: Told::Answer,
        status: 200,
        fresh: false,
        request: Arc::new(request),
        question,
        success: None,
    }
}
