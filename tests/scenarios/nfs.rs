//! Storage on an NFS share, which the hosts mount when they are told to.

use fleet::{Host, Share};
use hyper::Method;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::{localstorage, mount_point, nfs, vm};

use crate::site::Site;

const UUID: &str = "6e667300000000000000000000000001";
const DIR: &str = "/var/lib/cumulet/nfs/prim-6e667300000000000000000000000001";
const URL: &str = "nfs.example.org:/export/cumulet";

/// Two hosts that reach the same server.
struct Served {
    site: Site,
    other: Host,
    share: &'static Share,
}

impl Served {
    async fn start(number: u8) -> Served {
        let share = Share::at(DIR);
        let (site, other) = Site::of_two_with(number, [Some(share), Some(share)]).await;
        let params =
            json!({ "name": "nfs", "url": format!("{URL}/"), "zoneUuid": site.zone, "resourceUuid": UUID });
        let body = json!({ "params": params, "systemTags": ["nfs::mount::options::vers=4.2,hard"] });
        let made = site.api.call(Method::POST, "/primary-storage/nfs", body).await.unwrap();
        let made = &made["inventory"];
        assert_eq!((&made["type"], &made["url"]), (&json!("NFS"), &json!(URL)));
        assert_eq!(made["mountPath"], DIR);
        Served { site, other, share }
    }

    fn attached(&self) -> String {
        format!("/clusters/{}/primary-storage/{UUID}", self.site.cluster)
    }

    async fn attach(&self) {
        self.site.api.create(&self.attached(), json!({})).await.unwrap();
    }

    /// What each host has mounted.
    fn mounts(&self) -> [Option<String>; 2] {
        [self.site.world(), &self.other.world].map(|world| world.state().mounts.get(DIR).cloned())
    }

    fn count(&self, path: &str) -> usize {
        self.site.world().count(path) + self.other.world.count(path)
    }

    /// A running VM, and its root volume.
    async fn vm(&self) -> (String, String) {
        let mut params = self.site.vm("web");
        params["hostUuid"] = json!(self.site.hosts[0]);
        params["primaryStorageUuidForRootVolume"] = json!(UUID);
        let made = self.site.api.create("/vm-instances", params).await.unwrap();
        (made["uuid"].as_str().unwrap().to_owned(), made["rootVolumeUuid"].as_str().unwrap().to_owned())
    }

