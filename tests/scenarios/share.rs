//! Storage that two hosts have in common: VMs start on either and move without their disks.

use fleet::{Host, Moment, Share};
use hyper::Method;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::{localstorage, migration, mount_point, vm};

use crate::site::Site;

const DIR: &str = "/fleet_smp";

/// A site whose hosts have a directory in common, and a storage there.
struct Common {
    site: Site,
    other: Host,
    share: &'static Share,
    storage: String,
}

impl Common {
    async fn start(number: u8) -> Common {
        let share = Share::at(DIR);
        let (site, other) = Site::of_two_with(number, [Some(share), Some(share)]).await;
        let storage = add(&site).await;
        site.api.create(&attached(&site, &storage), json!({})).await.unwrap();
        Common { site, other, share, storage }
    }

    /// A VM there, on the first host.
    async fn vm(&self) -> Vm<'_> {
        let mut params = self.site.vm("web");
        params["hostUuid"] = json!(self.site.hosts[0]);
        params["primaryStorageUuidForRootVolume"] = json!(self.storage);
        let made = self.site.api.create("/vm-instances", params).await.unwrap();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Vm { common: self, uuid: text("uuid"), root: text("rootVolumeUuid") }
    }

    async fn storage(&self) -> Value {
        self.site.list(&format!("/primary-storage?q=uuid={}", self.storage)).await.remove(0)
    }

    async fn left(&self) -> i64 {
        self.storage().await["availableCapacity"].as_i64().unwrap()
    }

    fn count(&self, path: &str) -> usize {
        self.site.world().count(path) + self.other.world.count(path)
    }
}

struct Vm<'c> {
    common: &'c Common,
    uuid: String,
    root: String,
}

impl Vm<'_> {
    fn path(&self) -> String {
        format!("/vm-instances/{}", self.uuid)
    }

    async fn act(&self, body: Value) -> Value {
        let path = format!("{}/actions", self.path());
        self.common.site.api.call(Method::PUT, &path, body).await.unwrap()["inventory"].clone()
    }

    async fn expunge(&self) {
        self.common.site.api.delete(&self.path()).await.unwrap();
        self.act(json!({ "expungeVmInstance": {} })).await;
    }
}

async fn add(site: &Site) -> String {
    let params = json!({ "name": "common", "url": DIR, "zoneUuid": site.zone });
    let made = site.api.create("/primary-storage/smp", params).await.unwrap();
    assert_eq!(made["type"], "SharedMountPoint");
    made["uuid"].as_str().unwrap().to_owned()
}

