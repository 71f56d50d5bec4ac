//! What is plugged into running VMs, grown, limited and snapshotted, as their guests see it. Guests are
//! emulated, so that this runs anywhere.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wire::TaskId;

use super::lab::guest::{self, Guest, linux, virsh};
use super::lab::{Lab, alone, eventually, nano_disk};

pub const VM: &str = "0123456789abcdef0123456789abcdef";
pub const ROOT: &str = "33333333333333333333333333333333";
pub const DATA: &str = "55555555555555555555555555555555";
const MORE: &str = "66666666666666666666666666666666";
const NIC: &str = "22222222222222222222222222222222";

/// With two bridges and a storage.
pub async fn prepared() -> Lab {
    let lab = Lab::start().await;
    for number in 0..2 {
        let (nic, wire, bridge) =
            (format!("eth{number}"), format!("wire{number}"), format!("br_eth{number}"));
        lab.net.add_veth(&nic, &wire).await.unwrap();
        let l2 = format!("{number}").repeat(32);
        let bridge = json!({ "physicalInterfaceName": nic, "bridgeName": bridge, "l2NetworkUuid": l2 });
        lab.done("/network/l2novlan/createbridge", bridge).await;
    }
    lab.done("/localstorage/init", json!({ "uuid": "ps-1", "path": lab.path("ps") })).await;
    lab
}

fn path(lab: &Lab, uuid: &str) -> String {
    lab.path(&format!("ps/dataVolumes/acct/vol-{uuid}/{uuid}.qcow2"))
}

pub async fn make(lab: &Lab, uuid: &str, size: u64) -> Value {
    let cmd = json!({ "storagePath": lab.path("ps"), "installUrl": path(lab, uuid), "size": size, "volumeUuid": uuid });
    lab.done("/localstorage/volume/createempty", cmd).await;
    volume(lab, uuid)
}

pub fn volume(lab: &Lab, uuid: &str) -> Value {
    json!({
        "installPath": path(lab, uuid), "deviceType": "file", "volumeUuid": uuid, "useVirtio": true,
        "format": "qcow2", "cacheMode": "none",
    })
}

/// A VM that boots the smallest of guests, which lets go of nothing.
pub async fn nano(lab: &Lab, more: Value) -> Value {
    let root = lab.path(&format!("ps/rootVolumes/{ROOT}.raw"));
    fs::create_dir_all(lab.path("ps/rootVolumes")).unwrap();
    fs::write(&root, nano_disk()).unwrap();
    let mut start = json!({
        "vmInstanceUuid": VM, "vmName": "nano", "memory": 64 << 20, "cpuNum": 1, "bootDev": ["hd"],
        "rootVolume": {
            "installPath": root, "deviceType": "file", "volumeUuid": ROOT, "useVirtio": true, "format": "raw",
        },
    });
    start.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    lab.done("/vm/start", start.clone()).await;
    start
}

pub fn plugged(volume: &Value) -> Value {
    json!({ "vmInstanceUuid": VM, "volume": volume })
}

pub async fn refusal(lab: &Lab, path: &str, command: Value) -> String {
    let outcome = lab.call(path, command).await;
    assert_eq!(outcome["success"], false, "{path}: {outcome}");
    outcome["error"].as_str().unwrap().to_owned()
}

pub fn live_xml() -> String {
    virsh(&["dumpxml", VM])
}

/// How many disks of the running VM are that volume.
fn count(uuid: &str) -> usize {
    live_xml().matches(&format!("<alias name='ua-{uuid}'/>")).count()
}

/// A Linux guest that may grow, with a data volume from the start.
pub async fn booted(lab: &Lab) -> (Guest, Value) {
    let root = lab.path(&format!("ps/rootVolumes/{ROOT}.qcow2"));
    let mut start = linux(VM, (ROOT, &root));
    let cold = make(lab, DATA, 8 << 20).await;
    start["dataVolumes"] = json!([cold]);
    start["useNuma"] = json!(true);
    start["maxVcpuNum"] = json!(2);
    start["maxMemory"] = json!(1_u64 << 30);
    start["tpm"] = json!(true);
    lab.done("/vm/start", start).await;
    (Guest::of(lab, VM).await, cold)
}

