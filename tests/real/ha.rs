//! A host whose power is cut: everything that ran there ends at once, and its guest runs on the other host.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use cumulet_tests::cloud::{Cloud, Vm};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::cloud::cloud;

/// The promise is a minute; machines that test have other things to do.
const PATIENCE: Duration = Duration::from_secs(90);

fn network_of(pid: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// Kills every process of the host: its agents, its fencer, libvirt, all of QEMU.
fn cut_power(cloud: &Cloud, host: &str) {
    let of_host = cloud.programs().status().into_iter().find(|status| status.on == host);
    let network = network_of(&of_host.expect("the host has a program").pid.to_string());
    assert!(network.is_some() && network != network_of("self"), "the host has a network of its own");
    loop {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let names = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let pids = names.filter(|name| name.parse::<i32>().is_ok() && network_of(name) == network);
        let pids: Vec<i32> = pids.filter_map(|name| name.parse().ok()).collect();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ended_meanwhile = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

async fn stands(cloud: &Cloud, vm: &str) -> Value {
    let found = cloud.api().get(&format!("/vm-instances?q=uuid={vm}")).await.unwrap();
    found["inventories"][0].clone()
}

#[tokio::test]
async fn the_guest_of_a_host_without_power_runs_on_another_within_a_minute() {
    let cloud = cloud("power", 2).await;
    let (dir, _) = cloud.shared().unwrap();
    let site = cloud.site();
    let params = json!({ "name": "common", "url": dir, "zoneUuid": site.zone });
    let storage = cloud.api().create("/primary-storage/smp", params).await.unwrap();
    let storage = storage["uuid"].as_str().unwrap().to_owned();
    let path = format!("/clusters/{}/primary-storage/{storage}", site.cluster);
    cloud.api().create(&path, json!({})).await.unwrap();

    let mut params = site.vm("web");
    params["primaryStorageUuidForRootVolume"] = json!(storage);
    params["hostUuid"] = json!(site.hosts[1]);
    let made = cloud.api().create("/vm-instances", params).await.unwrap();
    let text = |pointer: &str| made.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    let vm =
        Vm { uuid: text("/uuid"), name: "web".into(), ip: text("/vmNics/0/ip"), host: text("/hostUuid") };
    let level = format!("/vm-instances/{}/ha-levels", vm.uuid);
    cloud.api().create(&level, json!({ "level": "OnHostFailure" })).await.unwrap();
    let said = cloud.guest_answers(&vm).await.unwrap();
    assert!(said.ends_with("boots=1"), "{said}");

    let began = Instant::now();
    cut_power(&cloud, "host-2");
    loop {
        let now = stands(&cloud, &vm.uuid).await;
        if now["state"] == "Running" && now["hostUuid"] == json!(site.hosts[0]) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{now}");
        sleep(Duration::from_millis(200)).await;
    }
    eprintln!("it runs on the other host after {:?}", began.elapsed());
    let said = cloud.guest_answers(&vm).await.unwrap();
    assert!(said.ends_with("boots=2"), "it begins anew, with its disk: {said}");
    let fencing = cloud.api().get(&format!("/hosts/{}/fencing", site.hosts[1])).await.unwrap();
    assert_eq!(fencing["state"], "Fenced", "{fencing}");
}
