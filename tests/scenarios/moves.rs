//! VMs that move between hosts while they run, and volumes that move while nobody has them open.

use fleet::{Host, Moment};
use hyper::Method;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::{localstorage, migration};

use crate::site::Site;

/// A site with two hosts, and a VM with a data volume on the first.
struct Pair {
    site: Site,
    other: Host,
    vm: String,
    root: String,
    disk: String,
}

impl Pair {
    async fn start(number: u8) -> Pair {
        let (site, other) = Site::of_two(number).await;
        let mut params = site.vm("web");
        params["hostUuid"] = json!(site.hosts[0]);
        let made = site.api.create("/vm-instances", params).await.unwrap();
        let text = |value: &Value, field: &str| value[field].as_str().unwrap().to_owned();
        let (vm, root) = (text(&made, "uuid"), text(&made, "rootVolumeUuid"));
        let disk =
            site.api.create("/volumes/data", json!({ "name": "disk", "diskSize": 1 << 30 })).await.unwrap();
        let disk = text(&disk, "uuid");
        site.api.create(&format!("/volumes/{disk}/vm-instances/{vm}"), json!({})).await.unwrap();
        Pair { site, other, vm, root, disk }
    }

    fn actions(&self) -> String {
        format!("/vm-instances/{}/actions", self.vm)
    }

    async fn vm(&self) -> Value {
        self.site.list(&format!("/vm-instances?q=uuid={}", self.vm)).await.remove(0)
    }

    /// What each host has left, CPUs and memory, and how much volumes claim on it.
    async fn left(&self) -> Vec<[i64; 3]> {
        let storage = &self.site.primary_storage;
        let mut left = Vec::new();
        for host in &self.site.hosts {
            let host = self.site.list(&format!("/hosts?q=uuid={host}")).await.remove(0);
            let path = format!(
                "/primary-storage/local-storage/{storage}/capacities?hostUuid={}",
                host["uuid"].as_str().unwrap()
            );
            let space =
                self.site.api.get(&path).await.unwrap()["inventories"][0]["availableCapacity"].clone();
            let number = |value: &Value| value.as_i64().unwrap();
            left.push([
                number(&host["availableCpuCapacity"]),
                number(&host["availableMemoryCapacity"]),
                number(&space),
            ]);
        }
        left
    }

