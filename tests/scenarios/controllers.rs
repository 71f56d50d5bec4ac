//! Three controllers on one PostgreSQL: any of them serves, the work of a dead one is done by the others.

use std::path::Path;
use std::time::Duration;

use cumulet_tests::api::Api;
use cumulet_tests::controller::{Controller, Ports, Shared, free_address};
use cumulet_tests::postgres::Postgres;
use cumulet_tests::site::Site;
use fleet::{Host, Moment};
use hyper::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use wire::Call;
use wire::calls::vm;

use crate::crash::CREATE;
use crate::site::wanted;

const HEARTBEAT: Duration = Duration::from_millis(400);
const LEASE: Duration = Duration::from_millis(2000);

/// As it is dropped, from top to bottom.
struct Three {
    controllers: Vec<Controller>,
    apis: Vec<Api>,
    host: Host,
    site: Site,
    postgres: Postgres,
    _dir: TempDir,
}

impl Three {
    async fn start(name: &str) -> Three {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("three-{name}"));
        let _of_an_earlier_run = std::fs::remove_dir_all(&home);
        let postgres = Postgres::start(&home).await.unwrap();
        let (host, dir) = (Host::start().await.unwrap(), tempfile::tempdir().unwrap());
        let ports =
            Ports { kvm: host.kvm.port(), vrouter: host.vrouter.port(), storage: host.storage.port() };
        let shared =
            Shared { database: postgres.database("cumulet").unwrap(), heartbeat: HEARTBEAT, lease: LEASE };
        let (mut controllers, mut apis) = (Vec::new(), Vec::new());
        for n in 0..3 {
            let own = dir.path().join(n.to_string());
            std::fs::create_dir(&own).unwrap();
            let program = cumulet_tests::target().join("debug/cumulet-controller");
            let mut controller = Controller::among(program, &own, ports, &shared).unwrap();
            controller.start().await.unwrap();
            apis.push(controller.login().await.unwrap());
            controllers.push(controller);
        }
        let site = Site::furnish(&apis[0], &wanted(), &|_| ()).await.unwrap();
        Three { controllers, apis, host, site, postgres, _dir: dir }
    }

    async fn list(&self, at: usize, path: &str) -> Vec<Value> {
        let mut reply = self.apis[at].get(path).await.unwrap();
        serde_json::from_value(reply["inventories"].take()).unwrap()
    }

    /// The era that the n-th controller is in, if it is in one.
    fn era(&self, n: usize) -> String {
        let home = std::fs::read_to_string(self.controllers[n].dir().join("node")).unwrap();
        let ask = format!("SELECT uuid FROM node WHERE home = '{home}'");
        self.postgres.sql_in("cumulet", &ask).unwrap().trim().to_owned()
    }

    /// All eras that are.
    async fn owners(&self) -> Vec<String> {
        let answer = self.postgres.sql_in("cumulet", "SELECT uuid FROM node").unwrap();
        answer.lines().map(str::to_owned).collect()
    }

    /// The job that was acknowledged at one controller, at another.
    fn at(&self, n: usize, location: &str) -> String {
        let (_, job) = location.rsplit_once('/').unwrap();
        format!("{}/api-jobs/{job}", self.apis[n].base())
    }
}

