//! The whole public API of flows, in chapters. Each leaves the cloud as it was, so that it can be read again
//! and again. A flow that no chapter runs makes the walk fail: let one of them make the call that runs it.

use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{World, range, strays};

pub struct Chapter {
    pub name: &'static str,
    pub read: for<'w> fn(&'w mut World) -> BoxFuture<'w, ()>,
}

/// The longest first.
pub const CHAPTERS: &[Chapter] = &[
    Chapter { name: "sweep", read: |world| Box::pin(sweep(world)) },
    Chapter { name: "zone", read: |world| Box::pin(zone(world)) },
    Chapter { name: "vm", read: |world| Box::pin(vm(world)) },
    Chapter { name: "l3 network", read: |world| Box::pin(l3(world)) },
    Chapter { name: "host", read: |world| Box::pin(host(world)) },
    Chapter { name: "primary storage", read: |world| Box::pin(primary_storage(world)) },
    Chapter { name: "backup storage", read: |world| Box::pin(backup_storage(world)) },
    Chapter { name: "image", read: |world| Box::pin(image(world)) },
    Chapter { name: "l2 network", read: |world| Box::pin(l2(world)) },
];

/// Longer than a suspicion must stand once the chapter of the sweep has begun.
const SETTLED: Duration = Duration::from_millis(1200);

async fn add_host(world: &mut World, cluster: &str) -> String {
    let ip = world.hosts[1].0;
    let params = json!({ "name": "hv2", "managementIp": ip, "clusterUuid": cluster, "username": "root",
        "password": "unused" });
    world.post("/hosts/kvm", params).await
}

async fn attach_l2(world: &mut World, zone: &str, cluster: &str, interface: &str) -> String {
    let params = json!({ "name": interface, "zoneUuid": zone, "physicalInterface": interface });
    let l2 = world.post("/l2-networks/no-vlan", params).await;
    world.post(format!("/l2-networks/{l2}/clusters/{cluster}"), Value::Null).await;
    l2
}

/// With a range, and served.
async fn add_l3(world: &mut World, l2: &str, net: u8) -> (String, String) {
    let l3 = world.post("/l3-networks", json!({ "name": "net", "l2NetworkUuid": l2 })).await;
    let asked = range(net);
    let params = json!({ "name": "range", "startIp": asked.start, "endIp": asked.end,
        "netmask": asked.netmask, "gateway": asked.gateway });
    let range = world.post(format!("/l3-networks/{l3}/ip-ranges"), params).await;
    let services = json!({ "networkServices": { "Flat": ["DHCP", "DNS"] } });
    world.post(format!("/l3-networks/{l3}/network-services"), services).await;
    (l3, range)
}

async fn add_storage(world: &mut World, zone: &str, cluster: &str) -> String {
    let params = json!({ "name": "other", "url": "/other_ps", "zoneUuid": zone });
    let storage = world.post("/primary-storage/local-storage", params).await;
    world.post(format!("/clusters/{cluster}/primary-storage/{storage}"), json!({})).await;
    storage
}

/// A VM in the furnished zone; `more` says where.
async fn add_vm(world: &mut World, more: Value) -> String {
    let mut params = world.site.vm("walker");
    for (name, value) in more.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    world.post("/vm-instances", params).await
}

async fn expunge_vm(world: &mut World, vm: &str) {
    world.delete(format!("/vm-instances/{vm}")).await;
    world.act(format!("/vm-instances/{vm}/actions"), "expungeVmInstance").await;
}

async fn vm(world: &mut World) {
    let vm = add_vm(world, json!({})).await;
    let actions = format!("/vm-instances/{vm}/actions");
    for action in
        ["stopVmInstance", "startVmInstance", "rebootVmInstance", "pauseVmInstance", "resumeVmInstance"]
    {
        world.act(&actions, action).await;
    }
    world.delete(format!("/vm-instances/{vm}")).await;
    world.act(&actions, "recoverVmInstance").await;
    world.act(&actions, "startVmInstance").await;
    world.act(&actions, "pauseVmInstance").await;
    expunge_vm(world, &vm).await;
    let stopped = add_vm(world, json!({ "strategy": "CreateStopped" })).await;
    expunge_vm(world, &stopped).await;
}

async fn host(world: &mut World) {
    let cluster = world.site.cluster.clone();
    let host = add_host(world, &cluster).await;
    add_vm(world, json!({ "hostUuid": host })).await;
    world.act(format!("/hosts/{host}/actions"), "reconnectHost").await;
    world.delete(format!("/hosts/{host}")).await;
}

async fn primary_storage(world: &mut World) {
    let (zone, cluster) = (world.site.zone.clone(), world.site.cluster.clone());
    let storage = add_storage(world, &zone, &cluster).await;
    let attached = format!("/clusters/{cluster}/primary-storage/{storage}");
    world.delete(&attached).await;
    world.post(&attached, json!({})).await;
    add_vm(world, json!({ "primaryStorageUuidForRootVolume": storage })).await;
    world.delete(format!("/primary-storage/{storage}")).await;
}