#[test]
fn a_guest_sees_volumes_come_grow_and_go() {
    guest::image();
    alone("devices::a_guest_sees_volumes_come_grow_and_go", async || {
        let lab = prepared().await;
        let (mut guest, cold) = booted(&lab).await;
        volumes(&lab, &mut guest, &cold).await;
    });
}

#[test]
fn a_guest_sees_nics_cpus_and_memory_come() {
    guest::image();
    alone("devices::a_guest_sees_nics_cpus_and_memory_come", async || {
        let lab = prepared().await;
        let (mut guest, _) = booted(&lab).await;
        nics(&lab, &mut guest).await;
        growth(&lab, &mut guest).await;
        assert!(guest.says("ls /sys/class/tpm").await.contains("tpm0"));
    });
}

#[test]
fn layers_of_a_disk_are_taken_and_merged_while_its_guest_writes() {
    guest::image();
    alone("devices::layers_of_a_disk_are_taken_and_merged_while_its_guest_writes", async || {
        let lab = prepared().await;
        let (mut guest, cold) = booted(&lab).await;
        questions(&lab).await;
        layers(&lab, &mut guest, &cold).await;
    });
}

async fn volumes(lab: &Lab, guest: &mut Guest, cold: &Value) {
    // virtio-blk has room for 20 characters.
    assert!(guest.says("cat /sys/block/vdb/serial").await.contains(&DATA[..20]));
    let hot = make(lab, MORE, 4 << 20).await;
    for _ in 0..2 {
        let told = lab.done("/vm/attachdatavolume", plugged(&hot)).await;
        assert_eq!(told["virtualDeviceInfoList"][0]["resourceUuid"], MORE, "{told}");
    }
    assert_eq!(count(MORE), 1);
    guest.comes_to_say("cat /sys/block/vdc/serial", &MORE[..20]).await;
    guest.comes_to_say("cat /sys/block/vdc/size", "8192").await;

    let grow = |size: u64| json!({ "vmUuid": VM, "volume": hot, "size": size });
    for _ in 0..2 {
        assert_eq!(lab.done("/volume/resize", grow(6 << 20)).await["size"], 6 << 20);
    }
    guest.comes_to_say("cat /sys/block/vdc/size", "12288").await;
    assert!(refusal(lab, "/volume/resize", grow(1 << 20)).await.contains("cannot shrink"));

    limits(lab, &hot).await;
    for _ in 0..2 {
        lab.done("/vm/detachdatavolume", plugged(&hot)).await;
    }
    assert_eq!(count(MORE), 0);
    guest.comes_to_say("ls /sys/block/vdc 2>&1", "No such file").await;

    let mut scsi = hot.clone();
    scsi["useVirtioSCSI"] = json!(true);
    scsi["wwn"] = json!("0x5000c50015ea71ac");
    lab.done("/vm/attachdatavolume", plugged(&scsi)).await;
    guest.comes_to_say("cat /sys/block/sda/device/wwid", "naa.5000c50015ea71ac").await;
    // A guest that stands still does not let go; once it goes on, it does.
    lab.done("/vm/pause", json!({ "uuid": VM })).await;
    let task = TaskId::random().to_string();
    assert!(lab.send("/vm/detachdatavolume", &task, &plugged(&scsi)).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    virsh(&["resume", VM]);
    assert_eq!(lab.outcome(&task).await["success"], true);
    guest.comes_to_say("ls /sys/block/sda 2>&1", "No such file").await;

    let mut sata = hot.clone();
    sata["useVirtio"] = json!(false);
    let error = refusal(lab, "/vm/attachdatavolume", plugged(&sata)).await;
    assert!(error.contains("bus sata cannot be plugged into a running vm"), "{error}");
    let outside =
        json!({ "installPath": "/etc/passwd", "volumeUuid": MORE, "useVirtio": true, "format": "raw" });
    let error = refusal(lab, "/vm/attachdatavolume", plugged(&outside)).await;
    assert!(error.contains("lies in no storage"), "{error}");
    assert_eq!(count(DATA), 1);
    lab.done("/vm/detachdatavolume", plugged(cold)).await;
    assert_eq!(count(DATA), 0);
}

async fn limits(lab: &Lab, hot: &Value) {
    let set = |more: Value| {
        let mut cmd = json!({ "vmUuid": VM, "volume": hot });
        cmd.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cmd
    };
    lab.done(
        "/set/volume/bandwidth",
        set(json!({ "mode": "total", "totalBandwidth": 1 << 20, "totalIOPS": 100 })),
    )
    .await;
    let told = lab.done("/get/volume/bandwidth", set(json!({}))).await;
    assert_eq!(
        (&told["bandWidth"], &told["iopsTotal"], &told["bandWidthRead"]),
        (&json!(1 << 20), &json!(100), &json!(-1))
    );
    lab.done("/set/volume/bandwidth", set(json!({ "readBandwidth": 5 << 20 }))).await;
    let told = lab.done("/get/volume/bandwidth", set(json!({}))).await;
    assert_eq!(
        (&told["bandWidth"], &told["bandWidthRead"], &told["iopsTotal"]),
        (&json!(-1), &json!(5 << 20), &json!(100))
    );
    assert!(live_xml().contains("<read_bytes_sec>5242880</read_bytes_sec>"));
    lab.done("/delete/volume/bandwidth", set(json!({ "mode": "" }))).await;
    let told = lab.done("/get/volume/bandwidth", set(json!({}))).await;
    assert_eq!((&told["bandWidthRead"], &told["iopsTotal"]), (&json!(-1), &json!(-1)));
}

async fn nics(lab: &Lab, guest: &mut Guest) {
    let nic = json!({
        "uuid": NIC, "mac": "fa:16:3e:00:00:02", "bridgeName": "br_eth0", "nicInternalName": "vnic1.0",
        "useVirtio": true,
    });
    let cmd = json!({ "vmUuid": VM, "nic": nic, "addons": { "NicQos": { (NIC): { "inboundBandwidth": 8_000_000 } } } });
    for _ in 0..2 {
        let told = lab.done("/vm/attachnic", cmd.clone()).await;
        assert_eq!(told["virtualDeviceInfoList"][0]["resourceUuid"], NIC, "{told}");
    }
    assert_eq!(count(NIC), 1);
    guest.comes_to_say("cat /sys/class/net/eth0/address", "fa:16:3e:00:00:02").await;
    guest.says("ip link set eth0 up").await;
    guest.comes_to_say("cat /sys/class/net/eth0/carrier", "1").await;
    assert_eq!(lab.net.find("vnic1.0").await.unwrap().unwrap().mark(), Some(NIC));

    let state = |state: &str| json!({ "vmUuid": VM, "nic": nic, "state": state });
    lab.done("/vm/changenicstate", state("disable")).await;
    guest.comes_to_say("cat /sys/class/net/eth0/carrier", "0").await;
    lab.done("/vm/changenicstate", state("enable")).await;
    guest.comes_to_say("cat /sys/class/net/eth0/carrier", "1").await;

    let mut moved = nic.clone();
    moved["bridgeName"] = json!("br_eth1");
    for _ in 0..2 {
        lab.done("/vm/updatenic", json!({ "vmInstanceUuid": VM, "nics": [moved] })).await;
        let master = fs::read_link("/sys/class/net/vnic1.0/master").unwrap();
        assert!(master.ends_with("br_eth1"), "{master:?}");
    }

    let named = json!({ "vmUuid": VM, "internalName": "vnic1.0" });
    let told = lab.done("/get/nic/qos", named.clone()).await;
    assert_eq!((&told["inbound"], &told["outbound"]), (&json!(8_000_000), &json!(-1)), "{told}");
    let mut both = named.clone();
    both["inboundBandwidth"] = json!(-1);
    both["outboundBandwidth"] = json!(4_000_000);
    for _ in 0..2 {
        lab.done("/set/nic/qos", both.clone()).await;
    }
    let told = lab.done("/get/nic/qos", named.clone()).await;
    assert_eq!((&told["inbound"], &told["outbound"]), (&json!(-1), &json!(4_000_000)), "{told}");
    assert!(is_limited(guest).await);

    for _ in 0..2 {
        lab.done("/vm/detachnic", json!({ "vmUuid": VM, "nic": nic })).await;
    }
    guest.comes_to_say("ls /sys/class/net/eth0 2>&1", "No such file").await;
    for gone in ["vnic1.0", "ifb1.0"] {
        assert!(lab.net.find(gone).await.unwrap().is_none(), "{gone} is left");
    }
}

/// What leaves the guest is counted behind the limit of 4 Mbit/s. Nobody answers: more than that is sent.
async fn is_limited(guest: &mut Guest) -> bool {
    guest.says("ip addr add 10.9.0.1/24 dev eth0; arp -s 10.9.0.2 fa:16:3e:00:00:99").await;
    let sent = || -> u64 {
        let text = fs::read_to_string("/sys/class/net/ifb1.0/statistics/tx_bytes").unwrap();
        text.trim().parse().unwrap()
    };
    let (before, since) = (sent(), Instant::now());
    let ping = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                ping -c 4 -W 1 -s 60000 10.9.0.2 >/dev/null 2>&1 & done; sleep 4; true";
    guest.says(ping).await;
    let passed = (sent() - before) as f64 * 8.0 / since.elapsed().as_secs_f64();
    println!("outbound: {passed:.0} bit/s");
    passed > 1_000_000.0 && passed < 4_500_000.0
}

async fn growth(lab: &Lab, guest: &mut Guest) {
    let cpu = |count: u32| json!({ "vmUuid": VM, "cpuNum": count });
    for _ in 0..2 {
        assert_eq!(lab.done("/vm/increase/cpu", cpu(2)).await["cpuNum"], 2);
    }
    guest.comes_to_say("echo 1 >/sys/devices/system/cpu/cpu1/online; nproc", "2").await;
    assert!(refusal(lab, "/vm/increase/cpu", cpu(3)).await.contains("room for 2 cpus"));
    assert!(refusal(lab, "/vm/increase/cpu", cpu(1)).await.contains("cannot go down"));

    guest.says("echo online >/sys/devices/system/memory/auto_online_blocks").await;
    let memory = |size: u64| json!({ "vmUuid": VM, "memorySize": size });
    for _ in 0..2 {
        assert_eq!(lab.done("/vm/increase/mem", memory(512 << 20)).await["memorySize"], 512 << 20);
    }
    let megabytes = "[ $(awk '/MemTotal/ {print $2}' /proc/meminfo) -gt 400000 ] && echo GROWN";
    guest.comes_to_say(megabytes, "GROWN").await;
    assert!(refusal(lab, "/vm/increase/mem", memory(2 << 30)).await.contains("room for"));
}

/// Snapshots of a disk that the guest writes to: each file shows what it must.
async fn layers(lab: &Lab, guest: &mut Guest, cold: &Value) {
    let write = |text: &str| format!("printf %s {text} | dd of=/dev/vdb conv=notrunc,fsync 2>/dev/null");
    let next = |number: u32| lab.path(&format!("ps/snapshots/{DATA}/{number}.qcow2"));
    let base = path(lab, DATA);
    let take = |from: &str, to: &str| {
        json!({
            "vmUuid": VM, "volumeUuid": DATA, "volume": cold, "volumeInstallPath": from, "installPath": to,
            "fullSnapshot": false,
        })
    };
    guest.says(&write("one")).await;
    for _ in 0..2 {
        let told = lab.done("/vm/volume/takesnapshot", take(&base, &next(1))).await;
        assert_eq!(
            (&told["snapshotInstallPath"], &told["newVolumeInstallPath"]),
            (&json!(base), &json!(next(1)))
        );
        assert!(told["size"].as_u64().unwrap() > 0);
    }
    guest.says(&write("two")).await;
    let many = json!({ "snapshotJobs": [{
        "vmInstanceUuid": VM, "volumeUuid": DATA, "installPath": next(2), "previousInstallPath": next(1),
        "live": true, "volume": cold,
    }] });
    let told = lab.done("/vm/volumes/takesnapshot", many).await;
    assert_eq!(told["snapshots"][0]["installPath"], next(2), "{told}");
    guest.says(&write("six")).await;
    lab.done("/vm/volume/takesnapshot", take(&next(2), &next(3))).await;
    guest.says(&write("ten")).await;

    let chain = json!({ (base.clone()): 0, (next(1)): 1, (next(2)): 2, (next(3)): 3 });
    let mut check = json!({ "vmUuid": VM, "volumeUuid": DATA, "currentInstallPath": next(3), "volumeChainToCheck": chain });
    lab.done("/vm/volume/checksnapshot", check.clone()).await;
    check["excludeInstallPaths"] = json!([next(1)]);
    assert!(refusal(lab, "/vm/volume/checksnapshot", check.clone()).await.contains("must not"));

    // The second snapshot is merged away: 3 stands on 1, and shows the same.
    let merge =
        json!({ "vmUuid": VM, "volume": cold, "srcPath": next(1), "destPath": next(3), "fullRebase": false });
    for _ in 0..2 {
        lab.done("/vm/volume/mergesnapshot", merge.clone()).await;
    }
    check["volumeChainToCheck"] = json!({ (base.clone()): 0, (next(1)): 1, (next(3)): 3 });
    check["excludeInstallPaths"] = json!([next(2)]);
    lab.done("/vm/volume/checksnapshot", check.clone()).await;

    // What the guest writes to goes down into the first file, once nothing else stands on what lies between.
    let commit = json!({ "vmUuid": VM, "volumeUuid": DATA, "volume": cold, "top": next(3), "base": base });
    assert!(refusal(lab, "/vm/volume/blockcommit", commit.clone()).await.contains("2.qcow2\" too"));
    lab.done("/localstorage/delete", json!({ "storagePath": lab.path("ps"), "path": next(2) })).await;
    for _ in 0..2 {
        let told = lab.done("/vm/volume/blockcommit", commit.clone()).await;
        assert_eq!(told["newVolumeInstallPath"], base, "{told}");
    }
    assert_eq!(guest.says("head -c 3 /dev/vdb").await, "ten");
    guest.says(&write("end")).await;
    let checked = json!({ "uuid": VM, "volumes": [cold] });
    lab.done("/vm/volume/check", checked).await;
    assert_eq!(fs::read_dir(lab.path(&format!("ps/snapshots/{DATA}"))).unwrap().count(), 2);
}

async fn questions(lab: &Lab) {
    make(lab, MORE, 1 << 20).await;
    let told = lab.done("/sync/vm/deviceinfo", json!({ "vmInstanceUuid": VM })).await;
    assert_eq!(told["memBalloonInfo"]["deviceAddress"]["type"], "pci", "{told}");
    let asked = json!({ "uuid": VM, "deviceTOs": { "VolumeVO": [{ "volumeUuid": DATA }] } });
    let told = lab.done("/vm/getdeviceaddress", asked).await;
    let address = told["addresses"]["VolumeVO"][0]["address"].as_str().unwrap();
    assert!(address.starts_with("0000:") && address.ends_with(".0"), "{told}");
    let told = lab.done("/vm/getfirstbootdevice", json!({ "uuid": VM })).await;
    assert_eq!(told["firstBootDevice"], "HardDisk");
    let told = lab.done("/vm/getvirtualizerinfo", json!({ "vmUuids": [VM] })).await;
    assert_eq!(told["vmInfoList"][0]["virtualizer"], told["hostInfo"]["virtualizer"], "{told}");
    let told = lab.done("/vm/console/screenshot", json!({ "vmUuid": VM })).await;
    assert!(told["imageData"].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"));
    let told = lab.done("/vm/volumesync", json!({ "storagePaths": [lab.path("ps")] })).await;
    let idle = told["inactiveVolumePaths"][lab.path("ps")].as_array().unwrap();
    assert!(idle.contains(&json!(path(lab, MORE))) && !idle.contains(&json!(path(lab, DATA))), "{told}");
    lab.done("/vm/priority", json!({ "priorityConfigStructs": [{ "vmUuid": VM, "oomScoreAdj": 100 }] }))
        .await;
    let told = lab.done("/vm/guesttools/getinfo", json!({ "vmInstanceUuid": VM })).await;
    assert_eq!(told["status"], "Disconnected");
}

#[test]
fn a_guest_that_holds_on_is_named_when_the_time_is_over() {
    alone("devices::a_guest_that_holds_on_is_named_when_the_time_is_over", async || {
        let lab = prepared().await;
        nano(&lab, json!({})).await;
        let hot = make(&lab, DATA, 1 << 20).await;
        lab.done("/vm/attachdatavolume", plugged(&hot)).await;
        let task = TaskId::random().to_string();
        assert!(lab.send("/vm/detachdatavolume", &task, &plugged(&hot)).await);
        let outcome = lab.outcome_within(&task, Duration::from_secs(60)).await;
        let error = outcome["error"].as_str().unwrap();
        assert!(error.contains("did not let go of volume") && error.contains("within 30 s"), "{error}");
        // It goes with its VM.
        lab.done("/vm/destroy", json!({ "uuid": VM })).await;
        lab.done("/vm/detachdatavolume", plugged(&hot)).await;
    });
}

#[test]
fn whatever_is_cut_short_by_the_agents_death_is_done_once() {
    alone("devices::whatever_is_cut_short_by_the_agents_death_is_done_once", async || {
        let mut lab = prepared().await;
        let more = json!({ "useNuma": true, "maxVcpuNum": 8, "maxMemory": 4_u64 << 30 });
        nano(&lab, more).await;
        let hot = make(&lab, DATA, 1 << 20).await;
        let mut at = path(&lab, DATA);
        for (number, delay) in [0, 3, 10, 25, 60].into_iter().enumerate() {
            let number = number as u64;
            let uuid = format!("{:032x}", 0xaa00 + number);
            let volume = make(&lab, &uuid, 1 << 20).await;
            survives(&mut lab, "/vm/attachdatavolume", &plugged(&volume), delay).await;
            assert_eq!(count(&uuid), 1, "after {delay} ms");

            let nic = json!({ "vmUuid": VM, "nic": {
                "uuid": format!("{:032x}", 0xbb00 + number), "mac": format!("fa:16:3e:00:01:{number:02}"),
                "bridgeName": "br_eth0", "nicInternalName": format!("vnic1.{number}"), "useVirtio": true,
            } });
            if number < 2 {
                survives(&mut lab, "/vm/attachnic", &nic, delay).await;
                assert_eq!(count(&format!("{:032x}", 0xbb00 + number)), 1, "after {delay} ms");
            }
            let cpus = json!({ "vmUuid": VM, "cpuNum": 2 + number });
            survives(&mut lab, "/vm/increase/cpu", &cpus, delay).await;
            let memory = json!({ "vmUuid": VM, "memorySize": (64 + 128 * (number + 1)) << 20 });
            let told = survives(&mut lab, "/vm/increase/mem", &memory, delay).await;
            assert_eq!(told["memorySize"], memory["memorySize"]);

            if number == 0 {
                lab.done("/vm/attachdatavolume", plugged(&hot)).await;
            }
            let next = lab.path(&format!("ps/snapshots/{number}.qcow2"));
            let take = json!({
                "vmUuid": VM, "volumeUuid": DATA, "volume": hot, "volumeInstallPath": at, "installPath": next,
            });
            let told = survives(&mut lab, "/vm/volume/takesnapshot", &take, delay).await;
            assert_eq!(told["newVolumeInstallPath"], next);
            let mut now = hot.clone();
            now["installPath"] = json!(next);
            let resize = json!({ "vmUuid": VM, "volume": now, "size": (number + 2) << 20 });
            survives(&mut lab, "/volume/resize", &resize, delay).await;
            let limit = json!({ "vmUuid": VM, "volume": now, "mode": "total", "totalIOPS": 100 + number });
            survives(&mut lab, "/set/volume/bandwidth", &limit, delay).await;
            at = next;
        }
        let below = lab.path("ps/snapshots/1.qcow2");
        let merge = json!({ "vmUuid": VM, "volume": hot, "srcPath": below, "destPath": at });
        survives(&mut lab, "/vm/volume/mergesnapshot", &merge, 15).await;
        for merged in 2..4 {
            let path = lab.path(&format!("ps/snapshots/{merged}.qcow2"));
            lab.done("/localstorage/delete", json!({ "storagePath": lab.path("ps"), "path": path })).await;
        }
        let base = path(&lab, DATA);
        let commit = json!({ "vmUuid": VM, "volumeUuid": DATA, "volume": hot, "top": at, "base": base });
        let told = survives(&mut lab, "/vm/volume/blockcommit", &commit, 20).await;
        assert_eq!(told["newVolumeInstallPath"], base);
        assert_eq!(lab.done("/vm/increase/cpu", json!({ "vmUuid": VM, "cpuNum": 6 })).await["cpuNum"], 6);
        lab.done("/vm/destroy", json!({ "uuid": VM })).await;
    });
}

/// Sends the command, kills the agent after so many milliseconds, and hears the outcome from the next.
async fn survives(lab: &mut Lab, path: &str, command: &Value, delay: u64) -> Value {
    let task = TaskId::random().to_string();
    assert!(lab.send(path, &task, command).await);
    tokio::time::sleep(Duration::from_millis(delay)).await;
    lab.kill_agent().await;
    let outcome = lab.outcome(&task).await;
    assert_eq!(outcome["success"], true, "{path} after {delay} ms: {outcome}\n{}", lab.log());
    outcome
}

#[test]
fn a_vm_boots_from_an_iso_that_is_put_in_and_taken_out() {
    alone("devices::a_vm_boots_from_an_iso_that_is_put_in_and_taken_out", async || {
        let lab = prepared().await;
        let iso = lab.path("ps/imagecache/iso/nano.iso");
        fs::create_dir_all(lab.path("ps/imagecache/iso")).unwrap();
        fs::write(&iso, bootable_iso(&nano_disk())).unwrap();
        let empty = make(&lab, DATA, 1 << 20).await;
        let start = json!({
            "vmInstanceUuid": VM, "memory": 64 << 20, "cpuNum": 1, "bootDev": ["cdrom", "hd"], "rootVolume": empty,
            "cdRoms": [{ "deviceId": 0, "isEmpty": true }, { "deviceId": 1, "path": iso }],
        });
        lab.done("/vm/start", start).await;
        let boots = || {
            let log = fs::read_to_string(lab.path(&format!("consoles/{VM}.log"))).unwrap_or_default();
            log.matches("MARK-READY").count()
        };
        eventually("the guest boots from the second drive", async || boots() == 1).await;
        let told = lab.done("/vm/getfirstbootdevice", json!({ "uuid": VM })).await;
        assert_eq!(told["firstBootDevice"], "CdRom");
        let in_drives = || live_xml().matches("nano.iso").count();
        assert_eq!(in_drives(), 1);
        let put = json!({ "vmUuid": VM, "iso": { "path": iso, "deviceId": 0 } });
        for _ in 0..2 {
            lab.done("/vm/iso/attach", put.clone()).await;
            assert_eq!(in_drives(), 2);
        }
        for drive in [1, 1, 0] {
            lab.done("/vm/iso/detach", json!({ "vmUuid": VM, "deviceId": drive })).await;
        }
        assert_eq!(in_drives(), 0);
        let error =
            refusal(&lab, "/vm/iso/attach", json!({ "vmUuid": VM, "iso": { "path": iso, "deviceId": 2 } }))
                .await;
        assert!(error.contains("has no cd-rom drive 2"), "{error}");
        // What was put in is there after a reboot.
        lab.done("/vm/iso/attach", put).await;
        lab.done("/vm/reboot", json!({ "uuid": VM, "timeout": 1 })).await;
        eventually("the guest boots from the first drive", async || boots() == 2).await;
    });
}

/// The least that a BIOS boots from a CD: descriptors, a boot catalogue, one sector of code.
fn bootable_iso(code: &[u8]) -> Vec<u8> {
    const SECTOR: usize = 2048;
    let mut iso = vec![0; 40 * SECTOR];
    let mut put = |sector: usize, at: usize, bytes: &[u8]| {
        iso[sector * SECTOR + at..][..bytes.len()].copy_from_slice(bytes);
    };
    put(16, 0, b"\x01CD001\x01");
    put(16, 40, b"NANO");
    put(17, 0, b"\x00CD001\x01EL TORITO SPECIFICATION");
    put(17, 0x47, &19_u32.to_le_bytes());
    put(18, 0, b"\xffCD001\x01");
    // The words of the first entry must add up to nothing.
    put(19, 0, &[1, 0]);
    put(19, 0x1c, &0_u16.wrapping_sub(1 + 0xaa55).to_le_bytes());
    put(19, 0x1e, &[0x55, 0xaa]);
    put(19, 0x20, &[0x88, 0, 0, 0, 0, 0, 1, 0]);
    put(19, 0x28, &20_u32.to_le_bytes());
    put(20, 0, &code[..512]);
    iso
}

#[test]
fn a_vm_starts_with_uefi_secure_boot_and_a_tpm_and_they_are_forgotten() {
    alone("devices::a_vm_starts_with_uefi_secure_boot_and_a_tpm_and_they_are_forgotten", async || {
        let lab = prepared().await;
        let variables = format!("/var/lib/libvirt/qemu/nvram/{VM}_VARS.fd");
        let serial = || fs::read_to_string(lab.path(&format!("consoles/{VM}.log"))).unwrap_or_default();
        nano(&lab, json!({ "bootMode": "UEFI" })).await;
        assert!(live_xml().contains("OVMF_CODE") && !live_xml().contains("secboot"), "{}", live_xml());
        eventually("the firmware finds nothing to boot", async || serial().contains("BdsDxe")).await;
        lab.done("/vm/destroy", json!({ "uuid": VM })).await;
        assert!(fs::exists(&variables).unwrap());
        lab.done("/clean/firmware/flash", json!({ "vmUuid": VM })).await;

        nano(&lab, json!({ "bootMode": "UEFI", "secureBoot": true, "tpm": true })).await;
        let xml = live_xml();
        assert!(xml.contains("secure='yes'") && xml.contains("<smm state='on'/>"), "{xml}");
        assert!(xml.contains("<tpm model='tpm-crb'>"), "{xml}");
        let error = refusal(&lab, "/clean/firmware/flash", json!({ "vmUuid": VM })).await;
        assert!(error.contains("stop it first"), "{error}");
        lab.done("/vm/destroy", json!({ "uuid": VM })).await;
        let tpm = "/var/lib/libvirt/swtpm/01234567-89ab-cdef-0123-456789abcdef";
        assert!(fs::exists(tpm).unwrap(), "what the guest keeps in its tpm is kept");
        for _ in 0..2 {
            lab.done("/clean/firmware/flash", json!({ "vmUuid": VM })).await;
        }
        assert!(!fs::exists(variables).unwrap() && !fs::exists(tpm).unwrap());
    });
}

#[test]
fn a_vm_is_placed_on_the_hosts_cpus_and_nodes() {
    alone("devices::a_vm_is_placed_on_the_hosts_cpus_and_nodes", async || {
        let lab = prepared().await;
        let addons = json!({
            "cpuPinning": [{ "vCpu": 1, "pCpuSet": "0" }], "emulatorPinning": "0",
            "numaNodes": [
                { "nodeID": 0, "cpus": "0", "memorySize": 32 << 20 }, { "nodeID": 1, "cpus": "1", "memorySize": 32 << 20 },
            ],
        });
        nano(&lab, json!({ "cpuNum": 2, "socketNum": 2, "cpuOnSocket": 1, "addons": addons })).await;
        let pins = virsh(&["vcpupin", VM]);
        assert!(pins.lines().any(|line| line.split_whitespace().eq(["1", "0"])), "{pins}");
        assert!(live_xml().contains("<cell id='1' cpus='1' memory='32768' unit='KiB'/>"), "{}", live_xml());
        assert!(live_xml().contains("<emulatorpin cpuset='0'/>"));
        lab.done("/vm/emulatorpinning", json!({ "uuid": VM, "emulatorPinning": "0-1" })).await;
        assert!(live_xml().contains("<emulatorpin cpuset='0-1'/>"));
        let error = refusal(&lab, "/vm/emulatorpinning", json!({ "uuid": VM, "emulatorPinning": "x" })).await;
        assert!(error.contains("no list of cpus"), "{error}");
    });
}
