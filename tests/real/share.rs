//! A guest whose disk lies where two hosts have it: it moves while it runs, without its disk.

use std::path::Path;

use cumulet_tests::cloud::{Cloud, SHARE_URL, Vm};
use hyper::Method;
use serde_json::{Value, json};

use super::cloud::cloud;

async fn act(cloud: &Cloud, path: &str, body: Value) -> Value {
    let answer = cloud.api().call(Method::PUT, &format!("{path}/actions"), body).await;
    answer.unwrap_or_else(|error| panic!("{path}: {error:#}"))["inventory"].clone()
}

async fn create_vm(cloud: &Cloud, storage: &str) -> (Vm, String) {
    let mut params = cloud.site().vm("web");
    params["primaryStorageUuidForRootVolume"] = json!(storage);
    let made = cloud.api().create("/vm-instances", params).await.unwrap();
    let text = |pointer: &str| made.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    let vm =
        Vm { uuid: text("/uuid"), name: "web".into(), ip: text("/vmNics/0/ip"), host: text("/hostUuid") };
    (vm, text("/rootVolumeUuid"))
}

/// All files below, but those that the agents keep for themselves.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.file_type().unwrap().is_dir() {
            _ if name.starts_with('.') => {}
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found
}

#[tokio::test]
async fn a_guest_on_a_share_goes_on_when_it_moves_and_leaves_nothing() {
    let cloud = cloud("shared", 2).await;
    let (dir, here) = cloud.shared().unwrap();
    let site = cloud.site();
    let params = json!({ "name": "common", "url": dir, "zoneUuid": site.zone });
    let storage = cloud.api().create("/primary-storage/smp", params).await.unwrap();
    let storage = storage["uuid"].as_str().unwrap().to_owned();
    let path = format!("/clusters/{}/primary-storage/{storage}", site.cluster);
    cloud.api().create(&path, json!({})).await.unwrap();

    let (vm, root) = create_vm(&cloud, &storage).await;
    let said = cloud.guest_answers(&vm).await.unwrap();
    assert!(said.ends_with("boots=1"), "{said}");
    assert_eq!(files(&here).len(), 2, "an image and a disk on it: {:?}", files(&here));
    let own = format!("/vm-instances/{}", vm.uuid);
    let moved = act(&cloud, &own, json!({ "migrateVm": {} })).await;
    assert!(moved["state"] == "Running" && moved["hostUuid"] != json!(vm.host), "{moved}");
    let said = cloud.guest_answers(&vm).await.unwrap();
    assert!(said.ends_with("boots=1"), "it has not begun anew: {said}");
    assert_eq!(files(&here).len(), 2, "nothing was copied: {:?}", files(&here));

    let snapshots = format!("/volumes/{root}/volume-snapshots");
    let taken = cloud.api().create(&snapshots, json!({ "name": "moved" })).await.unwrap();
    assert_eq!(files(&here).len(), 3);
    let back = json!({ "migrateVm": { "hostUuid": vm.host } });
    assert_eq!(act(&cloud, &own, back).await["hostUuid"], json!(vm.host), "a snapshot is not in the way");
    cloud.api().delete(&format!("/volume-snapshots/{}", taken["uuid"].as_str().unwrap())).await.unwrap();
    act(&cloud, &own, json!({ "stopVmInstance": {} })).await;
    act(&cloud, &own, json!({ "startVmInstance": { "hostUuid": moved["hostUuid"] } })).await;
    let said = cloud.guest_answers(&vm).await.unwrap();
    assert!(said.ends_with("boots=2"), "on the other host: {said}");

    cloud.api().delete(&own).await.unwrap();
    act(&cloud, &own, json!({ "expungeVmInstance": {} })).await;
    assert_eq!(files(&here).len(), 1, "the image: {:?}", files(&here));
    cloud.api().delete(&format!("/primary-storage/{storage}")).await.unwrap();
    assert!(files(&here).is_empty(), "{:?}", files(&here));
    cloud.tear_down().await.unwrap();
}

/// How often a host has mounted the NFS share below.
fn mounts(cloud: &Cloud, host: &str, below: &Path) -> usize {
    let table = cloud.mounts(host).unwrap();
    table
        .lines()
        .filter(|line| line.contains(SHARE_URL) && line.contains(&format!(" {}/", below.display())))
        .count()
}

#[tokio::test]
async fn hosts_mount_an_nfs_share_for_a_guest_that_moves_on_it() {
    let cloud = cloud("nfs", 2).await;
    let (shared, here) = cloud.shared().unwrap();
    let base = shared.with_file_name("nfs");
    let set = json!({ "updateGlobalConfig": { "value": base.display().to_string() } });
    let path = "/global-configurations/nfsPrimaryStorage/mount.base/actions";
    cloud.api().call(Method::PUT, path, set).await.unwrap();
    let site = cloud.site();
    let params = json!({ "name": "nfs", "url": SHARE_URL, "zoneUuid": site.zone });
    let storage = cloud.api().create("/primary-storage/nfs", params).await.unwrap();
    let storage = storage["uuid"].as_str().unwrap().to_owned();
    let path = format!("/clusters/{}/primary-storage/{storage}", site.cluster);
    cloud.api().create(&path, json!({})).await.unwrap();
    assert_eq!(["host-1", "host-2"].map(|host| mounts(&cloud, host, &base)), [1, 1]);

    let (vm, _) = create_vm(&cloud, &storage).await;
    let said = cloud.guest_answers(&vm).await.unwrap();
    assert!(said.ends_with("boots=1"), "{said}");
    let own = format!("/vm-instances/{}", vm.uuid);
    let moved = act(&cloud, &own, json!({ "migrateVm": {} })).await;
    assert!(moved["state"] == "Running" && moved["hostUuid"] != json!(vm.host), "{moved}");
    let said = cloud.guest_answers(&vm).await.unwrap();
    assert!(said.ends_with("boots=1"), "it has not begun anew: {said}");
    assert_eq!(files(&here).len(), 2, "an image and a disk: {:?}", files(&here));

    cloud.api().delete(&own).await.unwrap();
    act(&cloud, &own, json!({ "expungeVmInstance": {} })).await;
    cloud.api().delete(&format!("/primary-storage/{storage}")).await.unwrap();
    assert!(files(&here).is_empty(), "{:?}", files(&here));
    assert_eq!(["host-1", "host-2"].map(|host| mounts(&cloud, host, &base)), [0, 0]);
    cloud.tear_down().await.unwrap();
}
