//! What a user did wrong, or what went wrong elsewhere, is told by a code and a sentence that helps.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wire::Call;
use wire::calls::vm;

use crate::site::Site;

fn with(mut params: Value, name: &str, value: Value) -> Value {
    params[name] = value;
    json!({ "params": params })
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_its_name_and_changes_nothing() {
    let site = Site::start().await;
    let unknown = "0".repeat(32);
    for (body, code, words) in [
        (with(site.vm("x"), "colour", json!("red")), "SYS.1007", "colour"),
        (json!({ "params": { "imageUuid": site.image } }), "SYS.1007", "name"),
        (json!({ "params": { "name": "x", "imageUuid": site.image } }), "SYS.1007", "cpuNum"),
        (with(site.vm("x"), "imageUuid", json!("not-a-uuid")), "SYS.1007", "imageUuid"),
        (with(site.vm("x"), "imageUuid", json!(unknown)), "SYS.1003", "image"),
        (with(site.vm("x"), "l3NetworkUuids", json!([site.l3, site.l3])), "SYS.1007", "twice"),
        (with(site.vm("x"), "strategy", json!("Eventually")), "SYS.1007", "InstantStart"),
        (with(site.vm("x"), "rootDiskSize", json!(5)), "SYS.1007", "rootDiskSize"),
        (with(site.vm(" "), "cpuNum", json!(1)), "SYS.1007", "name"),
        (json!({ "param": site.vm("x") }), "SYS.1007", "param"),
    ] {
        let refusal = site.refused(Method::POST, "/vm-instances", body.clone()).await;
        assert_eq!(refusal.code, code, "{body}: {refusal}");
        assert!(refusal.details.contains(words), "{body}: {refusal}");
    }
    assert!(site.list("/vm-instances").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_fits_nowhere_is_told_why_host_by_host() {
    let site = Site::start().await;
    let huge = with(site.vm("huge"), "memorySize", json!(1_i64 << 40));
    let refusal = site.refused(Method::POST, "/vm-instances", huge).await;
    assert_eq!(refusal.code, "HOST.1004");
    assert!(refusal.details.contains("host \"hv1\" has"), "{refusal}");
    let state = json!({ "changeHostState": { "stateEvent": "disable" } });
    let path = format!("/hosts/{}/actions", site.hosts[0]);
    site.api.call(Method::PUT, &path, state).await.unwrap();
    let refusal = site.refused(Method::POST, "/vm-instances", json!({ "params": site.vm("x") })).await;
    assert!(refusal.details.contains("host \"hv1\" is Disabled"), "{refusal}");
    assert!(site.list("/vm-instances").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_state_is_named_with_the_states_that_would_do() {
    let site = Site::start().await;
    let vm = site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    let path = format!("/vm-instances/{}/actions", vm["uuid"].as_str().unwrap());
    let refusal = site.refused(Method::PUT, &path, json!({ "resumeVmInstance": {} })).await;
    assert_eq!(refusal.code, "SYS.1005");
    assert!(refusal.details.contains("vm \"web\" is Running"), "{refusal}");
    assert!(refusal.details.contains("Paused"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_refusal_to_stop_a_vm_reaches_the_caller_and_is_tried_again() {
    let site = Site::start().await;
    let vm = site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    let uuid = vm["uuid"].as_str().unwrap().to_owned();
    site.world().refuse(vm::Stop::PATH, "the guest is busy");
    let path = format!("/vm-instances/{uuid}/actions");
    let refusal = site.refused(Method::PUT, &path, json!({ "stopVmInstance": {} })).await;
    assert!(refusal.details.contains("the guest is busy"), "{refusal}");
    assert!(refusal.details.contains("host \"hv1\""), "{refusal}");
    assert!(refusal.details.contains("tried again until it is done"), "{refusal}");
    let vm = format!("/vm-instances?q=uuid={uuid}");
    assert_eq!(site.list(&vm).await[0]["state"], "Stopping", "nobody knows whether the guest still runs");
    site.world().obey();
    let began = Instant::now();
    while site.list(&vm).await[0]["state"] != "Stopped" {
        assert!(began.elapsed() < Duration::from_secs(60), "it is not tried again");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(site.world().state().domains.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_address_cannot_be_two_hosts() {
    let site = Site::start().await;
    let again = json!({ "params": { "name": "hv2", "managementIp": "127.0.0.1", "clusterUuid": site.cluster,
        "username": "root", "password": "unused" } });
    let refusal = site.refused(Method::POST, "/hosts/kvm", again).await;
    assert_eq!(refusal.code, "SYS.1007");
    assert!(refusal.details.contains("host \"hv1\" has the address 127.0.0.1"), "{refusal}");
    assert_eq!(site.list("/hosts").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_down_is_named_and_nothing_is_left_of_the_attempt() {
    let site = Site::start().await;
    let (api, vm) = (site.api.clone(), json!({ "params": site.vm("web") }));
    let Site { host, controller: _controller, .. } = site;
    let world = host.goes_down();
    let error = api.call(Method::POST, "/vm-instances", vm).await.expect_err("nobody can start it");
    let refusal = error.downcast_ref::<cumulet_tests::api::Refusal>().unwrap();
    assert_eq!(refusal.code, "SYS.1016", "{refusal}");
    assert!(refusal.details.contains("the kvm-agent of host \"hv1\""), "{refusal}");
    assert!(refusal.details.contains("unreachable"), "{refusal}");
    let left = api.get("/vm-instances").await.unwrap();
    assert_eq!(left["inventories"], json!([]));
    assert!(world.state().domains.is_empty());
}
