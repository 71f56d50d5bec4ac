//! VMs whose disks are copies of volumes and snapshots, and VMs that boot from another of their volumes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fleet::Moment;
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wire::Call;
use wire::calls::{localstorage, vm};

use crate::site::Site;

const SIZE: i64 = 1 << 30;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn text(of: &Value, field: &str) -> String {
    of[field].as_str().unwrap_or_else(|| panic!("no {field} in {of}")).to_owned()
}

/// What a VM of what is there already is asked for with.
fn wish(site: &Site, more: Value) -> Value {
    let mut params = site.vm_of_nothing("copy");
    for (name, value) in more.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    params
}

async fn made(site: &Site, more: Value) -> Value {
    let mut params = site.vm("web");
    for (name, value) in more.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    site.api.create("/vm-instances", params).await.unwrap()
}

async fn act(site: &Site, vm: &str, action: &str, params: Value) -> Value {
    let path = format!("/vm-instances/{vm}/actions");
    site.api.call(Method::PUT, &path, json!({ action: params })).await.unwrap()["inventory"].take()
}

async fn refuses(site: &Site, path: &str, params: Value) -> String {
    site.refused(Method::POST, path, json!({ "params": params })).await.details
}

async fn snapshot(site: &Site, volume: &str) -> String {
    let path = format!("/volumes/{volume}/volume-snapshots");
    text(&site.api.create(&path, json!({ "name": "before" })).await.unwrap(), "uuid")
}

async fn volume(site: &Site, uuid: &str) -> Value {
    site.list(&format!("/volumes?q=uuid={uuid}")).await.remove(0)
}

/// A data volume that no VM has, on the site's host.
async fn loose_disk(site: &Site) -> String {
    let params = json!({ "name": "disk", "diskSize": SIZE, "primaryStorageUuid": site.primary_storage });
    let tag = format!("localStorage::hostUuid::{}", site.hosts[0]);
    let body = json!({ "params": params, "systemTags": [tag] });
    let job = site.begin(Method::POST, "/volumes/data", body).await;
    text(&site.end(&job).await.unwrap()["inventory"], "uuid")
}