    async fn act(&self, vm: &str, body: Value) -> Value {
        let path = format!("/vm-instances/{vm}/actions");
        self.site.api.call(Method::PUT, &path, body).await.unwrap()["inventory"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_mount_a_share_use_it_together_and_unmount_it() {
    let served = Served::start(41).await;
    let site = &served.site;
    served.attach().await;
    let mounted = Some(format!("{URL} vers=4.2,hard"));
    assert_eq!(served.mounts(), [mounted.clone(), mounted]);
    let (vm, root) = served.vm().await;
    let disk = json!({ "name": "disk", "diskSize": 1 << 30, "primaryStorageUuid": UUID });
    let disk = site.api.create("/volumes/data", disk).await.unwrap()["uuid"].as_str().unwrap().to_owned();
    site.api.create(&format!("/volumes/{disk}/vm-instances/{vm}"), json!({})).await.unwrap();
    let snapshots = format!("/volumes/{root}/volume-snapshots");
    let snapshot = site.api.create(&snapshots, json!({ "name": "one" })).await.unwrap();

    let moved = served.act(&vm, json!({ "migrateVm": {} })).await;
    assert_eq!((&moved["hostUuid"], &moved["state"]), (&json!(site.hosts[1]), &json!("Running")));
    assert_eq!(served.share.state().volumes.len(), 3, "root, its new layer, data");
    served.act(&vm, json!({ "stopVmInstance": {} })).await;
    let back = json!({ "revertVolumeFromSnapshot": {} });
    let path = format!("/volume-snapshots/{}/actions", snapshot["uuid"].as_str().unwrap());
    site.api.call(Method::PUT, &path, back).await.unwrap();
    served.act(&vm, json!({ "startVmInstance": { "hostUuid": site.hosts[0] } })).await;
    let others = [mount_point::CreateRoot::PATH, localstorage::CreateFromCache::PATH];
    assert_eq!(others.map(|path| served.count(path)), [0, 0], "by the paths of its own");
    assert_eq!(served.count(nfs::Download::PATH), 1, "an image is fetched for all hosts");

    site.api.delete(&format!("/vm-instances/{vm}")).await.unwrap();
    served.act(&vm, json!({ "expungeVmInstance": {} })).await;
    site.api.delete(&format!("/volumes/{disk}")).await.unwrap();
    site.api
        .call(Method::PUT, &format!("/volumes/{disk}/actions"), json!({ "expungeDataVolume": {} }))
        .await
        .unwrap();
    let share = served.share.state();
    assert!(share.volumes.is_empty() && share.layers.is_empty() && !share.cache.is_empty(), "{share:?}");
    site.api.delete(&format!("/primary-storage/{UUID}")).await.unwrap();
    assert!(served.share.state().cache.is_empty());
    assert_eq!(served.mounts(), [None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_without_the_volumes_of_its_storage_is_refused_until_they_are_back() {
    let served = Served::start(42).await;
    let site = &served.site;
    served.attach().await;
    let (vm, _) = served.vm().await;
    served.act(&vm, json!({ "stopVmInstance": {} })).await;
    let volumes = served.share.state().volumes;
    for volume in &volumes {
        served.share.loses(volume);
    }
    let path = format!("/hosts/{}/actions", site.hosts[1]);
    for _ in 0..2 {
        let refused = site.refused(Method::PUT, &path, json!({ "reconnectHost": {} })).await;
        assert!(refused.details.contains("has no volume of primary storage \"nfs\""), "{refused:?}");
    }
    for volume in &volumes {
        served.share.gets(volume);
    }
    site.api.call(Method::PUT, &path, json!({ "reconnectHost": {} })).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_mounted_is_refused_and_leaves_nothing_mounted() {
    let served = Served::start(43).await;
    let site = &served.site;
    let add = async |url: &str| {
        let params = json!({ "name": "other", "url": url, "zoneUuid": site.zone });
        site.refused(Method::POST, "/primary-storage/nfs", json!({ "params": params })).await.details
    };
    assert!(add(URL).await.contains("is primary storage \"nfs\" already"));
    assert!(add("/export/cumulet").await.contains("must be a share"));
    let tag = json!({ "resourceType": "PrimaryStorageVO", "resourceUuid": UUID, "tag": "nfs::mount::options::-o ro" });
    let refused = site.refused(Method::POST, "/system-tags", json!({ "params": tag })).await;
    assert!(refused.details.contains("mount options are written as"), "{refused:?}");

    served.other.world.refuse(nfs::Remount::PATH, "no route to host");
    let refused = site.refused(Method::POST, &served.attached(), json!({ "params": {} })).await;
    assert!(refused.details.contains("no route to host"), "{refused:?}");
    assert_eq!(served.mounts(), [None, None]);
    served.other.world.obey();
    served.attach().await;

    // A host that stops using it lets it go only when no VM is on it.
    let (vm, _) = served.vm().await;
    site.api.delete(&served.attached()).await.unwrap();
    assert_eq!((served.mounts(), served.count(vm::Stop::PATH)), ([None, None], 1));
    let state = site.list(&format!("/vm-instances?q=uuid={vm}")).await[0]["state"].clone();
    assert_eq!(state, "Stopped");
    let start = json!({ "startVmInstance": {} });
    let refused = site.refused(Method::PUT, &format!("/vm-instances/{vm}/actions"), start).await;
    assert!(refused.details.contains("nfs"), "{refused:?}");
}
