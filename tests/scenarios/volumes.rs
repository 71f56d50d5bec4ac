//! Data volumes: made, attached and detached while the VM runs and while it does not, deleted, recovered.

use hyper::Method;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::{device, localstorage};

use crate::site::Site;

const SIZE: i64 = 1 << 30;

impl Site {
    async fn volume(&self, uuid: &str) -> Value {
        self.list(&format!("/volumes?q=uuid={uuid}")).await.remove(0)
    }

    async fn new_volume(&self, name: &str) -> String {
        let made = self.api.create("/volumes/data", json!({ "name": name, "diskSize": SIZE })).await.unwrap();
        made["uuid"].as_str().unwrap().to_owned()
    }

    async fn new_vm(&self, name: &str) -> String {
        let made = self.api.create("/vm-instances", self.vm(name)).await.unwrap();
        made["uuid"].as_str().unwrap().to_owned()
    }

    async fn attach(&self, volume: &str, vm: &str) -> Value {
        self.api.create(&format!("/volumes/{volume}/vm-instances/{vm}"), json!({})).await.unwrap()
    }

    async fn do_to(&self, path: &str, action: &str) -> Value {
        self.api.call(Method::PUT, &format!("{path}/actions"), json!({ action: {} })).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_where_its_first_vm_is_and_moves_from_vm_to_vm() {
    let site = Site::start().await;
    let (web, db) = (site.new_vm("web").await, site.new_vm("db").await);
    let disk = site.new_volume("disk").await;
    let loose = site.volume(&disk).await;
    assert_eq!((&loose["status"], &loose["type"]), (&json!("NotInstantiated"), &json!("Data")));
    assert!(site.world().state().disks.is_empty());

    let attached = site.attach(&disk, &web).await;
    assert_eq!((&attached["status"], &attached["deviceId"]), (&json!("Ready"), &json!(1)));
    assert_eq!(attached["vmInstanceUuid"], json!(web));
    assert!(site.world().state().volumes.contains(attached["installPath"].as_str().unwrap()));
    assert!(site.world().state().disks.contains(&format!("{web} {disk}")));

    let path = format!("/volumes/{disk}/vm-instances/{db}");
    let refused = site.refused(Method::POST, &path, json!({ "params": {} })).await;
    assert!(refused.details.contains("detach it first"), "{refused:?}");
    site.api.delete(&format!("/volumes/{disk}/vm-instances?vmUuid={web}")).await.unwrap();
    assert!(site.world().state().disks.is_empty());
    let free = site.volume(&disk).await;
    assert_eq!((&free["vmInstanceUuid"], &free["lastVmInstanceUuid"]), (&Value::Null, &json!(web)));

    site.do_to(&format!("/vm-instances/{db}"), "stopVmInstance").await;
    site.attach(&disk, &db).await;
    assert!(site.world().state().disks.is_empty(), "a stopped vm has nothing plugged in");
    site.do_to(&format!("/vm-instances/{db}"), "startVmInstance").await;
    assert!(site.world().state().disks.contains(&format!("{db} {disk}")));
    assert_eq!(site.world().count(localstorage::CreateEmpty::PATH), 1);

    site.api.delete(&format!("/vm-instances/{db}")).await.unwrap();
    site.do_to(&format!("/vm-instances/{db}"), "expungeVmInstance").await;
    let kept = site.volume(&disk).await;
    assert_eq!((&kept["vmInstanceUuid"], &kept["status"]), (&Value::Null, &json!("Ready")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guest_does_not_let_go_stays_attached_and_what_cannot_be_plugged_is_nobodys() {
    let site = Site::start().await;
    let (vm, disk) = (site.new_vm("web").await, site.new_volume("disk").await);
    site.world().refuse(device::AttachVolume::PATH, "no free port");
    let path = format!("/volumes/{disk}/vm-instances/{vm}");
    let refused = site.refused(Method::POST, &path, json!({ "params": {} })).await;
    assert!(refused.details.contains("no free port"), "{refused:?}");
    let loose = site.volume(&disk).await;
    assert_eq!((&loose["status"], &loose["installPath"]), (&json!("NotInstantiated"), &Value::Null));
    assert_eq!(site.world().state().volumes.len(), 1, "only the root volume is there");

    site.world().obey();
    site.attach(&disk, &vm).await;
    site.world().refuse(device::DetachVolume::PATH, "the guest does not let go of it");
    let path = format!("/volumes/{disk}/vm-instances");
    let refused = site.refused(Method::DELETE, &path, Value::Null).await;
    assert!(refused.details.contains("does not let go"), "{refused:?}");
    assert_eq!(site.volume(&disk).await["vmInstanceUuid"], json!(vm));
    assert!(site.world().state().disks.contains(&format!("{vm} {disk}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_volume_can_be_recovered_until_it_is_expunged() {
    let site = Site::start().await;
    let (vm, disk) = (site.new_vm("web").await, site.new_volume("disk").await);
    site.attach(&disk, &vm).await;
    let path = format!("/volumes/{disk}");
    let refused = site.refused(Method::DELETE, &path, Value::Null).await;
    assert!(refused.details.contains("detach it first"), "{refused:?}");

    site.api.delete(&format!("{path}/vm-instances")).await.unwrap();
    site.api.delete(&path).await.unwrap();
    assert_eq!(site.volume(&disk).await["status"], "Deleted");
    let attach = format!("{path}/vm-instances/{vm}");
    let refused = site.refused(Method::POST, &attach, json!({ "params": {} })).await;
    assert!(refused.details.contains("Deleted"), "{refused:?}");
    assert_eq!(site.do_to(&path, "recoverDataVolume").await["inventory"]["status"], "Ready");

    site.api.delete(&path).await.unwrap();
    site.do_to(&path, "expungeDataVolume").await;
    assert!(site.list(&format!("/volumes?q=uuid={disk}")).await.is_empty());
    assert_eq!(site.world().state().volumes.len(), 1, "only the root volume is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_goes_stops_no_vm_without_saying_so() {
    let site = Site::start().await;
    let (vm, disk) = (site.new_vm("web").await, site.new_volume("disk").await);
    site.attach(&disk, &vm).await;
    let preview = site.api.delete(&format!("/primary-storage/{}?preview=true", site.primary_storage)).await;
    let told = preview.unwrap().to_string();
    assert!(told.contains("\"disk\"") && told.contains("\"web\""), "{told}");
    site.api.delete(&format!("/primary-storage/{}", site.primary_storage)).await.unwrap();
    let state = site.world().state();
    assert!(state.volumes.is_empty() && state.disks.is_empty() && state.domains.is_empty(), "{state:?}");
    assert!(site.list("/volumes").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_volumes_of_a_cluster_tell_how_large_they_are() {
    let site = Site::start().await;
    let (vm, disk) = (site.new_vm("web").await, site.new_volume("disk").await);
    site.attach(&disk, &vm).await;
    let path = format!("/volumes/batch-sync-volumes?clusterUuid={}", site.cluster);
    let told = site.api.call(Method::POST, &path, json!({})).await.unwrap();
    assert_eq!((&told["successCount"], &told["failCount"]), (&json!(2), &json!(0)));
    assert_eq!(site.volume(&disk).await["actualSize"], json!(3 << 20));
    let gone = site.volume(&disk).await["installPath"].as_str().unwrap().to_owned();
    site.world().meddle(|state| assert!(state.volumes.remove(&gone)));
    let told = site.api.call(Method::POST, &path, json!({})).await.unwrap();
    assert_eq!((&told["successCount"], &told["failCount"]), (&json!(1), &json!(1)));
}
