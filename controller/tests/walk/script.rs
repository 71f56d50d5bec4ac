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
    Chapter { name: "shared", read: |world| Box::pin(shared(world)) },
    Chapter { name: "ha", read: |world| Box::pin(ha(world)) },
    Chapter { name: "sweep", read: |world| Box::pin(sweep(world)) },
    Chapter { name: "zone", read: |world| Box::pin(zone(world)) },
    Chapter { name: "vm", read: |world| Box::pin(vm(world)) },
    Chapter { name: "l3 network", read: |world| Box::pin(l3(world)) },
    Chapter { name: "devices", read: |world| Box::pin(devices(world)) },
    Chapter { name: "guests", read: |world| Box::pin(guests(world)) },
    Chapter { name: "moves", read: |world| Box::pin(moves(world)) },
    Chapter { name: "copies", read: |world| Box::pin(copies(world)) },
    Chapter { name: "templates", read: |world| Box::pin(templates(world)) },
    Chapter { name: "snapshots", read: |world| Box::pin(snapshots(world)) },
    Chapter { name: "host", read: |world| Box::pin(host(world)) },
    Chapter { name: "apart", read: |world| Box::pin(apart(world)) },
    Chapter { name: "primary storage", read: |world| Box::pin(primary_storage(world)) },
    Chapter { name: "backup storage", read: |world| Box::pin(backup_storage(world)) },
    Chapter { name: "image", read: |world| Box::pin(image(world)) },
    Chapter { name: "l2 network", read: |world| Box::pin(l2(world)) },
    Chapter { name: "vxlan", read: |world| Box::pin(vxlan(world)) },
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

