//! CD-ROM drives, ISOs in them, and VMs that are installed from one.

use hyper::Method;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::{device, localstorage};

use crate::site::Site;

impl Site {
    async fn iso(&self, name: &str) -> String {
        let params = json!({ "name": name, "url": format!("http://images.example.org/{name}.iso"),
            "backupStorageUuids": [self.backup_storage], "format": "iso", "mediaType": "ISO" });
        let made = self.api.create("/images", params).await.unwrap();
        made["uuid"].as_str().unwrap().to_owned()
    }

    async fn drives(&self, vm: &str) -> Vec<Value> {
        self.list(&format!("/vm-instances/cdroms?q=vmInstanceUuid={vm}&sort=+deviceId")).await
    }

    async fn vm_of(&self, name: &str, more: Value) -> String {
        let mut params = self.vm(name);
        for (name, value) in more.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        let made = self.api.create("/vm-instances", params).await.unwrap();
        made["uuid"].as_str().unwrap().to_owned()
    }

    async fn tell_vm(&self, vm: &str, action: &str) {
        let path = format!("/vm-instances/{vm}/actions");
        self.api.call(Method::PUT, &path, json!({ action: {} })).await.unwrap();
    }

    fn discs(&self) -> Vec<String> {
        self.world().state().cd_roms.into_iter().collect()
    }
}

