//! Snapshots: of a VM that runs, of one that does not, gone back to, deleted, in groups.

use hyper::Method;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::{localstorage, snapshot};

use crate::site::Site;

const SIZE: i64 = 1 << 30;

/// A VM: its uuid, and that of its root volume.
struct Vm {
    uuid: String,
    root: String,
}

impl Site {
    async fn made(&self, name: &str) -> Vm {
        let made = self.api.create("/vm-instances", self.vm(name)).await.unwrap();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Vm { uuid: text("uuid"), root: text("rootVolumeUuid") }
    }

    async fn with_disk(&self, vm: &Vm) -> String {
        let disk =
            self.api.create("/volumes/data", json!({ "name": "disk", "diskSize": SIZE })).await.unwrap();
        let uuid = disk["uuid"].as_str().unwrap().to_owned();
        self.api.create(&format!("/volumes/{uuid}/vm-instances/{}", vm.uuid), json!({})).await.unwrap();
        uuid
    }

    /// Its uuid and where it lies.
    async fn snapshot(&self, volume: &str, name: &str) -> (String, String) {
        let path = format!("/volumes/{volume}/volume-snapshots");
        let made = self.api.create(&path, json!({ "name": name })).await.unwrap();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("uuid"), text("primaryStorageInstallPath"))
    }

    async fn one(&self, path: &str, uuid: &str) -> Value {
        self.list(&format!("{path}?q=uuid={uuid}")).await.remove(0)
    }

    async fn path_of(&self, volume: &str) -> String {
        self.one("/volumes", volume).await["installPath"].as_str().unwrap().to_owned()
    }

    async fn action(&self, path: &str, action: &str) -> Value {
        self.api.call(Method::PUT, &format!("{path}/actions"), json!({ action: {} })).await.unwrap()
    }

    async fn stop(&self, vm: &Vm) {
        self.action(&format!("/vm-instances/{}", vm.uuid), "stopVmInstance").await;
    }

    /// What a file on the host stands on.
    fn below(&self, path: &str) -> Option<String> {
        self.world().state().layers.get(path).cloned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_vm_goes_on_in_a_new_file_and_what_is_deleted_is_merged_into_it() {
    let site = Site::start().await;
    let vm = site.made("web").await;
    let before = site.capacity().await;
    let ground = site.path_of(&vm.root).await;
    let (first, first_path) = site.snapshot(&vm.root, "first").await;
    assert_eq!(first_path, ground, "what was the volume's file is the snapshot");
    let (second, second_path) = site.snapshot(&vm.root, "second").await;
    let (third, _) = site.snapshot(&vm.root, "third").await;
    let top = site.path_of(&vm.root).await;
    let open = format!("{} {}", vm.uuid, vm.root);
    assert_eq!(site.world().state().open[&open], top, "the vm writes to the volume's file");
    assert_eq!(site.capacity().await[2], before[2] - 3 * (1 << 20), "each snapshot claims what it takes");

    let tree = site.list("/volume-snapshots/trees").await.remove(0);
    assert_eq!((&tree["current"], &tree["volumeUuid"]), (&json!(true), &json!(vm.root)));
    let leaf = &tree["tree"]["children"][0];
    assert_eq!((&leaf["inventory"]["uuid"], &leaf["parentUuid"]), (&json!(second), &json!(first)));
    let latest = site.one("/volume-snapshots", &third).await;
    assert_eq!(
        (&latest["latest"], &latest["distance"], &latest["status"]),
        (&json!(true), &json!(2), &json!("Ready"))
    );
    assert_eq!(site.one("/volume-snapshots", &second).await["latest"], false);

    let preview = site.api.delete(&format!("/volume-snapshots/{second}?preview=true")).await.unwrap();
    let told = preview.to_string();
    assert!(told.contains(&third) && !told.contains(&first), "{told}");
    site.api.delete(&format!("/volume-snapshots/{second}")).await.unwrap();
    assert_eq!(site.below(&top), Some(ground.clone()), "the volume stands on what the deleted one stood on");
    assert!(!site.world().state().volumes.contains(&second_path));
    assert_eq!(site.one("/volume-snapshots", &first).await["latest"], true);

    site.api.delete(&format!("/volume-snapshots/{first}")).await.unwrap();
    assert_eq!((site.below(&top), site.world().state().volumes.len()), (None, 1));
    assert!(site.list("/volume-snapshots/trees").await.is_empty());
    assert_eq!(site.capacity().await, before);
    assert_eq!(site.world().count(localstorage::OfflineMerge::PATH), 0, "qemu merges what it has open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_vm_goes_back_and_what_it_had_since_is_gone() {
    let site = Site::start().await;
    let vm = site.made("web").await;
    let (first, first_path) = site.snapshot(&vm.root, "first").await;
    let (second, _) = site.snapshot(&vm.root, "second").await;
    let revert = format!("/volume-snapshots/{first}/actions");
    let refused = site.refused(Method::PUT, &revert, json!({ "revertVolumeFromSnapshot": {} })).await;
    assert!(refused.details.contains("when it is Stopped"), "{refused:?}");
    site.stop(&vm).await;
    let lost = site.path_of(&vm.root).await;
    site.action(&format!("/volume-snapshots/{first}"), "revertVolumeFromSnapshot").await;
    let now = site.path_of(&vm.root).await;
    assert_eq!(site.below(&now), Some(first_path.clone()));
    assert!(!site.world().state().volumes.contains(&lost), "what was written since is gone");
    let third = site.snapshot(&vm.root, "third").await.0;
    assert_eq!(site.one("/volume-snapshots", &third).await["parentUuid"], json!(first));

    // A branch that the volume does not stand on goes without touching the volume.
    site.api.delete(&format!("/volume-snapshots/{second}")).await.unwrap();
    assert_eq!(site.world().count(localstorage::OfflineMerge::PATH), 0);
    site.api.delete(&format!("/volume-snapshots/{third}")).await.unwrap();
    assert_eq!(site.world().count(localstorage::OfflineMerge::PATH), 1);
    assert_eq!(site.below(&site.path_of(&vm.root).await), Some(first_path));

    let swept = site.api.call(Method::PUT, "/sweep/actions", json!({ "runSweep": {} })).await.unwrap();
    assert_eq!(swept["inventories"], json!([]), "every file belongs to somebody");

    let told = site.action(&format!("/volume-snapshots/{first}"), "getVolumeSnapshotSize").await;
    assert_eq!((&told["size"], &told["actualSize"]), (&json!(1 << 30), &json!(1 << 20)));
    site.action(&format!("/vm-instances/{}", vm.uuid), "startVmInstance").await;
    site.api.delete(&format!("/vm-instances/{}", vm.uuid)).await.unwrap();
    let expunge = format!("/vm-instances/{}", vm.uuid);
    let preview = format!("{expunge}/actions?preview=true");
    let preview = site.api.call(Method::PUT, &preview, json!({ "expungeVmInstance": {} }));
    assert!(
        preview.await.unwrap().to_string().contains(&first),
        "a vm takes its snapshots along, and says so"
    );
    site.action(&expunge, "expungeVmInstance").await;
    assert!(site.world().state().volumes.is_empty() && site.list("/volume-snapshots").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_leaves_the_vm_where_it_was() {
    let site = Site::start().await;
    let vm = site.made("web").await;
    let (path, before) = (site.path_of(&vm.root).await, site.capacity().await);
    site.world().refuse(snapshot::TakeMany::PATH, "no room");
    let take = format!("/volumes/{}/volume-snapshots", vm.root);
    let refused = site.refused(Method::POST, &take, json!({ "params": { "name": "first" } })).await;
    assert!(refused.details.contains("no room"), "{refused:?}");
    assert_eq!((site.path_of(&vm.root).await, site.capacity().await), (path.clone(), before));
    assert!(
        site.list("/volume-snapshots").await.is_empty()
            && site.list("/volume-snapshots/trees").await.is_empty()
    );
    let open = format!("{} {}", vm.uuid, vm.root);
    assert_eq!((site.world().state().open[&open].clone(), site.world().state().volumes.len()), (path, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_volumes_of_a_vm_go_back_to_one_moment() {
    let site = Site::start().await;
    let vm = site.made("web").await;
    let disk = site.with_disk(&vm).await;
    let params = json!({ "rootVolumeUuid": vm.root, "name": "both" });
    let group = site.api.create("/volume-snapshots/group", params).await.unwrap();
    assert_eq!((&group["snapshotCount"], &group["vmInstanceUuid"]), (&json!(2), &json!(vm.uuid)));
    assert_eq!(site.world().count(snapshot::TakeMany::PATH), 1, "one command takes them at one moment");
    let uuid = group["uuid"].as_str().unwrap();
    let refs = group["volumeSnapshotRefs"].as_array().unwrap();
    assert_eq!((&refs[0]["deviceId"], &refs[1]["volumeUuid"]), (&json!(0), &json!(disk)));
    let of_disk = refs[1]["volumeSnapshotUuid"].as_str().unwrap().to_owned();
    assert_eq!(site.one("/volume-snapshots", &of_disk).await["groupUuid"], json!(uuid));

    site.stop(&vm).await;
    let told = site.action(&format!("/volume-snapshots/group/{uuid}"), "revertVmFromSnapshotGroup").await;
    assert_eq!(told["results"].as_array().unwrap().len(), 2);
    site.api.delete(&format!("/volumes/{disk}/vm-instances")).await.unwrap();
    let ask = format!("/volume-snapshots/groups/availabilities?uuids={uuid}");
    let told = &site.api.get(&ask).await.unwrap()["results"][0];
    assert_eq!(told["available"], false);
    assert!(told["reason"].as_str().unwrap().contains("no longer attached"), "{told}");

    let both = json!({ "batchDeleteVolumeSnapshot": { "uuids": [of_disk] } });
    let told = site.api.call(Method::PUT, "/volume-snapshots/batch-delete", both).await.unwrap();
    assert_eq!(told["results"][0]["success"], true);
    let left = site.one("/volume-snapshots/group", uuid).await;
    assert_eq!(left["volumeSnapshotRefs"][1]["snapshotDeleted"], true);
    site.api.delete(&format!("/volume-snapshots/group/{uuid}")).await.unwrap();
    assert!(
        site.list("/volume-snapshots").await.is_empty()
            && site.list("/volume-snapshots/group").await.is_empty()
    );
    let state = site.world().state();
    assert_eq!((state.volumes.len(), state.layers.len()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_grows_no_deeper_than_it_may() {
    let site = Site::start().await;
    let vm = site.made("web").await;
    let deepest = json!({ "updateGlobalConfig": { "value": "2" } });
    let setting = "/global-configurations/volumeSnapshot/incrementalSnapshot.maxNum/actions";
    site.api.call(Method::PUT, setting, deepest).await.unwrap();
    site.snapshot(&vm.root, "a").await;
    let second = site.snapshot(&vm.root, "b").await.0;
    let take = format!("/volumes/{}/volume-snapshots", vm.root);
    let refused = site.refused(Method::POST, &take, json!({ "params": { "name": "c" } })).await;
    assert!(refused.details.contains("stands on 2 snapshots"), "{refused:?}");
    site.api.delete(&format!("/volume-snapshots/{second}")).await.unwrap();
    site.snapshot(&vm.root, "c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_the_tags_that_came_with_it_and_its_vm_keeps_its_own() {
    let site = Site::start().await;
    let vm = site.made("web").await;
    let own = json!({ "resourceType": "VmInstanceVO", "resourceUuid": vm.uuid, "tag": "production" });
    site.api.create("/user-tags", own).await.unwrap();
    let path = format!("/volumes/{}/volume-snapshots", vm.root);
    let call = json!({ "params": { "name": "tonight" }, "userTags": ["nightly"] });
    let made = site.api.call(Method::POST, &path, call).await.unwrap()["inventory"].clone();
    for (of, tag) in [(made["uuid"].as_str().unwrap(), "nightly"), (&vm.uuid, "production")] {
        let tags = site.list(&format!("/user-tags?q=resourceUuid={of}")).await;
        assert_eq!(tags.iter().map(|tag| &tag["tag"]).collect::<Vec<_>>(), [tag], "{tags:?}");
    }
    site.world().refuse(snapshot::TakeMany::PATH, "the disk is full");
    let call = json!({ "params": { "name": "never" }, "userTags": ["nightly"] });
    let refused = site.refused(Method::POST, &path, call).await;
    assert!(refused.details.contains("the disk is full"), "{refused:?}");
    let tags = site.list("/user-tags").await;
    assert_eq!(tags.len(), 2, "what was not made has none: {tags:?}");
}