async fn expunge_disk(world: &mut World, disk: &str) {
    world.delete(format!("/volumes/{disk}")).await;
    world.act(format!("/volumes/{disk}/actions"), "expungeDataVolume").await;
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

async fn devices(world: &mut World) {
    let vm = add_vm(world, json!({})).await;
    let l2 = world.site.l2.clone();
    let (l3, _) = add_l3(world, &l2, 8).await;
    world.post(format!("/vm-instances/{vm}/l3-networks/{l3}"), json!({})).await;
    let nic = world.nic_in(&vm, &l3).await;
    world.delete(format!("/vm-instances/nics/{nic}")).await;
    world.delete(format!("/l3-networks/{l3}")).await;
    let disk = world.post("/volumes/data", json!({ "name": "disk", "diskSize": 1 << 30 })).await;
    let (attached, actions) = (format!("/volumes/{disk}/vm-instances"), format!("/volumes/{disk}/actions"));
    world.post(format!("{attached}/{vm}"), json!({})).await;
    world.act(&actions, "syncVolumeSize").await;
    world.delete(&attached).await;
    world.act(format!("/vm-instances/{vm}/actions"), "stopVmInstance").await;
    world.post(format!("{attached}/{vm}"), json!({})).await;
    world.act(format!("/vm-instances/{vm}/actions"), "startVmInstance").await;
    world.delete(&attached).await;
    world.delete(format!("/volumes/{disk}")).await;
    world.act(&actions, "expungeDataVolume").await;
    let there = format!("localStorage::hostUuid::{}", world.site.hosts[0]);
    let params = json!({ "name": "placed", "diskSize": 1 << 30,
        "primaryStorageUuid": world.site.primary_storage });
    let placed = world.post_tagged("/volumes/data", params, &there).await;
    world.post(format!("/volumes/{placed}/vm-instances/{vm}"), json!({})).await;
    expunge_vm(world, &vm).await;
    expunge_disk(world, &placed).await;
}

async fn add_iso(world: &mut World, name: &str) -> String {
    let params = json!({ "name": name, "url": "http://images.example.org/tools.iso",
        "backupStorageUuids": [world.site.backup_storage], "format": "iso", "mediaType": "ISO" });
    world.post("/images", params).await
}

async fn expunge_image(world: &mut World, image: &str) {
    world.delete(format!("/images/{image}")).await;
    world.act(format!("/images/{image}/actions"), "expungeImage").await;
}

/// VMs started from now on may grow, or not.
async fn grow(world: &World, may: bool) {
    let value = json!({ "updateGlobalConfig": { "value": may.to_string() } });
    world.plainly("/global-configurations/vm/numa/actions", value).await;
}

/// What a VM is made of, and is changed to.
async fn guests(world: &mut World) {
    let (iso, tools) = (add_iso(world, "installer").await, add_iso(world, "tools").await);
    let fresh = add_vm(world, json!({ "imageUuid": iso, "rootDiskSize": 1 << 30 })).await;
    expunge_vm(world, &fresh).await;
    grow(world, true).await;
    let vm = add_vm(world, json!({ "dataDiskSizes": [1 << 30, 2 << 20] })).await;
    let actions = format!("/vm-instances/{vm}/actions");
    let disks = format!("/volumes?q=vmInstanceUuid={vm}&q=type=Data&sort=+deviceId");
    let (first, second) = (world.first(&disks).await, world.first(&format!("{disks}&q=deviceId=2")).await);
    world.post(format!("/vm-instances/{vm}/iso/{tools}"), Value::Null).await;
    let more = json!({ "cpuNum": 2, "memorySize": 256 << 20 });
    world.act_with(&actions, "updateVmInstance", more).await;
    world.post(&actions, json!({})).await;
    world.act_with(&actions, "updateVmPriority", json!({ "priority": "High" })).await;
    let high = world.first("/vm-priority-config?q=level=High").await;
    for shares in [3000, 2048] {
        let meaning = json!({ "cpuShares": shares });
        world.act_with(format!("/vm-priority-config/{high}/actions"), "updatePriorityConfig", meaning).await;
    }
    addresses(world, &vm).await;
    world.delete(format!("/vm-instances/{vm}/iso")).await;
    world.act_with(&actions, "updateVmInstance", json!({ "cpuNum": 1 })).await;
    world.act(&actions, "stopVmInstance").await;
    world.doubt_images().await;
    world.act(&actions, "reimageVmInstance").await;
    let other = add_iso(world, "other").await;
    let drive = json!({ "name": "second", "vmInstanceUuid": vm, "isoUuid": other });
    world.post("/vm-instances/cdroms", drive).await;
    world.act(&actions, "startVmInstance").await;
    grow(world, false).await;
    expunge_vm(world, &vm).await;
    for disk in [first, second] {
        expunge_disk(world, &disk).await;
    }
    for image in [iso, tools, other] {
        expunge_image(world, &image).await;
    }
}

/// Its NIC goes to another network on another bridge, gets another address there, and comes back.
async fn addresses(world: &mut World, vm: &str) {
    let (zone, cluster) = (world.site.zone.clone(), world.site.cluster.clone());
    let home = world.site.l3.clone();
    let l2 = attach_l2(world, &zone, &cluster, "eth5").await;
    let (away, _) = add_l3(world, &l2, 8).await;
    let nic = world.nic_in(vm, &home).await;
    world.post(format!("/vm-instances/nics/{nic}/l3-networks/{away}"), json!({})).await;
    let ip = json!({ "l3NetworkUuid": away, "ip": world.free_ip(&away).await });
    world.act_with(format!("/vm-instances/{vm}/actions"), "setVmStaticIp", ip).await;
    let state = format!("/vm-instances/nics/{nic}/actions");
    for word in ["disable", "enable"] {
        world.act_with(&state, "changeVmNicState", json!({ "state": word })).await;
    }
    world.post(format!("/vm-instances/nics/{nic}/l3-networks/{home}"), json!({})).await;
    world.delete(format!("/l2-networks/{l2}")).await;
}

/// Of a VM with a data volume: while it runs, while it does not, and of a volume that nobody has.
async fn snapshots(world: &mut World) {
    let vm = add_vm(world, json!({})).await;
    let actions = format!("/vm-instances/{vm}/actions");
    let root = world.root_of(&vm).await;
    world.act(&actions, "flattenVmInstance").await;
    let take = |volume: &str| format!("/volumes/{volume}/volume-snapshots");
    let first = world.post(take(&root), json!({ "name": "first" })).await;
    let second = world.post(take(&root), json!({ "name": "second" })).await;
    world.act(format!("/volume-snapshots/{second}/actions"), "getVolumeSnapshotSize").await;
    world.delete(format!("/volume-snapshots/{second}")).await;
    let disk = world.post("/volumes/data", json!({ "name": "disk", "diskSize": 1 << 30 })).await;
    world.post(format!("/volumes/{disk}/vm-instances/{vm}"), json!({})).await;
    let params = json!({ "rootVolumeUuid": root, "name": "both" });
    let group = world.post("/volume-snapshots/group", params.clone()).await;
    world.act(&actions, "stopVmInstance").await;
    let groups = format!("/volume-snapshots/group/{group}");
    world.act(format!("{groups}/actions"), "revertVmFromSnapshotGroup").await;
    world.act(format!("/volume-snapshots/{first}/actions"), "revertVolumeFromSnapshot").await;
    world.delete(&groups).await;
    world.post("/volume-snapshots/group", params).await;
    world.delete(format!("/volumes/{disk}/vm-instances")).await;
    let loose = world.post(take(&disk), json!({ "name": "loose" })).await;
    world.act(format!("/volume-snapshots/{loose}/actions"), "revertVolumeFromSnapshot").await;
    let path = format!("/volumes/data/from/volume-snapshots/{loose}");
    let copied = world.post(path, json!({ "name": "copied" })).await;
    for disk in [&disk, &copied] {
        expunge_disk(world, disk).await;
    }
    expunge_vm(world, &vm).await;
}

/// VMs of a group of snapshots, of a snapshot and of volumes; and one that boots from another of its volumes.
async fn copies(world: &mut World) {
    let vm = add_vm(world, json!({ "strategy": "CreateStopped", "dataDiskSizes": [1 << 30] })).await;
    let (root, actions) = (world.root_of(&vm).await, format!("/vm-instances/{vm}/actions"));
    let disk = world.first(&format!("/volumes?q=vmInstanceUuid={vm}&q=type=Data")).await;
    let group = json!({ "rootVolumeUuid": root, "name": "both" });
    let group = world.post("/volume-snapshots/group", group).await;
    let one = world.first(&format!("/volume-snapshots?q=volumeUuid={root}")).await;
    let wish = world.site.vm_of_nothing("copy");
    let mut of_volume = wish.clone();
    of_volume["volumeUuid"] = json!(root);
    let snapshots = "/vm-instances/from/volume-snapshots";
    for (path, wish) in [
        (format!("{snapshots}/group/{group}"), &wish),
        (format!("{snapshots}/{one}"), &wish),
        ("/vm-instances/from/volume".into(), &of_volume),
    ] {
        let copy = world.post(path, wish.clone()).await;
        let disks = format!("/volumes?q=vmInstanceUuid={copy}&q=type=Data");
        let with_disk = world.count(&disks).await > 0;
        let copied = if with_disk { Some(world.first(&disks).await) } else { None };
        expunge_vm(world, &copy).await;
        if let Some(copied) = copied {
            expunge_disk(world, &copied).await;
        }
    }
    for volume in [&disk, &root] {
        world.act_with(&actions, "setVmBootVolume", json!({ "volumeUuid": volume })).await;
    }
    world.delete(format!("/volumes/{disk}/vm-instances")).await;
    of_volume["volumeUuid"] = json!(disk);
    let copy = world.post("/vm-instances/from/volume", of_volume).await;
    expunge_vm(world, &copy).await;
    expunge_disk(world, &disk).await;
    expunge_vm(world, &vm).await;
}

/// Images of a root volume and of a snapshot, and a volume of one of them.
async fn templates(world: &mut World) {
    let vm = add_vm(world, json!({ "strategy": "CreateStopped" })).await;
    let root = world.root_of(&vm).await;
    world.act(format!("/volumes/{root}/actions"), "flattenVolume").await;
    let storages = json!([world.site.backup_storage]);
    let wish = json!({ "name": "golden", "backupStorageUuids": storages });
    let golden = world.post(format!("/images/root-volume-templates/from/volumes/{root}"), wish.clone()).await;
    let snapshot = world.post(format!("/volumes/{root}/volume-snapshots"), json!({ "name": "one" })).await;
    let path = format!("/images/data-volume-templates/from/volume-snapshots/{snapshot}");
    let data = world.post(path, wish).await;
    let made = json!({ "name": "made", "primaryStorageUuid": world.site.primary_storage,
        "hostUuid": world.site.hosts[0] });
    let disk = world.post(format!("/volumes/data/from/data-volume-templates/{data}"), made).await;
    expunge_disk(world, &disk).await;
    for image in [golden, data] {
        world.delete(format!("/images/{image}")).await;
        world.act(format!("/images/{image}/actions"), "expungeImage").await;
    }
    expunge_vm(world, &vm).await;
}

/// Between two hosts and back, with a data volume.
async fn moves(world: &mut World) {
    let (cluster, home) = (world.site.cluster.clone(), world.site.hosts[0].clone());
    let host = add_host(world, &cluster).await;
    let mut params = world.site.vm("walker");
    params["hostUuid"] = json!(home);
    // Any base64 will do, as what stands behind the tag is.
    let vm = world.post_tagged("/vm-instances", params, "userdata::d2Fsaw==").await;
    let disk = world.post("/volumes/data", json!({ "name": "disk", "diskSize": 1 << 30 })).await;
    world.post(format!("/volumes/{disk}/vm-instances/{vm}"), json!({})).await;
    let actions = format!("/vm-instances/{vm}/actions");
    for to in [&host, &home] {
        world.act_with(&actions, "migrateVm", json!({ "hostUuid": to })).await;
    }
    expunge_vm(world, &vm).await;
    expunge_disk(world, &disk).await;
    world.delete(format!("/hosts/{host}")).await;
}

/// Two VMs that must not share a host, made, started and parted.
async fn apart(world: &mut World) {
    let cluster = world.site.cluster.clone();
    let host = add_host(world, &cluster).await;
    let group = world.post("/affinity-groups", json!({ "name": "front", "policy": "antiHard" })).await;
    let tag = format!("affinityGroupUuid::{group}");
    let mut vms = Vec::new();
    for name in ["one", "other"] {
        let params = world.site.vm(name);
        vms.push(world.post_tagged("/vm-instances", params, &tag).await);
    }
    let hosts = format!("/vm-instances?q=affinityGroup.uuid={group}&groupBy=hostUuid");
    assert_eq!(world.count(&hosts).await, 2);
    let actions = format!("/vm-instances/{}/actions", vms[0]);
    world.act(&actions, "stopVmInstance").await;
    world.act(&actions, "startVmInstance").await;
    world.delete(format!("/affinity-groups/{group}/vm-instances/{}", vms[0])).await;
    for vm in &vms {
        expunge_vm(world, vm).await;
    }
    world.delete(format!("/affinity-groups/{group}")).await;
    world.delete(format!("/hosts/{host}")).await;
}

/// On a storage that two hosts have in common: a VM moves between them and starts on either.
async fn shared(world: &mut World) {
    let (zone, cluster, home) =
        (world.site.zone.clone(), world.site.cluster.clone(), world.site.hosts[0].clone());
    let host = add_host(world, &cluster).await;
    let params = json!({ "name": "common", "url": "/walk_smp", "zoneUuid": zone });
    let storage = world.post("/primary-storage/smp", params).await;
    world.post(format!("/clusters/{cluster}/primary-storage/{storage}"), json!({})).await;
    world.act(format!("/primary-storage/{storage}/actions"), "reconnectPrimaryStorage").await;
    let there = json!({ "primaryStorageUuidForRootVolume": storage, "hostUuid": home });
    let vm = add_vm(world, there).await;
    let (actions, root) = (format!("/vm-instances/{vm}/actions"), world.root_of(&vm).await);
    let disk = json!({ "name": "disk", "diskSize": 1 << 30, "primaryStorageUuid": storage });
    let disk = world.post("/volumes/data", disk).await;
    world.post(format!("/volumes/{disk}/vm-instances/{vm}"), json!({})).await;
    let snapshots = format!("/volumes/{root}/volume-snapshots");
    let first = world.post(&snapshots, json!({ "name": "first" })).await;
    world.act_with(&actions, "migrateVm", json!({ "hostUuid": host })).await;
    world.act(&actions, "stopVmInstance").await;
    world.act(format!("/volume-snapshots/{first}/actions"), "revertVolumeFromSnapshot").await;
    world.delete(format!("/volume-snapshots/{first}")).await;
    let mut of_root = world.site.vm_of_nothing("copy");
    of_root["volumeUuid"] = json!(root);
    let copy = world.post("/vm-instances/from/volume", of_root).await;
    expunge_vm(world, &copy).await;
    world.act(&actions, "reimageVmInstance").await;
    world.act_with(&actions, "startVmInstance", json!({ "hostUuid": host })).await;
    // It moves, or is stopped when that fails.
    for event in ["maintain", "enable"] {
        let change = json!({ "stateEvent": event });
        world.act_with(format!("/hosts/{host}/actions"), "changeHostState", change).await;
    }
    expunge_vm(world, &vm).await;
    expunge_disk(world, &disk).await;
    let all = json!({ "force": true });
    let actions = format!("/primary-storage/{storage}/actions");
    world.act_with(&actions, "cleanUpImageCacheOnPrimaryStorage", all).await;
    let empty = json!({ "primaryStorageUuidForRootVolume": storage, "strategy": "CreateStopped" });
    let vm = add_vm(world, empty).await;
    expunge_vm(world, &vm).await;
    world.delete(format!("/primary-storage/{storage}")).await;
    world.delete(format!("/hosts/{host}")).await;
}

/// A host loses its power: it is given up, what ran there starts elsewhere, and it comes back.
async fn ha(world: &mut World) {
    let (zone, cluster) = (world.site.zone.clone(), world.site.cluster.clone());
    // Where VMs go later the network is served already: otherwise that would be written there once in a world.
    let home = world.site.hosts[0].clone();
    let keeper = add_vm(world, json!({ "hostUuid": home })).await;
    let host = add_host(world, &cluster).await;
    let params = json!({ "name": "guarded", "url": "/walk_smp", "zoneUuid": zone });
    let storage = world.post("/primary-storage/smp", params).await;
    world.post(format!("/clusters/{cluster}/primary-storage/{storage}"), json!({})).await;
    // The cloud's own, and on the host that has none of the others.
    world
        .plainly(
            "/global-configurations/ha/fencing.cap/actions",
            json!({ "updateGlobalConfig": { "value": "9999" } }),
        )
        .await;
    let there = json!({ "primaryStorageUuidForRootVolume": storage, "hostUuid": host });
    let (first, second) = (add_vm(world, there.clone()).await, add_vm(world, there).await);
    let disk = json!({ "name": "disk", "diskSize": 1 << 30, "primaryStorageUuid": storage });
    let disk = world.post("/volumes/data", disk).await;
    world.post(format!("/volumes/{disk}/vm-instances/{first}"), json!({})).await;
    world.post(format!("/vm-instances/{first}/ha-levels"), json!({ "level": "OnHostFailure" })).await;
    world.loses_power(&host).await;
    world.act(format!("/hosts/{host}/actions"), "giveUpHost").await;
    let lost = format!("/vm-instances?q=lastHostUuid={host}&q=state=Stopped");
    assert_eq!(world.count(&lost).await, 2, "vms of a host that was given up are stopped");
    world.act(format!("/vm-instances/{first}/actions"), "startVmInstance").await;
    world.regains_power();
    world.act(format!("/hosts/{host}/actions"), "reconnectHost").await;
    for vm in [first, second, keeper] {
        expunge_vm(world, &vm).await;
    }
    expunge_disk(world, &disk).await;
    world.delete(format!("/primary-storage/{storage}")).await;
    world.delete(format!("/hosts/{host}")).await;
}

async fn host(world: &mut World) {
    let cluster = world.site.cluster.clone();
    let host = add_host(world, &cluster).await;
    add_vm(world, json!({ "hostUuid": host })).await;
    world.act(format!("/hosts/{host}/actions"), "reconnectHost").await;
    let (actions, power) = (format!("/hosts/{host}/actions"), format!("/hosts/power/{host}/actions"));
    world.act_with(&actions, "changeHostState", json!({ "stateEvent": "maintain" })).await;
    world.act(&power, "shutdownHost").await;
    let control =
        json!({ "type": "Redfish", "url": world.machine, "username": "admin", "password": "secret" });
    world.act_with(&actions, "setHostPower", control).await;
    world.act(&power, "powerResetHost").await;
    world.act_with(&actions, "changeHostState", json!({ "stateEvent": "enable" })).await;
    world.delete(format!("/hosts/{host}")).await;
}

async fn primary_storage(world: &mut World) {
    let (zone, cluster) = (world.site.zone.clone(), world.site.cluster.clone());
    let storage = add_storage(world, &zone, &cluster).await;
    let attached = format!("/clusters/{cluster}/primary-storage/{storage}");
    world.delete(&attached).await;
    world.post(&attached, json!({})).await;
    world.act(format!("/primary-storage/{storage}/actions"), "reconnectPrimaryStorage").await;
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

async fn vxlan(world: &mut World) {
    let (zone, cluster) = (world.site.zone.clone(), world.site.cluster.clone());
    let pool = world.post("/l2-networks/vxlan-pool", json!({ "name": "overlay", "zoneUuid": zone })).await;
    let ranges = format!("/l2-networks/vxlan-pool/{pool}/vni-ranges");
    world.post(ranges, json!({ "name": "low", "startVni": 100, "endVni": 200 })).await;
    let one = |name: &str| json!({ "name": name, "poolUuid": pool });
    let early = world.post("/l2-networks/vxlan", one("early")).await;
    let place = format!("/l2-networks/{pool}/clusters/{cluster}");
    let tag = format!("l2NetworkUuid::{pool}::clusterUuid::{cluster}::cidr::127.0.0.0/8");
    world.post_tagged(&place, json!({}), &tag).await;
    let host = add_host(world, &cluster).await;
    let late = world.post("/l2-networks/vxlan", one("late")).await;
    let (net, _) = add_l3(world, &late, 9).await;
    let other = world.site.hosts[0].clone();
    let vm = add_vm(world, json!({ "l3NetworkUuids": [net], "hostUuid": other })).await;
    world.delete(format!("/l2-networks/{early}")).await;
    world.delete(format!("/hosts/{host}")).await;
    world.delete(place).await;
    world.delete(format!("/l2-networks/{late}")).await;
    world.delete(format!("/l2-networks/{pool}")).await;
    expunge_vm(world, &vm).await;
}

async fn l3(world: &mut World) {
    let (zone, cluster) = (world.site.zone.clone(), world.site.cluster.clone());
    let params = json!({ "name": "lan", "zoneUuid": zone, "physicalInterface": "eth3", "vlan": 30 });
    let l2 = world.post("/l2-networks/vlan", params).await;
    world
        .act_with(format!("/l2-networks/{l2}/actions"), "changeL2NetworkVlanId", json!({ "vlan": 31 }))
        .await;
    world.post(format!("/l2-networks/{l2}/clusters/{cluster}"), Value::Null).await;
    let (net, range) = add_l3(world, &l2, 7).await;
    let vm = add_vm(world, json!({ "l3NetworkUuids": [net] })).await;
    world.post(format!("/l3-networks/{net}/dns"), json!({ "dns": "10.7.0.1" })).await;
    let way = json!({ "prefix": "192.0.2.0/24", "nexthop": "10.7.0.2" });
    world.post(format!("/l3-networks/{net}/hostroute"), way).await;
    world.post(format!("/l3-networks/{net}/mtu"), json!({ "mtu": 1400 })).await;
    world.delete(format!("/l3-networks/{net}/hostroute?prefix=192.0.2.0/24")).await;
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
