//! Hosts that are not as the records say: found, told, and put right as far as an operator wants it. What is
//! being made or unmade is left alone.

use std::thread;
use std::time::Duration;

use fleet::{Moment, World};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wire::Call;
use wire::calls::{dhcp, localstorage, vm};

use crate::site::Site;

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than the time that a suspicion must stand here.
const SETTLED: Duration = Duration::from_millis(1200);

const NOBODYS: &str = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a0a";

fn file() -> String {
    format!("/fleet_ps/rootVolumes/acct-x/vol-{NOBODYS}/{NOBODYS}.qcow2")
}

async fn set(site: &Site, name: &str, value: &str) {
    let path = format!("/global-configurations/sweep/{name}/actions");
    let body = json!({ "updateGlobalConfig": { "value": value } });
    site.api.call(Method::PUT, &path, body).await.unwrap();
}

async fn sweep(site: &Site) -> Vec<Value> {
    let mut told = site.api.call(Method::PUT, "/sweep/actions", json!({ "runSweep": {} })).await.unwrap();
    assert_eq!(told["skipped"], json!([]));
    serde_json::from_value(told["inventories"].take()).unwrap()
}

fn kinds(findings: &[Value], state: &str) -> Vec<String> {
    let kind = |finding: &Value| finding["kind"].as_str().unwrap().to_owned();
    let mut kinds: Vec<_> = findings.iter().filter(|one| one["state"] == state).map(kind).collect();
    kinds.sort();
    kinds
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "still not so: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Sweeps every second that take away what they have seen for a second.
async fn eager() -> Site {
    let mut site = Site::start().await;
    for (name, value) in [("settle", "1"), ("consent", "repair"), ("interval", "1")] {
        set(&site, name, value).await;
    }
    // The pause before the next pass was chosen before.
    site.controller.killer()();
    site.controller.dies().await.unwrap();
    site.controller.start().await.unwrap();
    site
}

/// Waits as an agent's command does that takes long.
#[expect(clippy::disallowed_methods, reason = "a trap is no future")]
fn dawdle(pause: Duration) {
    thread::sleep(pause);
}

/// Something that the next passes take away: when it is gone, they have come by.
fn bait(world: &World) {
    world.meddle(|state| {
        state.volumes.insert(file());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_of_every_kind_is_found_and_put_right_when_an_operator_says_so() {
    let site = Site::start().await;
    set(&site, "settle", "1").await;
    let vm = site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    let uuid = vm["uuid"].as_str().unwrap().to_owned();
    assert_eq!(sweep(&site).await, Vec::<Value>::new(), "a cloud as it should be has no findings");
    let before = site.world().state();

    site.world().meddle(|state| {
        state.domains.remove(&uuid);
        state.domains.insert(NOBODYS.into(), "Running".into());
        state.volumes.insert(file());
        state.cache.insert(format!("/fleet_ps/imagecache/template/{NOBODYS}/{NOBODYS}"));
        state.bridges.insert("br_eth9".into(), NOBODYS.into());
        state.taps.insert("vnic999.0".into());
        state.namespaces.insert(format!("br_eth9_{NOBODYS}"));
        state.leases.insert("fa:00:00:00:00:01".into(), state.leases.values().next().unwrap().clone());
        state.images.insert(NOBODYS.into());
    });
    assert_eq!(kinds(&sweep(&site).await, "Repaired"), ["vmState"]);
    assert_eq!(site.list(&format!("/vm-instances?q=uuid={uuid}")).await[0]["state"], "Stopped");
    sleep(SETTLED).await;
    let found = sweep(&site).await;
    let all = ["bridge", "cachedImage", "domain", "image", "lease", "namespace", "tap", "volume"];
    assert_eq!(kinds(&found, "Open"), all);

    for finding in found.iter().filter(|one| one["state"] == "Open" && one["repairable"] == true) {
        let path = format!("/sweep/findings/{}/actions", finding["uuid"].as_str().unwrap());
        let done = site.api.call(Method::PUT, &path, json!({ "repairFinding": {} })).await.unwrap();
        assert_eq!(done["inventory"]["state"], "Repaired", "{finding}");
    }
    let mut after = site.world().state();
    assert_eq!(after.taps.len(), 1, "no agent removes a tap");
    after.taps.clear();
    let mut expected = before;
    expected.domains.clear();
    expected.leases.clear();
    expected.served.clear();
    expected.told.clear();
    expected.names.clear();
    assert_eq!(after, expected);
    site.api
        .call(Method::PUT, &format!("/vm-instances/{uuid}/actions"), json!({ "startVmInstance": {} }))
        .await
        .unwrap();
    assert_eq!(kinds(&sweep(&site).await, "Suspected"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_made_is_left_alone_however_long_it_takes() {
    let site = eager().await;
    for path in [
        localstorage::Download::PATH,
        localstorage::CreateFromCache::PATH,
        dhcp::BatchApply::PATH,
        vm::Start::PATH,
    ] {
        bait(site.world());
        // Its effect is there, its outcome is not, and sweeps come by meanwhile.
        let world = site.host.world.clone();
        site.world().trap(path, Moment::After, move || {
            let started = std::time::Instant::now();
            while world.state().volumes.contains(&file()) && started.elapsed() < PATIENCE {
                dawdle(Duration::from_millis(50));
            }
            dawdle(SETTLED * 2);
        });
        let vm = site.api.create("/vm-instances", site.vm("web")).await.unwrap();
        assert_eq!(vm["state"], "Running", "{path}");
        assert!(site.world().sprung(), "{path}");
        assert!(!site.world().state().volumes.contains(&file()), "{path}: no sweep came by");
    }
    assert_eq!(site.world().count(vm::Destroy::PATH), 0);
    assert_eq!(site.world().state().domains.len(), 4);
    let findings = site.list("/sweep/findings").await;
    assert_eq!((findings.len(), kinds(&findings, "Repaired")), (1, vec!["volume".into()]), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_whose_controller_died_while_it_started_is_not_taken_for_nobodys() {
    let mut site = eager().await;
    site.world().trap(vm::Start::PATH, Moment::After, site.controller.killer());
    let job = site.begin(Method::POST, "/vm-instances", json!({ "params": site.vm("web") })).await;
    site.controller.dies().await.unwrap();
    assert!(site.world().sprung());
    sleep(SETTLED).await;
    bait(site.world());
    site.controller.start().await.unwrap();
    assert_eq!(site.end(&job).await.unwrap()["inventory"]["state"], "Running");
    until("sweeps come by", async || !site.world().state().volumes.contains(&file())).await;
    assert_eq!(site.list("/vm-instances").await[0]["state"], "Running");
    assert_eq!((site.world().count(vm::Start::PATH), site.world().count(vm::Destroy::PATH)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_whose_controller_dies_is_finished_by_the_next_one() {
    let mut site = eager().await;
    for moment in [Moment::Before, Moment::After] {
        site.world().trap(localstorage::Delete::PATH, moment, site.controller.killer());
        bait(site.world());
        site.controller.dies().await.unwrap();
        assert!(site.world().sprung(), "{moment:?}");
        site.controller.start().await.unwrap();
        let site = &site;
        let repaired = async || kinds(&site.list("/sweep/findings").await, "Repaired") == ["volume"];
        until("it is repaired", repaired).await;
        assert!(!site.world().state().volumes.contains(&file()), "{moment:?}");
        assert!(site.list("/flows?q=state?=running,parked").await.is_empty(), "{moment:?}");
    }
}
