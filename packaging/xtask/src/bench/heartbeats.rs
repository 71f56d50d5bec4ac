//! Row 8: very many hosts that say every ten seconds that they live, to one controller.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cumulet_tests::api::{Api, Method, text};
use cumulet_tests::controller::{Controller, Ports};
use cumulet_tests::lab::program::command;
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::ground::{Ground, build, example, program};
use super::subject::{free_address, memory, processor_time};
use super::table::{Gate, Line, Report, Unit};

const INTERVAL: u64 = 10;

/// How many hosts, for how long.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub hosts: u32,
    pub time: Duration,
}

/// The hosts, in a process of their own, which ends with its standard input.
pub struct Hosts {
    child: Child,
    input: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
}

/// What they did.
#[derive(Debug, Deserialize)]
struct Told {
    beats: u64,
    pings: u64,
}

pub async fn measure(ground: &Ground, scale: Scale) -> Result<Report> {
    build(&["-p", "cumulet-controller"])?;
    build(&["-p", "fleet", "--example", "beats"])?;
    let Scale { hosts, time } = scale;
    ground.progress.stage(&format!("row 8: {hosts} hosts, {} s", time.as_secs()));
    let kvm = free_address()?.port();
    let state = ground.state("row8-controller")?;
    let ports = Ports { kvm, vrouter: 1, storage: 1 };
    let mut controller = Controller::new(program("cumulet-controller"), &state, ports)?;
    let cluster = furnish(&mut controller).await?;
    let idle = memory(controller.pid())?;
    let mut beats = Hosts::start(ground, &controller, &cluster, hosts, kvm)?;
    // Each has been heard twice, and the first pass of pings is over.
    sleep(Duration::from_secs(2 * INTERVAL)).await;
    let before = processor_time(controller.pid())?;
    sleep(time).await;
    let used = processor_time(controller.pid())? - before;
    let resident = memory(controller.pid())?.resident;
    let api = controller.login().await?;
    let lost = lost(&api, hosts).await?;
    let told = beats.end()?;
    let percent = 100.0 * used.as_secs_f64() / time.as_secs_f64();
    let line = |metric: &str, figure| Line::new(8, metric, figure);
    let lines = vec![
        line("CPU of the controller, of one core", Unit::Percent.of(percent)).gate(Gate::AtMost(100.0)),
        line("memory of the controller", Unit::Megabytes.of(resident)).gate(Gate::AtMost(1500.0)),
        line("hosts falsely lost", Unit::Hosts.of(lost)).gate(Gate::AtMost(0.0)),
    ];
    let note = format!(
        "row 8: {hosts} hosts every {INTERVAL} s for {} s, {} heartbeats, {} pings; {:.1} MB without hosts; the \
         inventory sweep, which asks every host, was put off",
        time.as_secs(),
        told.beats,
        told.pings,
        idle.resident
    );
    Ok(Report { lines, notes: vec![note], failures: Vec::new() })
}

/// A zone and a cluster. The inventory sweep has its next turn in a year: after a restart without hosts.
async fn furnish(controller: &mut Controller) -> Result<String> {
    controller.start().await?;
    let api = controller.login().await?;
    let zone = api.create("/zones", json!({ "name": "zone" })).await?;
    let cluster = json!({ "zoneUuid": zone["uuid"], "name": "cluster", "hypervisorType": "KVM" });
    let cluster = api.create("/clusters", cluster).await?;
    let year = json!({ "updateGlobalConfig": { "value": "31536000" } });
    api.call(Method::PUT, "/global-configurations/sweep/interval/actions", year).await?;
    controller.killer()();
    controller.dies().await?;
    controller.start().await?;
    // The passes that every start makes are over.
    sleep(Duration::from_secs(2)).await;
    Ok(text(&cluster, "/uuid")?.to_owned())
}

async fn lost(api: &Api, hosts: u32) -> Result<f64> {
    let connected = api.get("/hosts?q=status=Connected&count=true").await?;
    let connected = connected["total"].as_f64().context("no total")?;
    Ok(f64::from(hosts) - connected)
}

impl Hosts {
    /// Entered, and beating.
    pub fn start(ground: &Ground, to: &Controller, cluster: &str, hosts: u32, port: u16) -> Result<Self> {
        let database = to.dir().join("cumulet.db");
        let words = [
            database.display().to_string(),
            cluster.to_owned(),
            hosts.to_string(),
            INTERVAL.to_string(),
            port.to_string(),
            to.agents().to_string(),
        ];
        let mut beats = command(&example("beats").to_string_lossy(), words);
        let log = std::fs::File::create(ground.log("beats.log"))?;
        beats.env("TMPDIR", ground.state(format!("beats-{port}"))?).env("RUST_LOG", "warn");
        beats.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = beats.spawn().context("cannot start the hosts")?;
        let input = child.stdin.take();
        let mut said = BufReader::new(child.stdout.take().context("no output")?).lines();
        let ready = said.next().transpose()?;
        let log = ground.log("beats.log");
        ensure!(ready.as_deref() == Some("ready"), "the hosts do not start; see {}", log.display());
        Ok(Self { child, input, said })
    }

    fn end(&mut self) -> Result<Told> {
        drop(self.input.take());
        let told = self.said.next().transpose()?.context("the hosts ended without a word")?;
        Ok(serde_json::from_str(&told)?)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
