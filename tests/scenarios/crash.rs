//! The controller is killed at every command of a VM's life, before and after the command's effect.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet::{Moment, State};
use futures::future::join_all;
use hyper::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};
use wire::Call;
use wire::calls::{dhcp, localstorage, network, vm};

use crate::site::Site;

/// The commands that create a VM on a host that has its image and serves its network.
pub const CREATE: &[&str] =
    &[localstorage::CreateFromCache::PATH, dhcp::BatchPrepare::PATH, dhcp::BatchApply::PATH, vm::Start::PATH];

/// The commands that undo it.
pub const UNDO: &[&str] = &[vm::Destroy::PATH, dhcp::Release::PATH, localstorage::Delete::PATH];

/// The commands that take a zone away.
const DELETE: &[&str] = &[
    vm::Destroy::PATH,
    dhcp::Release::PATH,
    localstorage::Delete::PATH,
    localstorage::DeleteDir::PATH,
    dhcp::DeleteNamespace::PATH,
    network::DeleteBridge::PATH,
];

/// Kills the controller when `path` is carried out, starts it again, and tells how the job ended.
async fn killed_at(
    site: &mut Site,
    path: &'static str,
    moment: Moment,
    (method, to, body): (Method, &str, serde_json::Value),
) -> Result<serde_json::Value, String> {
    site.world().trap(path, moment, site.controller.killer());
    let job = site.begin(method, to, body).await;
    site.controller.dies().await.unwrap();
    assert!(site.world().sprung(), "the trap at {path} did not spring");
    site.controller.start().await.unwrap();
    site.end(&job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_vm_on_a_host_runs_once_when_the_controller_is_killed_as_its_image_is_fetched() {
    for moment in [Moment::Before, Moment::After] {
        let mut site = Site::start().await;
        let request = (Method::POST, "/vm-instances", json!({ "params": site.vm("web") }));
        let made = killed_at(&mut site, localstorage::Download::PATH, moment, request).await;
        assert_eq!(made.unwrap()["inventory"]["state"], "Running", "{moment:?}");
        assert_eq!(site.world().count(vm::Start::PATH), 1, "{moment:?}: started once");
        assert_eq!(site.world().count(localstorage::Download::PATH), 1, "{moment:?}: fetched once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_whose_controller_is_killed_at_any_command_of_its_creation_runs_once() {
    let mut site = Site::start().await;
    for path in CREATE {
        for moment in [Moment::Before, Moment::After] {
            let before = site.world().count(vm::Start::PATH);
            let request = (Method::POST, "/vm-instances", json!({ "params": site.vm("web") }));
            let made = killed_at(&mut site, path, moment, request).await;
            let made = made.unwrap_or_else(|error| panic!("{path} {moment:?}: {error}"));
            assert_eq!(made["inventory"]["state"], "Running", "{path} {moment:?}");
            assert_eq!(site.world().count(vm::Start::PATH), before + 1, "{path} {moment:?}: started once");
        }
    }
    let running = site.list("/vm-instances").await;
    let domains: BTreeSet<_> = site.world().state().domains.into_keys().collect();
    let known: BTreeSet<_> = running.iter().map(|vm| vm["uuid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(domains, known);
    let state = site.world().state();
    assert_eq!((state.volumes.len(), state.leases.len()), (running.len(), running.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_cannot_start_leaves_nothing_even_when_the_controller_is_killed_while_it_cleans_up() {
    let mut site = Site::start().await;
    // One VM that lives, so that image and namespace are there in every round.
    site.api.create("/vm-instances", site.vm("neighbour")).await.unwrap();
    let (state, capacity) = (site.world().state(), site.capacity().await);
    for path in UNDO {
        for moment in [Moment::Before, Moment::After] {
            site.world().refuse(vm::Start::PATH, "no start today");
            let request = (Method::POST, "/vm-instances", json!({ "params": site.vm("web") }));
            let error = killed_at(&mut site, path, moment, request).await.unwrap_err();
            assert!(error.contains("no start today"), "{path} {moment:?}: {error}");
            assert_eq!(site.world().state(), state, "{path} {moment:?}: the host is as it was");
            assert_eq!(site.capacity().await, capacity, "{path} {moment:?}: capacity is as it was");
            assert_eq!(site.list("/vm-instances").await.len(), 1);
            assert_eq!(site.list("/vm-instances/nics").await.len(), 1);
            assert_eq!(site.list("/volumes").await.len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_zone_leaves_nothing_wherever_the_controller_is_killed() {
    for path in DELETE {
        let mut site = Site::start().await;
        for name in ["a", "b"] {
            site.api.create("/vm-instances", site.vm(name)).await.unwrap();
        }
        let zone = format!("/zones/{}", site.zone);
        let done = killed_at(&mut site, path, Moment::After, (Method::DELETE, &zone, json!(null))).await;
        done.unwrap_or_else(|error| panic!("{path}: {error}"));
        let left = site.world().state();
        let expected = State {
            images: left.images.clone(),
            stores: left.stores.clone(),
            known_as: left.known_as.clone(),
            ..State::default()
        };
        assert_eq!(left, expected, "{path}");
        for list in ["/zones", "/clusters", "/hosts", "/primary-storage", "/l2-networks", "/l3-networks"] {
            assert!(site.list(list).await.is_empty(), "{path}: {list}");
        }
        for list in ["/vm-instances", "/volumes", "/vm-instances/nics", "/l3-networks/ip-ranges"] {
            assert!(site.list(list).await.is_empty(), "{path}: {list}");
        }
        assert_eq!(site.list("/images").await.len(), 1, "images lie in no zone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_call_is_carried_out_although_the_controller_dies_at_once() {
    let mut site = Site::start().await;
    let kill = site.controller.killer();
    let job = site.begin(Method::POST, "/zones", json!({ "params": { "name": "kept" } })).await;
    kill();
    site.controller.dies().await.unwrap();
    site.controller.start().await.unwrap();
    assert_eq!(site.end(&job).await.unwrap()["inventory"]["name"], "kept");
    assert_eq!(site.list("/zones?q=name=kept").await.len(), 1);
}

/// Longer than a lease and than agents' pauses between reports. `AWAY_SECONDS=600` is the whole promise.
fn away() -> Duration {
    let seconds = std::env::var("AWAY_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_no_controller_lived_is_settled_when_one_comes_back() {
    let mut site = Site::start().await;
    site.api.create("/vm-instances", site.vm("lives")).await.unwrap();
    site.world().trap(vm::Start::PATH, Moment::After, site.controller.killer());
    let begun = join_all((0..8).map(|n| {
        let body = json!({ "params": site.vm(format!("begun-{n}")) });
        site.api.begin(Method::POST, "/vm-instances", body)
    }));
    let jobs: Vec<_> = begun.await.into_iter().flatten().collect();
    site.controller.dies().await.unwrap();
    assert!(!jobs.is_empty(), "some were acknowledged");
    sleep(away()).await;
    let running = |state: State| state.domains.values().filter(|state| *state == "Running").count();
    assert!(running(site.world().state()) >= 2, "VMs run without any controller");
    site.controller.start().await.unwrap();
    let back = Instant::now();
    for job in &jobs {
        assert_eq!(site.end(job).await.unwrap()["inventory"]["state"], "Running");
    }
    assert!(back.elapsed() < Duration::from_secs(60), "settled after {:?}", back.elapsed());
    // Of a call whose answer was lost nobody knows the job.
    while site.list("/vm-instances").await.iter().any(|vm| vm["state"] != "Running") {
        assert!(back.elapsed() < Duration::from_secs(60), "not everything settled");
        sleep(Duration::from_millis(100)).await;
    }
    let known = site.list("/vm-instances").await.len();
    assert!(known > jobs.len());
    assert_eq!(site.world().count(vm::Start::PATH), known, "each was started once");
    assert_eq!(running(site.world().state()), known);
}