async fn add_image(world: &mut World, storages: Value) -> String {
    let params = json!({ "name": "other", "url": "http://images.example.org/other.qcow2",
        "backupStorageUuids": storages, "format": "qcow2", "mediaType": "RootVolumeTemplate",
        "platform": "Linux" });
    world.post("/images", params).await
}

async fn backup_storage(world: &mut World) {
    let params = json!({ "name": "other", "hostname": world.hosts[1].0, "username": "root",
        "password": "unused", "url": "/other_bs" });
    let storage = world.post("/backup-storage/sftp", params).await;
    let zone = world.site.zone.clone();
    world.post(format!("/zones/{zone}/backup-storage/{storage}"), json!({})).await;
    world.act(format!("/backup-storage/{storage}/actions"), "reconnectBackupStorage").await;
    let both = json!([world.site.backup_storage, storage]);
    let image = add_image(world, both).await;
    add_image(world, json!([storage])).await;
    world.delete(format!("/backup-storage/{storage}")).await;
    world.delete(format!("/images/{image}")).await;
    world.act(format!("/images/{image}/actions"), "expungeImage").await;
}

async fn image(world: &mut World) {
    let storages = json!([world.site.backup_storage]);
    let image = add_image(world, storages).await;
    world.delete(format!("/images/{image}")).await;
    world.act(format!("/images/{image}/actions"), "recoverImage").await;
    world.delete(format!("/images/{image}")).await;
    world.act(format!("/images/{image}/actions"), "expungeImage").await;
}

async fn l2(world: &mut World) {
    let (zone, cluster) = (world.site.zone.clone(), world.site.cluster.clone());
    let host = add_host(world, &cluster).await;
    let l2 = attach_l2(world, &zone, &cluster, "eth2").await;
    world.delete(format!("/l2-networks/{l2}/clusters/{cluster}")).await;
    world.post(format!("/l2-networks/{l2}/clusters/{cluster}"), Value::Null).await;
    add_l3(world, &l2, 8).await;
    world.delete(format!("/l2-networks/{l2}")).await;
    world.delete(format!("/hosts/{host}")).await;
}

async fn l3(world: &mut World) {
    let (zone, cluster) = (world.site.zone.clone(), world.site.cluster.clone());
    let l2 = attach_l2(world, &zone, &cluster, "eth3").await;
    let (net, range) = add_l3(world, &l2, 7).await;
    let vm = add_vm(world, json!({ "l3NetworkUuids": [net] })).await;
    world.post(format!("/l3-networks/{net}/dns"), json!({ "dns": "10.7.0.1" })).await;
    let change = json!({ "dnsDomain": "walk.example.org" });
    world.act_with(format!("/l3-networks/{net}/actions"), "updateL3Network", change).await;
    world.delete(format!("/l3-networks/{net}/dns/10.7.0.1")).await;
    world.delete(format!("/l3-networks/{net}/network-services?service=DNS")).await;
    world.delete(format!("/l3-networks/ip-ranges/{range}")).await;
    expunge_vm(world, &vm).await;
    world.delete(format!("/l3-networks/{net}")).await;
    world.delete(format!("/l2-networks/{l2}")).await;
}

/// Disks that are nobody's: suspected, seen again, taken away.
async fn sweep(world: &mut World) {
    let settle = "/global-configurations/sweep/settle/actions";
    world.plainly(settle, json!({ "updateGlobalConfig": { "value": "1" } })).await;
    world.lose_disks();
    world.plainly("/sweep/actions", json!({ "runSweep": {} })).await;
    sleep(SETTLED).await;
    let told = world.plainly("/sweep/actions", json!({ "runSweep": {} })).await;
    for disk in strays() {
        let found = told["inventories"].as_array().into_iter().flatten().find(|one| one["name"] == *disk);
        let finding = found.unwrap_or_else(|| panic!("{disk} is not found: {told}"))["uuid"].clone();
        let actions = format!("/sweep/findings/{}/actions", finding.as_str().unwrap_or_default());
        world.act(actions, "repairFinding").await;
        assert!(!world.has_lost(&disk), "{disk} is still there");
    }
}

/// A zone with everything in it, of which first the cluster goes and then the rest.
async fn zone(world: &mut World) {
    let zone = world.post("/zones", json!({ "name": "other" })).await;
    let params = json!({ "zoneUuid": zone, "name": "other", "hypervisorType": "KVM" });
    let gone = world.post("/clusters", params.clone()).await;
    let cluster = world.post("/clusters", params).await;
    let images = world.site.backup_storage.clone();
    world.post(format!("/zones/{zone}/backup-storage/{images}"), json!({})).await;
    add_host(world, &gone).await;
    world.delete(format!("/clusters/{gone}")).await;
    add_host(world, &cluster).await;
    add_storage(world, &zone, &cluster).await;
    let l2 = attach_l2(world, &zone, &cluster, "eth4").await;
    let (l3, _) = add_l3(world, &l2, 6).await;
    add_vm(world, json!({ "zoneUuid": zone, "l3NetworkUuids": [l3] })).await;
    world.delete(format!("/zones/{zone}")).await;
}