fn attached(site: &Site, storage: &str) -> String {
    format!("/clusters/{}/primary-storage/{storage}", site.cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_on_a_shared_storage_moves_without_its_disks_and_starts_on_any_host() {
    let common = Common::start(21).await;
    let before = common.left().await;
    assert_eq!(before, 1 << 40, "its space is counted once");
    let (vm, hosts) = (common.vm().await, &common.site.hosts);
    common
        .site
        .api
        .create(&format!("/volumes/{}/volume-snapshots", vm.root), json!({ "name": "one" }))
        .await
        .unwrap();
    let told = common.site.api.get(&format!("{}/migration-target-hosts", vm.path())).await.unwrap();
    assert_eq!((&told["obstacles"], &told["inventories"][0]["uuid"]), (&json!([]), &json!(hosts[1])));

    let moved = vm.act(json!({ "migrateVm": {} })).await;
    assert_eq!((&moved["hostUuid"], &moved["state"]), (&json!(hosts[1]), &json!("Running")));
    assert_eq!((common.share.state().volumes.len(), common.site.world().state().domains.len()), (2, 0));
    assert_eq!(
        common.count(localstorage::CreateEmpty::PATH) + common.count(mount_point::CreateEmpty::PATH),
        0
    );
    assert_eq!(common.count(mount_point::Delete::PATH), 0, "what both have is not deleted");

    vm.act(json!({ "stopVmInstance": {} })).await;
    for host in hosts {
        let started = vm.act(json!({ "startVmInstance": { "hostUuid": host } })).await;
        assert_eq!((&started["hostUuid"], &started["state"]), (&json!(host), &json!("Running")));
        vm.act(json!({ "stopVmInstance": {} })).await;
    }
    let second = common.vm().await;
    assert_eq!(common.count(mount_point::Download::PATH), 1, "an image is fetched for all hosts");
    second.expunge().await;
    vm.expunge().await;
    let share = common.share.state();
    assert!(share.volumes.is_empty() && share.layers.is_empty(), "{share:?}");
    assert_eq!(before - common.left().await, 1 << 20, "the cached image alone takes room");
    common.site.api.delete(&format!("/primary-storage/{}", common.storage)).await.unwrap();
    let share = common.share.state();
    assert!(share.cache.is_empty() && share.folders.is_empty(), "{share:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_moves_vms_on_shared_storage_and_stops_no_one() {
    let common = Common::start(22).await;
    let vm = common.vm().await;
    let path = format!("/hosts/{}/actions", common.site.hosts[0]);
    let maintain = json!({ "changeHostState": { "stateEvent": "maintain" } });
    common.site.api.call(Method::PUT, &path, maintain).await.unwrap();
    let now = common.site.list(&format!("/vm-instances?q=uuid={}", vm.uuid)).await.remove(0);
    assert_eq!((&now["state"], &now["hostUuid"]), (&json!("Running"), &json!(common.site.hosts[1])));
    assert_eq!(common.count(vm::Stop::PATH), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_has_mounted_something_else_is_refused() {
    let (site, other) = Site::of_two_with(23, [Some(Share::at(DIR)), None]).await;
    let storage = add(&site).await;
    let refused = site.refused(Method::POST, &attached(&site, &storage), json!({ "params": {} })).await;
    assert!(refused.details.contains("mount the same share on both"), "{refused:?}");
    assert_eq!(
        site.list(&format!("/primary-storage?q=uuid={storage}")).await[0]["attachedClusterUuids"],
        json!([])
    );
    assert!(other.world.state().folders.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_has_mounted_nothing_is_refused_in_its_own_words() {
    let share = Some(Share::at(DIR));
    let (site, other) = Site::of_two_with(28, [share, share]).await;
    let storage = add(&site).await;
    other.world.refuse(mount_point::Connect::PATH, "it lies on the root file system");
    other.world.refuse(mount_point::Delete::PATH, "it is no storage of this host");
    let refused = site.refused(Method::POST, &attached(&site, &storage), json!({ "params": {} })).await;
    assert!(refused.details.contains("lies on the root file system"), "{refused:?}");
    other.world.obey();
    site.api.create(&attached(&site, &storage), json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_volume_of_a_shared_storage_goes_with_the_vm_that_has_it() {
    let common = Common::start(24).await;
    let (vm, site) = (common.vm().await, &common.site);
    let params = json!({ "name": "disk", "diskSize": 1 << 30, "primaryStorageUuid": common.storage });
    let disk = site.api.create("/volumes/data", params).await.unwrap()["uuid"].as_str().unwrap().to_owned();
    let candidates = site.list(&format!("{}/data-volume-candidates", vm.path())).await;
    assert_eq!(candidates[0]["uuid"], json!(disk));
    let candidates = site.list(&format!("/volumes/{disk}/candidate-vm-instances")).await;
    assert_eq!(candidates[0]["uuid"], json!(vm.uuid));
    site.api.create(&format!("/volumes/{disk}/vm-instances/{}", vm.uuid), json!({})).await.unwrap();
    vm.act(json!({ "migrateVm": {} })).await;
    assert!(common.other.world.state().disks.contains(&format!("{} {disk}", vm.uuid)));

    let mut local = site.vm("local");
    local["primaryStorageUuidForRootVolume"] = json!(site.primary_storage);
    local["hostUuid"] = json!(site.hosts[0]);
    let local = site.api.create("/vm-instances", local).await.unwrap()["uuid"].as_str().unwrap().to_owned();
    site.api.delete(&format!("/volumes/{disk}/vm-instances")).await.unwrap();
    site.api.create(&format!("/volumes/{disk}/vm-instances/{local}"), json!({})).await.unwrap();
    let told = site.api.get(&format!("/vm-instances/{local}/migration-target-hosts")).await.unwrap();
    assert!(told["obstacles"][0].as_str().unwrap().contains("some of its volumes"), "{told}");
    let actions = format!("/vm-instances/{local}/actions");
    site.api.call(Method::PUT, &actions, json!({ "stopVmInstance": {} })).await.unwrap();
    let start = json!({ "startVmInstance": { "hostUuid": site.hosts[1] } });
    let refused = site.refused(Method::PUT, &actions, start).await;
    assert!(refused.details.contains("it can start there only"), "{refused:?}");
    let named = json!({ "name": "named", "diskSize": 1 << 30, "primaryStorageUuid": common.storage });
    let named =
        json!({ "params": named, "systemTags": [format!("localStorage::hostUuid::{}", site.hosts[0])] });
    let refused = site.refused(Method::POST, "/volumes/data", named).await;
    assert!(refused.details.contains("is the same on all its hosts"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_on_a_share_and_is_nobodys_is_found_once_and_taken_away_once() {
    let common = Common::start(25).await;
    let settle = json!({ "updateGlobalConfig": { "value": "1" } });
    let path = "/global-configurations/sweep/settle/actions";
    common.site.api.call(Method::PUT, path, settle).await.unwrap();
    let vm = common.vm().await;
    let stray = format!("{DIR}/dataVolumes/acct-x/vol-{0}/{0}.qcow2", "07".repeat(16));
    common.share.gets(&stray);
    let sweep = json!({ "runSweep": {} });
    common.site.api.call(Method::PUT, "/sweep/actions", sweep.clone()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let told = common.site.api.call(Method::PUT, "/sweep/actions", sweep).await.unwrap();
    let found: Vec<&Value> = told["inventories"].as_array().unwrap().iter().collect();
    assert_eq!(found.len(), 1, "{told}");
    assert_eq!(found[0]["name"], json!(stray));
    let path = format!("/sweep/findings/{}/actions", found[0]["uuid"].as_str().unwrap());
    common.site.api.call(Method::PUT, &path, json!({ "repairFinding": {} })).await.unwrap();
    assert_eq!(common.share.state().volumes.len(), 1);
    vm.expunge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_dies_leaves_a_vm_on_one_side_and_its_disk_alone() {
    let mut common = Common::start(26).await;
    let uuid = common.vm().await.uuid;
    for moment in [Moment::Before, Moment::After] {
        let path = format!("/vm-instances/{uuid}/actions");
        let at_home = common.site.world().state().domains.contains_key(&uuid);
        let from = if at_home { &common.site.host.world } else { &common.other.world };
        from.trap(migration::Migrate::PATH, moment, common.site.controller.killer());
        let location = common.site.begin(Method::PUT, &path, json!({ "migrateVm": {} })).await;
        common.site.controller.dies().await.unwrap();
        common.site.controller.start().await.unwrap();
        common.site.end(&location).await.unwrap();
        let (here, there) = (common.site.world().state(), common.other.world.state());
        assert_eq!(here.domains.contains_key(&uuid), !at_home, "{moment:?}");
        assert_eq!(here.domains.len() + there.domains.len(), 1, "{moment:?}");
        assert_eq!(common.share.state().volumes.len(), 1, "{moment:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_no_host_could_delete_stays_and_says_why() {
    let common = Common::start(27).await;
    let site = &common.site;
    let params = json!({ "name": "disk", "diskSize": 1 << 30, "primaryStorageUuid": common.storage });
    let disk = site.api.create("/volumes/data", params).await.unwrap()["uuid"].as_str().unwrap().to_owned();
    site.api.delete(&attached(site, &common.storage)).await.unwrap();
    site.api.delete(&format!("/volumes/{disk}")).await.unwrap();
    let expunge = json!({ "expungeDataVolume": {} });
    let path = format!("/volumes/{disk}/actions");
    let refused = site.refused(Method::PUT, &path, expunge.clone()).await;
    assert!(refused.details.contains("no host that has its primary storage"), "{refused:?}");
    assert_eq!(common.share.state().volumes.len(), 1);
    site.api.create(&attached(site, &common.storage), json!({})).await.unwrap();
    site.api.call(Method::PUT, &path, expunge).await.unwrap();
    assert!(common.share.state().volumes.is_empty());
}
