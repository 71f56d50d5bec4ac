//! A snapshot of a running guest's disk: gone back to, merged away under the guest, made an image of.

use cumulet_tests::cloud::{Cloud, Vm};
use cumulet_tests::lab::program::run;
use hyper::Method;
use serde_json::{Value, json};

use super::cloud::cloud;

const HOST: &str = "host-1";

async fn act(cloud: &Cloud, path: String, action: &str) -> Value {
    cloud.api().call(Method::PUT, &format!("{path}/actions"), json!({ action: {} })).await.unwrap()
}

async fn again(cloud: &Cloud, vm: &Vm) -> u32 {
    act(cloud, format!("/vm-instances/{}", vm.uuid), "stopVmInstance").await;
    start(cloud, vm).await
}

/// How often the guest has booted, as its own disk tells.
async fn start(cloud: &Cloud, vm: &Vm) -> u32 {
    act(cloud, format!("/vm-instances/{}", vm.uuid), "startVmInstance").await;
    boots(&cloud.guest_answers(vm).await.unwrap())
}

fn boots(said: &str) -> u32 {
    said.rsplit_once("boots=").unwrap_or_else(|| panic!("{said}")).1.trim().parse().unwrap()
}

async fn root(cloud: &Cloud, vm: &Vm) -> (String, String) {
    let volumes = cloud.api().get(&format!("/volumes?q=vmInstanceUuid={}", vm.uuid)).await.unwrap();
    let text = |field: &str| volumes["inventories"][0][field].as_str().unwrap().to_owned();
    (text("uuid"), text("installPath"))
}

/// What the file on the host stands on, as qemu-img reads it.
fn below(cloud: &Cloud, path: &str) -> Option<String> {
    let (there, here) = cloud.volumes(HOST).unwrap();
    let file = here.join(std::path::Path::new(path).strip_prefix(there).unwrap());
    let told = run("qemu-img", ["info", "-U", "--output=json", file.to_str().unwrap()]).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    told["backing-filename"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_guest_goes_back_to_what_its_disk_was_and_does_not_feel_a_merge() {
    let cloud = cloud("snapshots", 1).await;
    let vm = cloud.create_vm("web").await.unwrap();
    assert_eq!(boots(&cloud.guest_answers(&vm).await.unwrap()), 1);
    assert_eq!(again(&cloud, &vm).await, 2);
    let (volume, before) = root(&cloud, &vm).await;
    let path = format!("/volumes/{volume}/volume-snapshots");
    let taken = cloud.api().create(&path, json!({ "name": "second boot" })).await.unwrap();
    let snapshot = format!("/volume-snapshots/{}", taken["uuid"].as_str().unwrap());
    let (_, top) = root(&cloud, &vm).await;
    assert_eq!(
        (taken["primaryStorageInstallPath"].as_str(), below(&cloud, &top)),
        (Some(&*before), Some(before.clone()))
    );
    assert!(taken["size"].as_i64().unwrap() > 0);

    for boot in [3, 4] {
        assert_eq!(again(&cloud, &vm).await, boot);
    }
    act(&cloud, format!("/vm-instances/{}", vm.uuid), "stopVmInstance").await;
    act(&cloud, snapshot.clone(), "revertVolumeFromSnapshot").await;
    let boot = start(&cloud, &vm).await;
    assert!(boot == 3, "the third and fourth boot have not been: {boot}");
    let (_, top) = root(&cloud, &vm).await;
    assert_eq!(below(&cloud, &top), Some(before));

    cloud.api().delete(&snapshot).await.unwrap();
    assert_eq!(below(&cloud, &top), None, "qemu has copied what it stood on");
    assert_eq!(boots(&cloud.guest_answers(&vm).await.unwrap()), boot, "the guest goes on");
    assert_eq!(again(&cloud, &vm).await, boot + 1);

    act(&cloud, format!("/vm-instances/{}", vm.uuid), "stopVmInstance").await;
    let path = format!("/images/root-volume-templates/from/volumes/{volume}");
    let image = cloud.api().create(&path, json!({ "name": "golden" })).await.unwrap();
    assert_eq!(image["status"], "Ready", "{image}");
    assert!(image["actualSize"].as_i64().unwrap() > 0 && image["sha256"].as_str().unwrap().len() == 64);
    cloud.api().delete(&format!("/images/{}", image["uuid"].as_str().unwrap())).await.unwrap();
    cloud.tear_down().await.unwrap();
}