/// The file of a volume, which the host has and which must stand alone.
async fn alone(site: &Site, uuid: &str) -> String {
    let path = text(&volume(site, uuid).await, "installPath");
    let state = site.world().state();
    assert!(state.volumes.contains(&path), "the host has not {path}");
    assert!(!state.layers.contains_key(&path), "{path} stands on {}", state.layers[&path]);
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_of_a_snapshot_runs_beside_the_vm_that_it_shows_and_outlives_it() {
    let site = Site::start().await;
    let web = made(&site, json!({})).await;
    let (uuid, root) = (text(&web, "uuid"), text(&web, "rootVolumeUuid"));
    act(&site, &uuid, "setVmBootMode", json!({ "bootMode": "UEFI" })).await;
    let (taken, before) = (snapshot(&site, &root).await, site.capacity().await);
    act(&site, &uuid, "updateVmInstance", json!({ "platform": "Windows" })).await;
    let fetched = site.world().count(localstorage::Download::PATH);
    let from = format!("/vm-instances/from/volume-snapshots/{taken}");
    let copy = site.api.create(&from, wish(&site, json!({}))).await.unwrap();
    assert_eq!((&copy["state"], &copy["platform"]), (&json!("Running"), &json!("Windows")));
    assert_eq!((&copy["imageUuid"], copy["vmNics"].as_array().unwrap().len()), (&Value::Null, 1));
    let mode = site.api.get(&format!("/system-tags?q=resourceUuid={}", text(&copy, "uuid"))).await.unwrap();
    assert!(mode.to_string().contains("bootMode::UEFI"), "it boots as the VM did: {mode}");
    assert_eq!(site.world().count(localstorage::Download::PATH), fetched, "it needs no image");
    let after = site.capacity().await;
    assert_eq!([before[0] - after[0], before[2] - after[2]], [1, SIZE], "it claims what it takes");
    let owned = site.list(&format!("/accounts/resources/refs?q=resourceUuid={}", text(&copy, "uuid"))).await;
    assert_eq!(owned.len(), 1, "whose the copy is: {owned:?}");

    site.api.delete(&format!("/volume-snapshots/{taken}")).await.unwrap();
    site.api.delete(&format!("/vm-instances/{uuid}")).await.unwrap();
    act(&site, &uuid, "expungeVmInstance", json!({})).await;
    alone(&site, &text(&copy, "rootVolumeUuid")).await;
    let copy = text(&copy, "uuid");
    act(&site, &copy, "rebootVmInstance", json!({})).await;
    act(&site, &copy, "stopVmInstance", json!({})).await;
    let path = format!("/vm-instances/{copy}/actions");
    let refused = site.refused(Method::PUT, &path, json!({ "reimageVmInstance": {} })).await;
    assert!(refused.details.contains("was made from no image"), "{refused:?}");
    act(&site, &copy, "startVmInstance", json!({})).await;
    site.api.delete(&format!("/vm-instances/{copy}")).await.unwrap();
    act(&site, &copy, "expungeVmInstance", json!({})).await;
    assert!(site.world().state().volumes.is_empty() && site.list("/volumes").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_of_a_volume_leaves_the_volume_as_it_was() {
    let site = Site::start().await;
    let (disk, from) = (loose_disk(&site).await, "/vm-instances/from/volume");
    let before = volume(&site, &disk).await;
    let stopped = wish(&site, json!({ "volumeUuid": disk, "strategy": "CreateStopped" }));
    let copy = site.api.create(from, stopped).await.unwrap();
    assert_eq!((&copy["state"], &copy["hostUuid"]), (&json!("Stopped"), &Value::Null));
    let root = text(&copy, "rootVolumeUuid");
    assert_ne!(alone(&site, &root).await, text(&before, "installPath"));
    assert_eq!(volume(&site, &disk).await, before);
    act(&site, &text(&copy, "uuid"), "startVmInstance", json!({})).await;

    let running = refuses(&site, from, wish(&site, json!({ "volumeUuid": root }))).await;
    assert!(running.contains("stop it, or take a snapshot and make the vm of that"), "{running}");
    act(&site, &text(&copy, "uuid"), "stopVmInstance", json!({})).await;
    let second = site.api.create(from, wish(&site, json!({ "volumeUuid": root }))).await.unwrap();
    assert_eq!(second["state"], "Running");
    alone(&site, &text(&second, "rootVolumeUuid")).await;

    let nowhere = site.api.create("/volumes/data", json!({ "name": "new", "diskSize": SIZE })).await.unwrap();
    let refused = refuses(&site, from, wish(&site, json!({ "volumeUuid": nowhere["uuid"] }))).await;
    assert!(refused.contains("volume \"new\" lies nowhere yet"), "{refused}");
    let nics = json!({ "volumeUuid": disk, "vmNicParams": "[]" });
    let refused = refuses(&site, from, wish(&site, nics)).await;
    assert!(refused.contains("\"vmNicParams\" is not supported yet"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_made_where_its_original_lies_and_nowhere_else() {
    let (site, _second) = Site::of_two(11).await;
    let disk = loose_disk(&site).await;
    let from = "/vm-instances/from/volume";
    let there = json!({ "volumeUuid": disk, "hostUuid": site.hosts[1] });
    let refused = refuses(&site, from, wish(&site, there)).await;
    assert!(refused.contains("volume \"disk\" lies on host \"hv1\""), "{refused}");
    let params = json!({ "name": "other", "url": "/other_ps", "zoneUuid": site.zone });
    let other = site.api.create("/primary-storage/local-storage", params).await.unwrap();
    let there = json!({ "volumeUuid": disk, "primaryStorageUuid": other["uuid"] });
    let refused = refuses(&site, from, wish(&site, there)).await;
    assert!(refused.contains("a vm is made of it there only"), "{refused}");
    for _ in 0..3 {
        // The emptiest host would be another one from the second VM on.
        let copy = site.api.create(from, wish(&site, json!({ "volumeUuid": disk }))).await.unwrap();
        assert_eq!(copy["hostUuid"], json!(site.hosts[0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_of_a_group_has_all_its_volumes() {
    let site = Site::start().await;
    let web = made(&site, json!({ "dataDiskSizes": [SIZE, SIZE] })).await;
    let params = json!({ "rootVolumeUuid": web["rootVolumeUuid"], "name": "all" });
    let group = site.api.create("/volume-snapshots/group", params).await.unwrap();
    let from = format!("/vm-instances/from/volume-snapshots/group/{}", text(&group, "uuid"));
    let before = site.capacity().await;
    let copy = site.api.create(&from, wish(&site, json!({}))).await.unwrap();
    let volumes = copy["allVolumes"].as_array().unwrap();
    let told: Vec<_> = volumes.iter().map(|one| (one["deviceId"].as_i64(), one["type"].as_str())).collect();
    assert_eq!(told, [(Some(0), Some("Root")), (Some(1), Some("Data")), (Some(2), Some("Data"))]);
    for one in volumes {
        alone(&site, &text(one, "uuid")).await;
    }
    assert_eq!(site.world().count(localstorage::CreateTemplate::PATH), 3);
    assert_eq!(before[2] - site.capacity().await[2], 3 * SIZE);
    let plugged = |vm: &str| site.world().state().open.keys().filter(|key| key.starts_with(vm)).count();
    assert_eq!((copy["state"].as_str(), plugged(&text(&copy, "uuid"))), (Some("Running"), 3));

    let gone = &group["volumeSnapshotRefs"][1]["volumeSnapshotUuid"];
    site.api.delete(&format!("/volume-snapshots/{}", gone.as_str().unwrap())).await.unwrap();
    let refused = refuses(&site, &from, wish(&site, json!({}))).await;
    assert!(refused.contains("is not whole any more"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_leaves_nothing() {
    let site = Site::start().await;
    let web = made(&site, json!({ "dataDiskSizes": [SIZE] })).await;
    let params = json!({ "rootVolumeUuid": web["rootVolumeUuid"], "name": "both" });
    let group = site.api.create("/volume-snapshots/group", params).await.unwrap();
    let from = format!("/vm-instances/from/volume-snapshots/group/{}", text(&group, "uuid"));
    let (state, capacity) = (site.world().state(), site.capacity().await);
    for path in [localstorage::CreateTemplate::PATH, vm::Start::PATH] {
        site.world().refuse(path, "no room");
        let refused = refuses(&site, &from, wish(&site, json!({}))).await;
        assert!(refused.contains("no room"), "{refused}");
        assert_eq!(site.world().state().volumes, state.volumes, "{path}");
        assert_eq!((site.world().state().domains, site.capacity().await), (state.domains.clone(), capacity));
        assert_eq!((site.list("/vm-instances").await.len(), site.list("/volumes").await.len()), (1, 2));
        site.world().obey();
    }
    site.api.create(&from, wish(&site, json!({}))).await.unwrap();
}

/// The next copy has begun and does not end until it may.
struct Slow {
    begun: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
}

/// Waits as an agent's command does that takes long.
#[expect(clippy::disallowed_methods, reason = "a trap is no future")]
fn dawdle() {
    thread::sleep(Duration::from_millis(20));
}

impl Slow {
    fn copy(site: &Site) -> Slow {
        let slow = Slow { begun: Arc::default(), ends: Arc::default() };
        let (begun, ends) = (Arc::clone(&slow.begun), Arc::clone(&slow.ends));
        site.world().trap(localstorage::CreateTemplate::PATH, Moment::Before, move || {
            begun.store(true, Ordering::SeqCst);
            let started = Instant::now();
            tokio::task::block_in_place(|| {
                while !ends.load(Ordering::SeqCst) && started.elapsed() < PATIENCE {
                    dawdle();
                }
            });
        });
        slow
    }

    async fn has_begun(&self) {
        let started = Instant::now();
        while !self.begun.load(Ordering::SeqCst) {
            assert!(started.elapsed() < PATIENCE, "nothing is copied");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn may_end(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_used_while_it_is_copied_makes_no_vm() {
    let site = Site::start().await;
    let (disk, user) = (loose_disk(&site).await, made(&site, json!({ "strategy": "CreateStopped" })).await);
    let (slow, files) = (Slow::copy(&site), site.world().state().volumes);
    let body = json!({ "params": wish(&site, json!({ "volumeUuid": disk })) });
    let job = site.begin(Method::POST, "/vm-instances/from/volume", body).await;
    slow.has_begun().await;
    let attach = format!("/volumes/{disk}/vm-instances/{}", text(&user, "uuid"));
    site.api.create(&attach, json!({})).await.unwrap();
    slow.may_end();
    let error = site.end(&job).await.unwrap_err();
    assert!(error.contains("was worked on meanwhile"), "{error}");
    assert_eq!((site.world().state().volumes, site.list("/vm-instances").await.len()), (files, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_whose_disk_is_copied_starts_when_the_copy_is_there() {
    let site = Site::start().await;
    let web = made(&site, json!({ "strategy": "CreateStopped" })).await;
    let slow = Slow::copy(&site);
    let body = json!({ "params": wish(&site, json!({ "volumeUuid": web["rootVolumeUuid"] })) });
    let copy = site.begin(Method::POST, "/vm-instances/from/volume", body).await;
    slow.has_begun().await;
    let path = format!("/vm-instances/{}/actions", text(&web, "uuid"));
    let start = site.begin(Method::PUT, &path, json!({ "startVmInstance": {} })).await;
    sleep(Duration::from_millis(500)).await;
    assert!(site.world().state().domains.is_empty(), "it writes to what is copied");
    slow.may_end();
    site.end(&copy).await.unwrap();
    site.end(&start).await.unwrap();
    assert_eq!(site.world().state().domains.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_vm_boots_from_another_of_its_volumes_and_back() {
    let site = Site::start().await;
    let web = made(&site, json!({ "dataDiskSizes": [SIZE] })).await;
    let (uuid, old) = (text(&web, "uuid"), text(&web, "rootVolumeUuid"));
    let new = text(&web["allVolumes"][1], "uuid");
    let path = format!("/vm-instances/{uuid}/actions");
    let swap = |volume: &str| json!({ "setVmBootVolume": { "volumeUuid": volume } });
    let refused = site.refused(Method::PUT, &path, swap(&new)).await;
    assert!(refused.details.contains("stop it before"), "{refused:?}");
    act(&site, &uuid, "stopVmInstance", json!({})).await;
    let loose = loose_disk(&site).await;
    let refused = site.refused(Method::PUT, &path, swap(&loose)).await;
    assert!(refused.details.contains("attach it first"), "{refused:?}");

    let shown = act(&site, &uuid, "setVmBootVolume", json!({ "volumeUuid": new })).await;
    assert_eq!((&shown["rootVolumeUuid"], &shown["imageUuid"]), (&json!(new), &Value::Null));
    let told = async |disk: &str| {
        let disk = volume(&site, disk).await;
        (text(&disk, "type"), disk["deviceId"].as_i64().unwrap())
    };
    assert_eq!((told(&new).await, told(&old).await), (("Root".into(), 0), ("Data".into(), 1)));
    act(&site, &uuid, "startVmInstance", json!({})).await;
    let disks = site.world().state().disks;
    assert!(disks.contains(&format!("{uuid} {old}")) && disks.len() == 1, "{disks:?}");
    act(&site, &uuid, "stopVmInstance", json!({})).await;
    let shown = act(&site, &uuid, "setVmBootVolume", json!({ "volumeUuid": old })).await;
    assert_eq!((&shown["rootVolumeUuid"], &shown["imageUuid"]), (&json!(old), &web["imageUuid"]));

    // What it boots from goes with it, what it does not stays.
    act(&site, &uuid, "setVmBootVolume", json!({ "volumeUuid": new })).await;
    site.api.delete(&format!("/vm-instances/{uuid}")).await.unwrap();
    act(&site, &uuid, "expungeVmInstance", json!({})).await;
    let left: Vec<_> = site.list("/volumes").await.iter().map(|one| text(one, "uuid")).collect();
    assert!(left.contains(&old) && left.contains(&loose) && !left.contains(&new), "{left:?}");
}
