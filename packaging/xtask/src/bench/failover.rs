//! Row 10: one of three controllers is killed while VMs are created; what it had begun is finished by the others.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cumulet_tests::api::Api;
use cumulet_tests::controller::{Controller, Shared};
use cumulet_tests::postgres::Postgres;
use cumulet_tests::site::Site;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::create::{Fleet, HOSTS, durable, wanted};
use super::ground::{Ground, build, program};
use super::table::{Gate, Line, Report, Unit};

const HEARTBEAT: Duration = Duration::from_secs(2);
/// The default, and a short one, each with the gate in seconds.
const LEASES: [(u64, f64); 2] = [(10, 10.0), (3, 5.0)];
/// So many creations are always at work.
const LANES: usize = 16;
const WARM_UP: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(60);
/// The jobs that die with a controller: its own that wait, and those that its flows do.
const ITS_JOBS: &str = "SELECT j.uuid FROM job j LEFT JOIN flow f ON f.uuid = j.flow \
     JOIN node n ON n.uuid = coalesce(f.owner, j.owner) WHERE j.state <> 'done' AND n.url LIKE '%:";

struct Three {
    controllers: Vec<Controller>,
    apis: Vec<Api>,
    site: Site,
    postgres: Postgres,
    _fleet: Fleet,
}

/// What became of the jobs of the dead, counted from its death.
struct Outcome {
    jobs: usize,
    failed: usize,
    first: Duration,
    last: Duration,
}

pub async fn measure(ground: &Ground) -> Result<Report> {
    build(&["-p", "cumulet-controller"])?;
    build(&["-p", "fleet", "--example", "hosts"])?;
    let mut report = Report::default();
    for (lease, gate) in LEASES {
        ground.progress.stage(&format!("row 10: one of three controllers dies, lease {lease} s"));
        let outcome = Three::start(ground, lease).await?.lose_one().await?;
        report.lines.extend(lines(lease, gate, &outcome));
        report.notes.push(format!(
            "row 10, lease {lease} s: {} jobs were at work in the controller that was killed",
            outcome.jobs
        ));
    }
    Ok(report)
}

fn lines(lease: u64, gate: f64, outcome: &Outcome) -> Vec<Line> {
    let line = |metric: &str, time: Duration| {
        let metric = format!("{metric} after kill -9, lease {lease} s");
        Line::new(10, metric, Unit::Seconds.of(time.as_secs_f64()))
    };
    let lost = Line::new(10, format!("jobs lost, lease {lease} s"), Unit::Jobs.of(outcome.failed as f64));
    vec![
        line("first of its jobs ended", outcome.first).gate(Gate::AtMost(gate)),
        line("last of its jobs ended", outcome.last),
        lost.gate(Gate::AtMost(0.0)),
    ]
}

impl Three {
    async fn start(ground: &Ground, lease: u64) -> Result<Self> {
        let fleet = Fleet::start(ground, HOSTS, &format!("row10-hosts-{lease}"))?;
        let postgres = durable(&ground.state(format!("row10-postgres-{lease}"))?).await?;
        let database = postgres.database("failover")?;
        let heartbeat = HEARTBEAT.min(Duration::from_secs(lease) / 5);
        let shared = Shared { database, heartbeat, lease: Duration::from_secs(lease) };
        let (mut controllers, mut apis) = (Vec::new(), Vec::new());
        for n in 0..3 {
            let state = ground.state(format!("row10-{lease}-{n}"))?;
            let mut controller =
                Controller::among(program("cumulet-controller"), &state, fleet.ports(), &shared)?;
            controller.start().await?;
            apis.push(controller.login().await?);
            controllers.push(controller);
        }
        let site = Site::furnish(&apis[0], &wanted(&fleet)?, &|_| ()).await?;
        Ok(Self { controllers, apis, site, postgres, _fleet: fleet })
    }

    async fn lose_one(mut self) -> Result<Outcome> {
        let load = self.load();
        sleep(WARM_UP).await;
        self.controllers[0].killer()();
        let death = Instant::now();
        self.controllers[0].dies().await?;
        drop(load);
        let port = self.controllers[0].address().port();
        let jobs = self.postgres.sql_in("failover", &format!("{ITS_JOBS}{port}'"))?;
        let jobs: Vec<_> = jobs.split_whitespace().map(str::to_owned).collect();
        ensure!(!jobs.is_empty(), "nothing was at work in the controller that was killed");
        self.follow(jobs, death).await
    }

    /// Creations without end, at all three doors.
    fn load(&self) -> JoinSet<()> {
        let mut lanes = JoinSet::new();
        for lane in 0..LANES {
            let (api, site) = (self.apis[lane % 3].clone(), self.site.clone());
            lanes.spawn(async move {
                for n in 0.. {
                    let vm = site.vm(format!("vm-{lane}-{n}"));
                    if api.create("/vm-instances", vm).await.is_err() {
                        return;
                    }
                }
            });
        }
        lanes
    }

    async fn follow(&self, jobs: Vec<String>, death: Instant) -> Result<Outcome> {
        let mut followed = JoinSet::new();
        for job in &jobs {
            let (api, location) = (self.apis[1].clone(), format!("{}/api-jobs/{job}", self.apis[1].base()));
            followed.spawn(async move {
                let ended = timeout(PATIENCE, api.follow(&location)).await;
                (ended.is_ok_and(|outcome| outcome.is_ok()), death.elapsed())
            });
        }
        let ends = followed.join_all().await;
        let times = || ends.iter().filter(|(well, _)| *well).map(|(_, time)| *time);
        Ok(Outcome {
            jobs: jobs.len(),
            failed: ends.iter().filter(|(well, _)| !well).count(),
            first: times().min().context("none of its jobs was ever done")?,
            last: times().max().unwrap_or_default(),
        })
    }
}
