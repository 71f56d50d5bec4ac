//! Somebody meddles with a host by hand: the cloud notices, and puts right what it may.

use std::fs;
use std::time::Duration;

use cumulet_tests::cloud::Cloud;
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::cloud::cloud;

const HOST: &str = "host-1";
const NOBODYS: &str = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a0a";
const FOREIGN: &str = "0f0f0f0f0f0f4f0f8f0f0f0f0f0f0f0f";
/// Longer than the time that a suspicion must stand here.
const SETTLED: Duration = Duration::from_millis(1200);

async fn set(cloud: &Cloud, name: &str, value: &str) {
    let path = format!("/global-configurations/sweep/{name}/actions");
    let body = json!({ "updateGlobalConfig": { "value": value } });
    cloud.api().call(Method::PUT, &path, body).await.unwrap();
}

/// What a pass tells, as `kind state`.
async fn sweep(cloud: &Cloud) -> Vec<String> {
    let told = cloud.api().call(Method::PUT, "/sweep/actions", json!({ "runSweep": {} })).await.unwrap();
    assert_eq!(told["skipped"], json!([]));
    let brief = |one: &Value| format!("{} {}", one["kind"].as_str().unwrap(), one["state"].as_str().unwrap());
    let mut all: Vec<_> = told["inventories"].as_array().unwrap().iter().map(brief).collect();
    all.sort();
    all
}

async fn state(cloud: &Cloud, vm: &str) -> String {
    let shown = cloud.api().get(&format!("/vm-instances/{vm}")).await.unwrap();
    shown["inventories"][0]["state"].as_str().unwrap().to_owned()
}

fn domain(name: &str, metadata: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory><metadata>{metadata}</metadata>\
         <os><type machine='q35'>hvm</type></os></domain>"
    )
}

fn domains(cloud: &Cloud) -> usize {
    cloud.virsh(HOST, &["list", "--all", "--name"]).unwrap().split_whitespace().count()
}

#[tokio::test]
async fn a_vm_that_virsh_stops_is_stopped_and_one_that_it_pauses_is_paused() {
    let cloud = cloud("drift-states", 1).await;
    let vm = cloud.create_vm("web").await.unwrap();
    assert_eq!(sweep(&cloud).await, [""; 0], "a cloud as it should be has no findings");
    cloud.virsh(HOST, &["suspend", &vm.uuid]).unwrap();
    assert_eq!(sweep(&cloud).await, ["vmState Repaired"]);
    assert_eq!(state(&cloud, &vm.uuid).await, "Paused");
    cloud.virsh(HOST, &["resume", &vm.uuid]).unwrap();
    sweep(&cloud).await;
    assert_eq!(state(&cloud, &vm.uuid).await, "Running");
    cloud.virsh(HOST, &["destroy", &vm.uuid]).unwrap();
    sweep(&cloud).await;
    assert_eq!(state(&cloud, &vm.uuid).await, "Stopped");
    assert!(!cloud.inventory().await.unwrap().iter().any(|one| one.starts_with("lease ")));

    let start = json!({ "startVmInstance": {} });
    cloud.api().call(Method::PUT, &format!("/vm-instances/{}/actions", vm.uuid), start).await.unwrap();
    let hello = cloud.guest_answers(&vm).await.unwrap();
    assert!(hello.starts_with(&format!("hello from web {}", vm.ip)), "{hello}");
    cloud.tear_down().await.unwrap();
}

#[tokio::test]
async fn what_nobody_made_is_found_and_goes_with_consent_while_what_is_not_ours_stays() {
    let cloud = cloud("drift-orphans", 1).await;
    set(&cloud, "settle", "1").await;
    cloud.create_vm("web").await.unwrap();
    let (there, here) = cloud.volumes(HOST).unwrap();
    let file = format!("rootVolumes/acct-x/vol-{NOBODYS}/{NOBODYS}.qcow2");
    fs::create_dir_all(here.join(&file).parent().unwrap()).unwrap();
    fs::write(here.join(&file), "nobody's").unwrap();
    fs::write(here.join("somebodys-own.iso"), "not ours").unwrap();
    cloud.ip(HOST, &["link", "add", "br_x9", "type", "bridge"]).unwrap();
    cloud.ip(HOST, &["link", "set", "br_x9", "alias", NOBODYS]).unwrap();
    cloud.ip(HOST, &["tuntap", "add", "vnic999.0", "mode", "tap"]).unwrap();
    let mark = format!("<cumulet:vm xmlns:cumulet='urn:cumulet:domain:1' uuid='{NOBODYS}'/>");
    for (name, metadata) in [(NOBODYS, mark.as_str()), (FOREIGN, "")] {
        let xml = cloud.dir().join("domain.xml");
        fs::write(&xml, domain(name, metadata)).unwrap();
        cloud.virsh(HOST, &["create", xml.to_str().unwrap()]).unwrap();
    }
    assert_eq!(domains(&cloud), 3);

    sweep(&cloud).await;
    sleep(SETTLED).await;
    let found = ["bridge Open", "domain Open", "tap Open", "volume Open", "volume Open"];
    assert_eq!(sweep(&cloud).await, found);
    assert!(here.join(&file).exists() && domains(&cloud) == 3, "observing touches nothing");

    set(&cloud, "consent", "repair").await;
    let done = ["bridge Repaired", "domain Repaired", "tap Open", "volume Open", "volume Repaired"];
    assert_eq!(sweep(&cloud).await, done);
    let inventory = cloud.inventory().await.unwrap();
    assert!(!inventory.iter().any(|one| one.contains(NOBODYS) || one.contains("br_x9")), "{inventory:?}");
    assert!(!here.join(&file).exists());
    assert!(cloud.ip(HOST, &["link", "show", "br_x9"]).is_err());
    assert_eq!(domains(&cloud), 2, "the vm, and the domain without a mark");
    assert!(here.join("somebodys-own.iso").exists(), "{} is not ours", there.display());

    cloud.virsh(HOST, &["destroy", FOREIGN]).unwrap();
    cloud.ip(HOST, &["link", "del", "vnic999.0"]).unwrap();
    fs::remove_file(here.join("somebodys-own.iso")).unwrap();
    assert_eq!(sweep(&cloud).await, ["tap Gone", "volume Gone"]);
    cloud.tear_down().await.unwrap();
}