fn cached(iso: &str) -> String {
    format!("/fleet_ps/imagecache/template/{iso}/{iso}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iso_is_put_into_a_running_vm_kept_over_its_stop_and_taken_out() {
    let site = Site::start().await;
    let (vm, iso) = (site.vm_of("web", json!({})).await, site.iso("tools").await);
    let drives = site.drives(&vm).await;
    assert_eq!(drives.len(), 1, "a new vm has one drive");
    assert_eq!((&drives[0]["deviceId"], &drives[0].get("isoUuid")), (&json!(0), &None));
    let isos = site.list(&format!("/vm-instances/{vm}/iso-candidates")).await;
    assert_eq!(isos.iter().map(|iso| &iso["uuid"]).collect::<Vec<_>>(), [&json!(iso)]);
    let vms = site.list(&format!("/images/iso/{iso}/vm-candidates")).await;
    assert_eq!(vms.iter().map(|vm| &vm["uuid"]).collect::<Vec<_>>(), [&json!(vm)]);

    let path = format!("/vm-instances/{vm}/iso/{iso}");
    let shown = site.api.call(Method::POST, &path, json!({ "null": {} })).await.unwrap();
    assert_eq!(shown["inventory"]["vmCdRoms"][0]["isoUuid"], json!(iso));
    let disc = format!("{vm} 0 {}", cached(&iso));
    assert_eq!(site.discs(), std::slice::from_ref(&disc));
    assert!(site.list(&format!("/vm-instances/{vm}/iso-candidates")).await.is_empty());
    let refused = site.refused(Method::POST, &path, json!({ "null": {} })).await;
    assert!(refused.details.contains("already"), "{refused:?}");
    let other = site.iso("other").await;
    let path = format!("/vm-instances/{vm}/iso/{other}");
    let refused = site.refused(Method::POST, &path, json!({ "null": {} })).await;
    assert!(refused.details.contains("no empty cd-rom drive"), "{refused:?}");

    site.tell_vm(&vm, "stopVmInstance").await;
    assert!(site.discs().is_empty());
    // Behind our back: it is fetched again by the start after the one that misses it.
    site.world().meddle(|state| assert!(state.cache.remove(&cached(&iso))));
    let start = format!("/vm-instances/{vm}/actions");
    let refused = site.refused(Method::PUT, &start, json!({ "startVmInstance": {} })).await;
    assert!(refused.details.contains("is not there"), "{refused:?}");
    site.tell_vm(&vm, "startVmInstance").await;
    assert_eq!(site.discs(), [disc]);
    assert_eq!(
        site.world().state().boots[&vm],
        "hd,cdrom",
        "an empty disk boots from what lies in the drive"
    );

    site.api.delete(&format!("/vm-instances/{vm}/iso")).await.unwrap();
    assert!(site.discs().is_empty());
    assert_eq!(site.drives(&vm).await[0].get("isoUuid"), None);
    let refused = site.refused(Method::DELETE, &format!("/vm-instances/{vm}/iso"), Value::Null).await;
    assert!(refused.details.contains("no iso"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iso_that_the_host_does_not_take_lies_in_no_drive() {
    let site = Site::start().await;
    let (vm, iso) = (site.vm_of("web", json!({})).await, site.iso("tools").await);
    site.world().refuse(device::AttachIso::PATH, "the drive is locked");
    let path = format!("/vm-instances/{vm}/iso/{iso}");
    let refused = site.refused(Method::POST, &path, json!({ "null": {} })).await;
    assert!(refused.details.contains("locked"), "{refused:?}");
    assert_eq!(site.drives(&vm).await[0].get("isoUuid"), None);
    site.world().obey();
    let refused = site
        .refused(Method::POST, &format!("/vm-instances/{vm}/iso/{}", site.image), json!({ "null": {} }))
        .await;
    assert!(refused.details.contains("only an ISO"), "{refused:?}");
    let before = site.world().count(localstorage::Download::PATH);
    site.api.call(Method::POST, &path, json!({ "null": {} })).await.unwrap();
    assert_eq!(site.discs().len(), 1);
    assert!(site.world().count(localstorage::Download::PATH) > before, "what was doubted is looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn drives_come_and_go_while_the_vm_is_stopped() {
    let site = Site::start().await;
    let (vm, iso) = (site.vm_of("web", json!({})).await, site.iso("tools").await);
    let params = json!({ "name": "second", "vmInstanceUuid": vm, "isoUuid": iso });
    let body = json!({ "params": params });
    let refused = site.refused(Method::POST, "/vm-instances/cdroms", body.clone()).await;
    assert!(refused.details.contains("when it is stopped"), "{refused:?}");
    site.tell_vm(&vm, "stopVmInstance").await;
    let second = site.api.create("/vm-instances/cdroms", params).await.unwrap();
    assert_eq!((&second["deviceId"], &second["isoUuid"]), (&json!(1), &json!(iso)));
    let uuid = second["uuid"].as_str().unwrap();
    let named = json!({ "updateVmCdRom": { "name": "tools", "description": "d" } });
    let path = format!("/vm-instances/cdroms/{uuid}/actions");
    let named = site.api.call(Method::PUT, &path, named).await.unwrap();
    assert_eq!(named["inventory"]["name"], "tools");

    let path = format!("/vm-instances/{vm}/cdroms/{uuid}/actions");
    let first = json!({ "setVmInstanceDefaultCdRom": {} });
    assert_eq!(site.api.call(Method::PUT, &path, first).await.unwrap()["inventory"]["deviceId"], 0);
    site.tell_vm(&vm, "startVmInstance").await;
    assert_eq!(site.discs(), [format!("{vm} 0 {}", cached(&iso))], "fetched by the start");
    let refused = site.refused(Method::DELETE, &format!("/vm-instances/cdroms/{uuid}"), Value::Null).await;
    assert!(refused.details.contains("when it is stopped"), "{refused:?}");
    site.tell_vm(&vm, "stopVmInstance").await;
    site.api.delete(&format!("/vm-instances/cdroms/{uuid}")).await.unwrap();
    assert_eq!(site.drives(&vm).await.len(), 1);

    for name in ["a", "b"] {
        site.api.create("/vm-instances/cdroms", json!({ "name": name, "vmInstanceUuid": vm })).await.unwrap();
    }
    let refused = site.refused(Method::POST, "/vm-instances/cdroms", body).await;
    assert!(refused.details.contains("3 cd-rom drives, the most"), "{refused:?}");
    site.api.delete(&format!("/vm-instances/{vm}")).await.unwrap();
    site.tell_vm(&vm, "expungeVmInstance").await;
    assert!(site.list("/vm-instances/cdroms").await.is_empty(), "they go with their vm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_installed_from_an_iso_on_an_empty_disk() {
    let site = Site::start().await;
    let (iso, tools) = (site.iso("installer").await, site.iso("tools").await);
    let mut params = site.vm("fresh");
    params["imageUuid"] = json!(iso);
    let refused = site.refused(Method::POST, "/vm-instances", json!({ "params": params })).await;
    assert!(refused.details.contains("rootDiskSize"), "{refused:?}");
    params["rootDiskSize"] = json!(8i64 << 30);
    let body = json!({ "params": params, "systemTags": [format!("cdroms::empty::{tools}::none")] });
    let made = site.api.call(Method::POST, "/vm-instances", body).await.unwrap();
    let vm = made["inventory"]["uuid"].as_str().unwrap();
    let expected = [format!("{vm} 0 {}", cached(&iso)), format!("{vm} 1 {}", cached(&tools))];
    assert_eq!(site.discs(), expected);
    assert_eq!(site.world().state().boots[vm], "hd,cdrom");
    assert_eq!(site.world().count(localstorage::CreateFromCache::PATH), 0);
    assert_eq!(site.world().count(localstorage::CreateEmpty::PATH), 1);
    let root = site.list(&format!("/volumes?q=vmInstanceUuid={vm}")).await.remove(0);
    assert_eq!((&root["size"], &root["status"]), (&json!(8i64 << 30), &json!("Ready")));

    site.tell_vm(vm, "stopVmInstance").await;
    let reimage = json!({ "reimageVmInstance": {} });
    let refused = site.refused(Method::PUT, &format!("/vm-instances/{vm}/actions"), reimage).await;
    assert!(refused.details.contains("installed from an ISO"), "{refused:?}");

    let bare = json!({ "params": site.vm("bare"), "systemTags": ["createWithoutCdRom::true"] });
    let bare = site.api.call(Method::POST, "/vm-instances", bare).await.unwrap();
    assert!(site.drives(bare["inventory"]["uuid"].as_str().unwrap()).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn data_volumes_are_made_with_their_vm_and_taken_back_with_it() {
    let site = Site::start().await;
    let offering = json!({ "name": "large", "diskSize": 4i64 << 30 });
    let offering = site.api.create("/disk-offerings", offering).await.unwrap();
    let more = json!({ "dataDiskOfferingUuids": [offering["uuid"]], "dataDiskSizes": [1i64 << 30] });
    let before = site.capacity().await;
    site.world().refuse(wire::calls::vm::Start::PATH, "no kvm");
    let mut params = site.vm("web");
    for (name, value) in more.as_object().unwrap() {
        params[name] = value.clone();
    }
    let refused = site.refused(Method::POST, "/vm-instances", json!({ "params": params })).await;
    assert!(refused.details.contains("no kvm"), "{refused:?}");
    assert!(site.world().state().volumes.is_empty() && site.list("/volumes").await.is_empty());
    assert_eq!(site.capacity().await[..2], before[..2]);

    site.world().obey();
    let vm = site.vm_of("web", more).await;
    let volumes = site.list(&format!("/volumes?q=vmInstanceUuid={vm}&q=type=Data&sort=+deviceId")).await;
    let told: Vec<_> =
        volumes.iter().map(|v| (&v["deviceId"], &v["size"], &v["status"], &v["name"])).collect();
    let (ready, name) = (json!("Ready"), json!("DATA-for-web"));
    assert_eq!(
        told,
        [(&json!(1), &json!(4i64 << 30), &ready, &name), (&json!(2), &json!(1i64 << 30), &ready, &name)]
    );
    let state = site.world().state();
    assert_eq!((state.volumes.len(), state.disks.len()), (3, 2), "{state:?}");
    assert_eq!(volumes[0]["diskOfferingUuid"], offering["uuid"]);
    let second = volumes[1]["uuid"].as_str().unwrap();
    site.api.delete(&format!("/volumes/{second}/vm-instances")).await.unwrap();
    assert_eq!(site.world().state().disks.len(), 1);
}