    fn there(&self) -> fleet::State {
        self.other.world.state()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_vm_moves_with_its_disks_and_leaves_nothing() {
    let pair = Pair::start(1).await;
    let before = pair.left().await;
    let told = pair.site.api.get(&format!("/vm-instances/{}/migration-target-hosts", pair.vm)).await.unwrap();
    assert_eq!(told["inventories"][0]["uuid"], json!(pair.site.hosts[1]));
    assert_eq!(told["obstacles"], json!([]));

    let moved = pair.site.api.call(Method::PUT, &pair.actions(), json!({ "migrateVm": {} })).await.unwrap();
    let moved = &moved["inventory"];
    assert_eq!((&moved["hostUuid"], &moved["state"]), (&json!(pair.site.hosts[1]), &json!("Running")));
    assert_eq!(moved["lastHostUuid"], json!(pair.site.hosts[0]));
    let (here, there) = (pair.site.world().state(), pair.there());
    assert!(here.domains.is_empty() && here.volumes.is_empty() && here.leases.is_empty(), "{here:?}");
    assert_eq!((there.domains.len(), there.volumes.len(), there.leases.len()), (1, 2, 1));
    assert!(there.open.contains_key(&format!("{} {}", pair.vm, pair.root)));
    assert!(there.disks.contains(&format!("{} {}", pair.vm, pair.disk)));
    let after = pair.left().await;
    assert_eq!((after[0][0], after[0][1]), (before[1][0], before[1][1]), "the claims have moved too");
    assert_eq!((after[1][0], after[1][1]), (before[0][0], before[0][1]));
    let (freed, taken) = (after[0][2] - before[0][2], before[1][2] - after[1][2]);
    assert!(freed == taken && taken > 1 << 30, "{before:?} {after:?}");

    // Stopped and started again it is where its disks are.
    for action in ["stopVmInstance", "startVmInstance"] {
        pair.site.api.call(Method::PUT, &pair.actions(), json!({ action: {} })).await.unwrap();
    }
    assert_eq!(pair.there().domains.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_said_before_anything_happens() {
    let pair = Pair::start(2).await;
    let take = format!("/volumes/{}/volume-snapshots", pair.disk);
    pair.site.api.create(&take, json!({ "name": "one" })).await.unwrap();
    let told = pair.site.api.get(&format!("/vm-instances/{}/migration-target-hosts", pair.vm)).await.unwrap();
    assert!(told["obstacles"][0].as_str().unwrap().contains("\"disk\" has 1 snapshots"), "{told}");
    assert_eq!(told["inventories"], json!([]));
    let go = json!({ "migrateVm": { "hostUuid": pair.site.hosts[1] } });
    let refused = pair.site.refused(Method::PUT, &pair.actions(), go.clone()).await;
    assert!(refused.details.contains("do not move with a running vm"), "{refused:?}");
    let home = json!({ "migrateVm": { "hostUuid": pair.site.hosts[0] } });
    let refused = pair.site.refused(Method::PUT, &pair.actions(), home).await;
    assert!(refused.details.contains("already"), "{refused:?}");

    let disable = json!({ "changeHostState": { "stateEvent": "disable" } });
    let host = format!("/hosts/{}/actions", pair.site.hosts[1]);
    pair.site.api.call(Method::PUT, &host, disable).await.unwrap();
    let told = pair.site.api.get(&format!("/vm-instances/{}/migration-target-hosts", pair.vm)).await.unwrap();
    assert!(told["unfit"][0]["reason"].as_str().unwrap().contains("is Disabled"), "{told}");
    assert_eq!(pair.site.world().count(migration::Migrate::PATH), 0);
    assert_eq!(pair.vm().await["state"], "Running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_cannot_be_moved_runs_where_it_was() {
    let pair = Pair::start(3).await;
    let before = pair.left().await;
    pair.site.world().refuse(migration::Migrate::PATH, "the other cpu lacks avx");
    let go = json!({ "migrateVm": { "hostUuid": pair.site.hosts[1] } });
    let refused = pair.site.refused(Method::PUT, &pair.actions(), go).await;
    assert!(refused.details.contains("lacks avx"), "{refused:?}");
    let vm = pair.vm().await;
    assert_eq!((&vm["state"], &vm["hostUuid"]), (&json!("Running"), &json!(pair.site.hosts[0])));
    let there = pair.there();
    assert!(there.domains.is_empty() && there.volumes.is_empty() && there.leases.is_empty(), "{there:?}");
    assert_eq!(pair.left().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_dies_while_a_vm_moves_finds_it_on_one_side() {
    let mut pair = Pair::start(4).await;
    for (path, moment) in [
        (localstorage::CreateEmpty::PATH, Moment::After),
        (migration::Migrate::PATH, Moment::Before),
        (migration::Migrate::PATH, Moment::After),
        (localstorage::Delete::PATH, Moment::Before),
    ] {
        let home = pair.vm().await["hostUuid"].clone();
        let (from, to) = match home == json!(pair.site.hosts[0]) {
            true => (&pair.site.host.world, &pair.other.world),
            false => (&pair.other.world, &pair.site.host.world),
        };
        let at = if path == localstorage::CreateEmpty::PATH { to } else { from };
        let kill = pair.site.controller.killer();
        at.trap(path, moment, kill);
        let location = pair.site.begin(Method::PUT, &pair.actions(), json!({ "migrateVm": {} })).await;
        pair.site.controller.dies().await.unwrap();
        pair.site.controller.start().await.unwrap();
        pair.site.end(&location).await.unwrap_or_else(|error| panic!("{path} {moment:?}: {error}"));
        let vm = pair.vm().await;
        assert!(vm["state"] == "Running" && vm["hostUuid"] != home, "{path} {moment:?}: {vm}");
        let (one, two) = (pair.site.world().state(), pair.there());
        assert_eq!(one.domains.len() + two.domains.len(), 1, "{path} {moment:?}");
        assert_eq!(one.volumes.len() + two.volumes.len(), 2, "{path} {moment:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_maintained_when_its_vms_have_left_it() {
    let pair = Pair::start(5).await;
    let change = async |event: &str| {
        let path = format!("/hosts/{}/actions", pair.site.hosts[0]);
        let body = json!({ "changeHostState": { "stateEvent": event } });
        pair.site.api.call(Method::PUT, &path, body).await.unwrap()["inventory"].clone()
    };
    let host = change("maintain").await;
    assert_eq!((&host["state"], &pair.vm().await["state"]), (&json!("Maintenance"), &json!("Stopped")));
    let start = json!({ "startVmInstance": {} });
    let refused = pair.site.refused(Method::PUT, &pair.actions(), start.clone()).await;
    assert!(refused.details.contains("is Maintenance"), "{refused:?}");
    let host = change("enable").await;
    assert_eq!((&host["state"], &host["status"]), (&json!("Enabled"), &json!("Connected")));
    pair.site.api.call(Method::PUT, &pair.actions(), start).await.unwrap();

    let moves = json!({ "updateGlobalConfig": { "value": "MigrateVm" } });
    let setting = "/global-configurations/host/maintenance.localStorage/actions";
    pair.site.api.call(Method::PUT, setting, moves).await.unwrap();
    change("maintain").await;
    let vm = pair.vm().await;
    assert_eq!((&vm["state"], &vm["hostUuid"]), (&json!("Running"), &json!(pair.site.hosts[1])));
    assert!(pair.site.world().state().domains.is_empty());
}
