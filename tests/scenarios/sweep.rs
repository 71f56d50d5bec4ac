//! Every command of a VM's creation fails, and every command of its undoing: nothing is left, or the flow
//! is parked where everybody sees it and heals by itself.

use std::time::Duration;

use hyper::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};
use wire::Call;
use wire::calls::{localstorage, vm};

use crate::crash::{CREATE, UNDO};
use crate::site::Site;

const PATIENCE: Duration = Duration::from_secs(60);

/// A cloud in which a VM lives already, so that image and network are on the host whatever happens.
async fn inhabited() -> Site {
    let site = Site::start().await;
    site.api.create("/vm-instances", site.vm("neighbour")).await.unwrap();
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_whose_creation_fails_at_any_command_leaves_nothing() {
    let site = inhabited().await;
    let (state, capacity) = (site.world().state(), site.capacity().await);
    for path in CREATE {
        site.world().refuse(path, "told to fail");
        let refusal = site.refused(Method::POST, "/vm-instances", json!({ "params": site.vm("web") })).await;
        site.world().obey();
        assert!(refusal.details.contains("told to fail"), "{path}: {refusal}");
        assert_eq!(site.world().state(), state, "{path}: the host is as it was");
        assert_eq!(site.capacity().await, capacity, "{path}: capacity is as it was");
        for list in ["/vm-instances", "/vm-instances/nics", "/volumes"] {
            assert_eq!(site.list(list).await.len(), 1, "{path}: {list}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_fetched_leaves_no_vm() {
    let site = Site::start().await;
    let (state, capacity) = (site.world().state(), site.capacity().await);
    site.world().refuse(localstorage::Download::PATH, "told to fail");
    let refusal = site.refused(Method::POST, "/vm-instances", json!({ "params": site.vm("web") })).await;
    assert!(refusal.details.contains("told to fail"), "{refusal}");
    assert_eq!(site.world().state(), state);
    assert_eq!(site.capacity().await, capacity);
    for list in ["/vm-instances", "/vm-instances/nics", "/volumes"] {
        assert!(site.list(list).await.is_empty(), "{list}");
    }
}

/// A cached image is believed to be there until a volume cannot be made from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cached_image_that_somebody_took_away_is_fetched_again_for_the_next_vm() {
    let site = inhabited().await;
    site.world().meddle(|state| state.cache.clear());
    let refusal = site.refused(Method::POST, "/vm-instances", json!({ "params": site.vm("web") })).await;
    assert!(refusal.details.contains("unable to find image in cache"), "{refusal}");
    assert_eq!(site.world().count(localstorage::Download::PATH), 1);
    site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    assert_eq!(site.world().count(localstorage::Download::PATH), 2);
    site.api.create("/vm-instances", site.vm("another")).await.unwrap();
    assert_eq!(site.world().count(localstorage::Download::PATH), 2, "it is believed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_fails_parks_the_flow_in_sight_until_it_succeeds() {
    let site = inhabited().await;
    let (state, capacity) = (site.world().state(), site.capacity().await);
    for path in UNDO {
        site.world().refuse(vm::Start::PATH, "no start today");
        site.world().refuse(path, "and no undo");
        let refusal = site.refused(Method::POST, "/vm-instances", json!({ "params": site.vm("web") })).await;
        assert!(refusal.details.contains("no start today"), "{path}: {refusal}");
        assert!(refusal.details.contains("not cleaned up yet"), "{path}: {refusal}");
        let parked = site.list("/flows?q=state=parked").await;
        assert_eq!(parked.len(), 1, "{path}");
        assert!(parked[0]["error"].as_str().unwrap().contains("and no undo"), "{path}: {}", parked[0]);
        site.world().obey();
        let healing = Instant::now();
        while !site.list("/flows?q=state?=parked,running").await.is_empty() {
            assert!(healing.elapsed() < PATIENCE, "{path}: it does not heal");
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(site.world().state(), state, "{path}: the host is as it was");
        assert_eq!(site.capacity().await, capacity, "{path}: capacity is as it was");
        assert_eq!(site.list("/vm-instances").await.len(), 1, "{path}");
    }
}