/// Every list that the API has.
fn lists() -> Vec<String> {
    let wiring = include_str!("../../controller/wiring.txt");
    let queries = wiring.lines().filter_map(|line| line.trim().strip_prefix("GET")?.split_once(" → Query"));
    let paths: Vec<_> = queries.map(|(path, _)| path.trim().to_owned()).collect();
    assert!(paths.len() > 15, "{paths:?}");
    paths
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(30), "not so after 30 s: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_controller_serves_and_all_know_what_one_was_told() {
    let three = Three::start("any").await;
    assert_eq!(three.owners().await.len(), 3);
    for n in 0..3 {
        let body = json!({ "params": three.site.vm(format!("vm-{n}")) });
        let job = three.apis[n].begin(Method::POST, "/vm-instances", body).await.unwrap();
        let made = three.apis[(n + 1) % 3].follow(&three.at((n + 1) % 3, &job)).await.unwrap();
        assert_eq!(made["inventory"]["state"], "Running");
    }
    assert_eq!(three.list(2, "/vm-instances").await.len(), 3);
    for path in lists() {
        three.apis[1].get(&path).await.unwrap();
    }
    let path = "/global-configurations/image/expungePeriod/actions";
    let change = json!({ "updateGlobalConfig": { "value": "77" } });
    three.apis[0].call(Method::PUT, path, change).await.unwrap();
    for n in 0..3 {
        until("the setting is known everywhere", async || {
            let found = three.list(n, "/global-configurations?q=category=image").await;
            found.iter().any(|one| one["name"] == "expungePeriod" && one["value"] == "77")
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_for_one_vm_wait_for_each_other_wherever_they_arrive() {
    let three = Three::start("order").await;
    let made = three.apis[0].create("/vm-instances", three.site.vm("web")).await.unwrap();
    let path = format!("/vm-instances/{}/actions", made["uuid"].as_str().unwrap());
    let mut jobs = Vec::new();
    for n in 0..12 {
        let body = json!({ "rebootVmInstance": {} });
        jobs.push((n % 3, three.apis[n % 3].begin(Method::PUT, &path, body).await.unwrap()));
    }
    for (n, job) in jobs {
        three.apis[n].follow(&job).await.unwrap();
    }
    assert_eq!(three.host.world.count(vm::Reboot::PATH), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_whose_creation_was_at_work_in_dead_controllers_runs_once() {
    let mut three = Three::start("dead").await;
    let mut adopted = 0;
    // Whose a creation is, chance says: after all of them, until one was in a dead controller.
    for (round, path) in CREATE.iter().cycle().take(4 * CREATE.len()).enumerate() {
        if round >= CREATE.len() && adopted > 0 {
            break;
        }
        let (one, two, left) = (round % 3, (round + 1) % 3, (round + 2) % 3);
        let (kill_one, kill_two) = (three.controllers[one].killer(), three.controllers[two].killer());
        three.host.world.trap(path, Moment::After, move || {
            kill_one();
            kill_two();
        });
        let started = three.host.world.count(vm::Start::PATH);
        let body = json!({ "params": three.site.vm(format!("vm-{round}")) });
        let job = three.apis[one].begin(Method::POST, "/vm-instances", body).await.unwrap();
        three.controllers[one].dies().await.unwrap();
        three.controllers[two].dies().await.unwrap();
        let died = Instant::now();
        let queues = three.apis[left].get("/queues").await.unwrap();
        let unreached = queues["unreached"].as_array().map_or(0, Vec::len);
        assert!(unreached >= 1 || died.elapsed() > LEASE, "{path}: who is dead is not named: {queues}");
        let made = three.apis[left].follow(&three.at(left, &job)).await.unwrap();
        assert_eq!(made["inventory"]["state"], "Running", "{path}");
        assert!(died.elapsed() < LEASE + Duration::from_secs(8), "{path}: took {:?}", died.elapsed());
        assert_eq!(three.host.world.count(vm::Start::PATH), started + 1, "{path}: started once");
        adopted += usize::from(three.controllers[left].said("adopted"));
        three.controllers[one].start().await.unwrap();
        three.controllers[two].start().await.unwrap();
    }
    assert!(adopted > 0, "no flow was ever in a dead controller");
    let known: Vec<_> = three.list(0, "/vm-instances").await;
    assert_eq!(three.host.world.state().domains.len(), known.len());
}

/// Agents reach every controller but the one that sends; without the others each command would wait two
/// seconds for the first question.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_is_told_to_another_controller_reaches_the_flow_that_waits() {
    let mut three = Three::start("astray").await;
    for controller in &mut three.controllers {
        controller.killer()();
        controller.dies().await.unwrap();
        let nobody = free_address().unwrap();
        let plain = "agents = \"plain\"";
        controller.amend(plain, &format!("{plain}\ncallback-url = \"http://{nobody}/c\"")).unwrap();
        let url = format!("[node]\nurl = \"http://{}\"", controller.address());
        controller.amend("[node]", &url).unwrap();
        controller.start().await.unwrap();
    }
    until("all are back", async || three.owners().await.len() == 3).await;
    let made = three.apis[0].create("/vm-instances", three.site.vm("warm")).await.unwrap();
    assert_eq!(made["state"], "Running");
    let began = Instant::now();
    let made = three.apis[1].create("/vm-instances", three.site.vm("quick")).await.unwrap();
    assert_eq!(made["state"], "Running");
    assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
    let commands = three.host.world.effects().into_iter().filter(|effect| effect.sender.ends_with("/c"));
    assert!(commands.count() >= 4, "agents were told addresses at which nobody listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_slept_longer_than_its_lease_changes_nothing_and_comes_back() {
    let three = Three::start("asleep").await;
    let before = three.era(0);
    let mut jobs = Vec::new();
    for n in 0..9 {
        let body = json!({ "params": three.site.vm(format!("vm-{n}")) });
        jobs.push(three.apis[1].begin(Method::POST, "/vm-instances", body).await.unwrap());
    }
    three.controllers[0].signal(Signal::SIGSTOP).unwrap();
    for job in &jobs {
        let made = three.apis[1].follow(job).await.unwrap();
        assert_eq!(made["inventory"]["state"], "Running");
    }
    until("the sleeper is buried", async || three.era(0).is_empty()).await;
    three.controllers[0].signal(Signal::SIGCONT).unwrap();
    until("the sleeper is back", async || !three.era(0).is_empty()).await;
    assert_ne!(three.era(0), before, "it came back as another");
    assert_eq!(three.host.world.count(vm::Start::PATH), 9, "each VM was started once");
    let made = three.apis[0].create("/vm-instances", three.site.vm("late")).await.unwrap();
    assert_eq!(made["state"], "Running");
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_work_is_done_although_the_database_is_away_for_a_while() {
    let mut three = Three::start("database").await;
    let mut jobs = Vec::new();
    for n in 0..6 {
        let body = json!({ "params": three.site.vm(format!("vm-{n}")) });
        jobs.push(three.apis[n % 3].begin(Method::POST, "/vm-instances", body).await.unwrap());
    }
    three.postgres.stop(Signal::SIGQUIT).unwrap();
    sleep(LEASE + Duration::from_millis(500)).await;
    let refused = three.apis[0].get("/zones").await.unwrap_err().to_string();
    assert!(!refused.is_empty());
    three.postgres.resume().await.unwrap();
    until("all are back", async || three.owners().await.len() == 3).await;
    for job in jobs {
        let mut made = three.apis[1].follow(&three.at(1, &job)).await;
        for _ in 0..20 {
            if made.is_ok() {
                break;
            }
            sleep(Duration::from_millis(250)).await;
            made = three.apis[1].follow(&three.at(1, &job)).await;
        }
        assert_eq!(made.unwrap()["inventory"]["state"], "Running");
    }
    assert_eq!(three.host.world.count(vm::Start::PATH), 6, "each VM was started once");
}
