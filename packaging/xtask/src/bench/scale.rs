//! Rows 7 and 9: a million VMs, and a hundred thousand hosts that beat: what reading takes, and how much memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use cumulet_tests::api::{Api, Method, text};
use cumulet_tests::controller::{Controller, Ports};
use serde_json::json;
use tokio::time::sleep;

use super::create::{Base, Cloud, DATABASE};
use super::crowd::{Crowd, Database};
use super::ground::{Ground, build, program};
use super::heartbeats::{Hosts, Scale};
use super::load::{Aim, Limit, Measured, Told, load};
use super::subject::{free_address, memory};
use super::table::{Gate, Line, Report, Unit};

/// So many ask at a time, for so long.
const LANES: usize = 2;
const TIME: Duration = Duration::from_secs(5);
/// All hosts have been heard twice.
const HEARD: Duration = Duration::from_secs(25);

/// A question, its gates and nova's answers (p50 and p99, in milliseconds; see docs/benchmarks.md).
struct Question {
    name: &'static str,
    path: fn(u64) -> String,
    gates: Option<[f64; 2]>,
    nova: Option<[f64; 2]>,
}

const QUESTIONS: [Question; 4] = [
    Question {
        name: "GET one VM",
        path: |number| format!("/vm-instances/{}", Crowd::vm(number)),
        gates: Some([2.0, 10.0]),
        nova: Some([25.0, 33.0]),
    },
    Question {
        name: "a page of 100 VMs",
        path: |number| format!("/vm-instances?limit=100&sort=%2Bname&q=name%3E={}", Crowd::name(number)),
        gates: Some([10.0, 40.0]),
        nova: Some([144.0, 315.0]),
    },
    Question {
        name: "VMs of an address",
        path: |number| {
            let ip = format!("11.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
            format!("/vm-instances?q=vmNics.ip={ip}")
        },
        gates: None,
        nova: None,
    },
    Question {
        name: "how many are stopped",
        path: |_| "/vm-instances?q=state=Stopped&count=true".into(),
        gates: None,
        nova: None,
    },
];

pub async fn measure(ground: &Ground, vms: u64, scale: Scale) -> Result<Report> {
    build(&["-p", "cumulet-controller"])?;
    build(&["-p", "fleet", "--example", "hosts"])?;
    build(&["-p", "fleet", "--example", "beats"])?;
    let mut report = Report::default();
    for base in [Base::Sqlite, Base::Postgres] {
        let (mut cloud, cluster) = crowded(ground, base, vms).await?;
        ground.progress.stage(&format!("row 7: reading{}", base.name()));
        for question in &QUESTIONS {
            let aim = aim(&cloud, question.path, vms);
            report.lines.extend(question.lines(base, &load(&aim, LANES, Limit::time(TIME)).await?));
        }
        if base == Base::Sqlite {
            cloud.controller.killer()();
            cloud.controller.dies().await?;
            report.lines.push(with_hosts(ground, cloud.controller, &cluster, vms, scale).await?);
        }
    }
    report
        .notes
        .push(format!("rows 7, 9: {vms} VMs with a disk, a NIC and an address each, {LANES} ask at a time"));
    Ok(report)
}

/// A controller that has so many VMs; the inventory sweep, which asks every host, is put off.
async fn crowded(ground: &Ground, base: Base, vms: u64) -> Result<(Cloud, String)> {
    ground.progress.stage(&format!("row 7: {vms} VMs{}", base.name()));
    let mut cloud = Cloud::start(ground, base, "row7", 1).await?;
    let vm = cloud.api.create("/vm-instances", cloud.site.vm("template")).await?;
    let year = json!({ "updateGlobalConfig": { "value": "31536000" } });
    cloud.api.call(Method::PUT, "/global-configurations/sweep/interval/actions", year).await?;
    cloud.controller.killer()();
    cloud.controller.dies().await?;
    let file = cloud.controller.dir().join("cumulet.db");
    let database = match &cloud.postgres {
        None => Database::Sqlite(&file),
        Some(server) => Database::Postgres(server, DATABASE),
    };
    Crowd { database, template: text(&vm, "/uuid")?, number: vms }.enter()?;
    cloud.controller.start().await?;
    cloud.api = cloud.controller.login().await?;
    let cluster = cloud.site.cluster.clone();
    Ok((cloud, cluster))
}

fn aim(cloud: &Cloud, path: fn(u64) -> String, vms: u64) -> Aim {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let session = cloud.api.session().to_owned();
    let request = move |_: &str, _: &str| {
        let number = 1 + COUNT.fetch_add(7_919, Ordering::Relaxed) % vms;
        let path = path(number);
        format!("GET /zstack/v1{path} HTTP/1.1\r\nhost: bench\r\nauthorization: OAuth {session}\r\n\r\n")
    };
    let question = Arc::new(|_: &str| String::new());
    let to = cloud.controller.address();
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

impl Question {
    fn lines(&self, base: Base, measured: &Measured) -> [Line; 2] {
        [(0, "p50", 0.5), (1, "p99", 0.99)].map(|(at, name, share)| {
            let metric = format!("{}{} {name}", self.name, base.name());
            let line = Line::new(7, metric, Unit::Milliseconds.of(measured.milliseconds(share)));
            let line = line.peer(self.nova.map(|nova| Unit::Milliseconds.of(nova[at]).earlier()));
            self.gates.iter().fold(line, |line, gates| line.gate(Gate::AtMost(gates[at])))
        })
    }
}

/// The same controller when very many hosts beat.
async fn with_hosts(ground: &Ground, was: Controller, cluster: &str, vms: u64, scale: Scale) -> Result<Line> {
    let hosts = scale.hosts;
    ground.progress.stage(&format!("row 9: {vms} VMs and {hosts} hosts"));
    let kvm = free_address()?.port();
    let ports = Ports { kvm, vrouter: 1, storage: 1 };
    let mut controller = Controller::new(program("cumulet-controller"), was.dir(), ports)?;
    controller.start().await?;
    let _beats = Hosts::start(ground, &controller, cluster, hosts, kvm)?;
    sleep(HEARD).await;
    let api: Api = controller.login().await?;
    for question in &QUESTIONS {
        api.get(&(question.path)(1)).await?;
    }
    let peak = memory(controller.pid())?.peak;
    let metric = format!("memory of a controller with {hosts} hosts, at most");
    Ok(Line::new(9, metric, Unit::Megabytes.of(peak)).gate(Gate::AtMost(1500.0)))
}
