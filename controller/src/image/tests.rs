use std::net::SocketAddr;

use axum::http::Method;
use engine::codes;
use serde_json::{Value, json};

use super::{ImageSource, expunge, source};
use crate::backup_storage::simulated::{Storage, cloud, storages};
use crate::testing::{Cloud, Refused, until};

/// A cloud with one zone and one backup storage that is attached to it.
struct Site {
    agent: Storage,
    cloud: Cloud,
    zone: String,
    storage: String,
}

impl Site {
    async fn start() -> Site {
        let agent = Storage::start(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let cloud = cloud(agent.port()).await;
        let (zone, mut uuids) = storages(&cloud, &["127.0.0.1"]).await;
        Site { agent, cloud, zone, storage: uuids.remove(0) }
    }

    fn image(&self) -> Value {
        json!({ "name": "web", "url": "https://me:word@example.org/i", "backupStorageUuids": [self.storage] })
    }

    async fn add(&self) -> String {
        let image = self.cloud.create("/images", self.image()).await.unwrap();
        image["uuid"].as_str().unwrap().to_owned()
    }

    /// Adds an image whose bits do not come, and waits until its storage tries: its uuid, and the job.
    async fn add_slowly(&self, params: Value) -> (String, Value) {
        self.agent.world.let_through(false);
        let job = self.cloud.begin(Method::POST, "/images", json!({ "params": params })).await.unwrap();
        let begun = async || !self.agent.world.orders.lock().unwrap().is_empty();
        until("the download has begun", begun).await;
        let uuid = self.agent.world.orders.lock().unwrap()[0].image_uuid.clone();
        (uuid, job)
    }

    async fn act(&self, image: &str, action: &str, params: Value) -> Result<Value, Refused> {
        self.cloud.act(&format!("/images/{image}/actions"), action, params).await
    }

    async fn shown(&self, image: &str) -> Value {
        self.cloud.list(&format!("/images?q=uuid={image}")).await.pop().unwrap_or_default()
    }

    async fn source(&self, image: &str) -> engine::Result<ImageSource> {
        let mut tx = self.cloud.engine.db().read().await.unwrap();
        source(&mut tx, image.parse().unwrap(), Some(self.zone.parse().unwrap())).await
    }

    async fn is_empty(&self) -> bool {
        let images = self.cloud.list("/images").await;
        images.is_empty() && self.agent.world.images.lock().unwrap().is_empty()
    }
}

#[tokio::test]
async fn an_image_is_fetched_described_and_offered_to_hosts() {
    let site = Site::start().await;
    let uuid = site.add().await;
    let shown = site.shown(&uuid).await;
    assert_eq!((&shown["status"], &shown["state"]), (&json!("Ready"), &json!("Enabled")));
    assert_eq!((&shown["size"], &shown["actualSize"]), (&json!(1 << 30), &json!(1 << 20)));
    assert_eq!((&shown["format"], &shown["mediaType"]), (&json!("qcow2"), &json!("RootVolumeTemplate")));
    assert_eq!((&shown["platform"], &shown["architecture"]), (&json!("Linux"), &json!("x86_64")));
    assert_eq!((&shown["virtio"], &shown["system"]), (&json!(true), &json!(false)));
    assert_eq!((&shown["md5Sum"], &shown["type"]), (&json!("0f".repeat(16)), &json!("zstack")));
    assert_eq!(shown["url"], "https://example.org/i", "the password is kept to ourselves");
    let copy = &shown["backupStorageRefs"][0];
    assert_eq!((&copy["backupStorageUuid"], &copy["status"]), (&json!(site.storage), &json!("Ready")));
    assert_eq!(copy["installPath"], format!("images/{uuid}/image"));
    let order = site.agent.world.orders.lock().unwrap()[0].clone();
    assert_eq!((order.url.as_str(), order.timeout), ("https://me:word@example.org/i", 86_400));

    let source = site.source(&uuid).await.unwrap();
    assert_eq!(source.url, format!("http://127.0.0.1:{}/images/{uuid}", site.agent.port()));
    assert_eq!((source.sha256, source.format.as_str()), ("5a".repeat(32), "qcow2"));
}

#[tokio::test]
async fn what_the_storage_finds_wrong_reaches_the_api_and_leaves_nothing() {
    let site = Site::start().await;
    site.agent.world.refuses("the image names a backing file: flatten it first");
    let refused = site.cloud.create("/images", site.image()).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (503, codes::OPERATION.0));
    assert!(refused.details.contains("names a backing file: flatten it first"), "{}", refused.details);
    assert!(site.is_empty().await);
}

#[tokio::test]
async fn an_iso_is_not_taken_for_a_disk() {
    let site = Site::start().await;
    site.agent.world.finds("iso");
    let refused = site.cloud.create("/images", site.image()).await.unwrap_err();
    assert!(refused.details.contains("use media type ISO"), "{}", refused.details);
    assert!(site.is_empty().await, "what was fetched is deleted again");

    let mut params = site.image();
    params["mediaType"] = json!("ISO");
    let image = site.cloud.create("/images", params).await.unwrap();
    assert_eq!((&image["mediaType"], &image["format"]), (&json!("ISO"), &json!("iso")));
    assert_eq!(site.agent.world.orders.lock().unwrap()[1].format.as_deref(), Some("iso"));
}

#[tokio::test]
async fn a_storage_that_is_down_is_told_soon_and_leaves_nothing() {
    let Site { agent, cloud, storage, .. } = Site::start().await;
    agent.serving.end().await;
    let params = json!({ "name": "web", "url": "http://a/b", "backupStorageUuids": [storage] });
    let refused = cloud.create("/images", params).await.unwrap_err();
    assert!([codes::IO.0, codes::TIMEOUT.0].contains(&refused.code.as_str()), "{refused:?}");
    assert!(
        refused.details.contains("the storage-agent of backup storage \"127.0.0.1\""),
        "{}",
        refused.details
    );
    assert!(cloud.list("/images").await.is_empty());
}

#[tokio::test]
async fn a_storage_that_takes_no_images_and_an_unsound_image_are_refused() {
    let site = Site::start().await;
    for (name, value, why) in [
        ("url", json!("ftp://a/b"), "use http"),
        ("format", json!("vmdk"), "raw"),
        ("format", json!("iso"), ""),
        ("backupStorageUuids", json!([]), "at least one"),
        ("backupStorageUuids", json!(["0".repeat(32)]), "there is no backup storage"),
        ("platform", json!("BeOS"), "Linux"),
        ("type", json!("other"), "zstack"),
    ] {
        let mut params = site.image();
        params["mediaType"] = json!("RootVolumeTemplate");
        params[name] = value;
        let refused = site.cloud.create("/images", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{name}: {}", refused.details);
    }
    let storage = format!("/backup-storage/{}/actions", site.storage);
    site.cloud.act(&storage, "changeBackupStorageState", json!({ "stateEvent": "disable" })).await.unwrap();
    let refused = site.cloud.create("/images", site.image()).await.unwrap_err();
    assert!(refused.details.contains("disabled; enable it"), "{}", refused.details);
    site.cloud.act(&storage, "changeBackupStorageState", json!({ "stateEvent": "enable" })).await.unwrap();
    site.cloud.delete(&format!("/zones/{}/backup-storage/{}", site.zone, site.storage)).await.unwrap();
    let refused = site.cloud.create("/images", site.image()).await.unwrap_err();
    assert!(refused.details.contains("attached to no zone"), "{}", refused.details);
    assert!(site.is_empty().await);
}

#[tokio::test]
async fn the_uuid_of_an_image_is_not_taken_twice_and_the_first_one_stays() {
    let site = Site::start().await;
    let uuid = site.add().await;
    let mut params = site.image();
    params["resourceUuid"] = json!(uuid);
    params["name"] = json!("impostor");
    assert!(site.cloud.create("/images", params).await.is_err());
    assert_eq!(site.shown(&uuid).await["name"], "web");
    assert!(site.agent.world.has(&uuid));
}

#[tokio::test]
async fn an_upload_shows_where_to_put_the_bits_until_they_are_there() {
    let site = Site::start().await;
    let mut params = site.image();
    params["url"] = json!("upload://web.qcow2");
    let (uuid, job) = site.add_slowly(params).await;
    let order = site.agent.world.orders.lock().unwrap()[0].clone();
    let token = order.upload_token.unwrap();
    assert_eq!((order.url_scheme.as_deref(), token.len()), (Some("upload"), 64));
    let shown = site.shown(&uuid).await;
    assert_eq!(shown["status"], "Downloading");
    let place = format!("http://127.0.0.1:{}/images/{uuid}?token={token}", site.agent.port());
    assert_eq!(shown["backupStorageRefs"][0]["installPath"], place);
    let early = site.source(&uuid).await.unwrap_err();
    assert!(early.details().contains("still on its way"), "{early}");

    site.agent.world.let_through(true);
    let ready = site.cloud.finish(job).await.unwrap();
    let path = format!("images/{uuid}/image");
    assert_eq!(ready["inventory"]["backupStorageRefs"][0]["installPath"], path);
}

#[tokio::test]
async fn progress_is_told_while_an_image_comes_and_when_it_is_there() {
    let site = Site::start().await;
    let (_, job) = site.add_slowly(site.image()).await;
    let id = job["location"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let told = site.cloud.list(&format!("/task-progresses/{id}?all=true")).await.remove(0);
    assert_eq!((&told["taskUuid"], &told["content"]), (&json!(id), &json!("42")));
    assert_eq!((&told["type"], &told["opaque"]["total"]), (&json!("Progress"), &json!(100)));

    site.agent.world.let_through(true);
    site.cloud.finish(job).await.unwrap();
    let told = site.cloud.list(&format!("/task-progresses/{id}")).await.remove(0);
    assert_eq!(told["content"], "100");
    assert!(site.cloud.list(&format!("/task-progresses/{}", "0".repeat(32))).await.is_empty());
}

#[tokio::test]
async fn deleting_an_image_on_its_way_ends_its_download() {
    let site = Site::start().await;
    let (uuid, job) = site.add_slowly(site.image()).await;
    site.cloud.delete(&format!("/images/{uuid}")).await.unwrap();
    assert!(site.is_empty().await, "nothing is left when the deletion is answered");
    assert!(!site.agent.world.is_fetching(&uuid));
    let ended = site.cloud.finish(job).await.unwrap_err();
    assert!(ended.details.contains("because the image was deleted"), "{}", ended.details);
}

#[tokio::test]
async fn a_deleted_image_can_be_recovered_until_it_is_expunged() {
    let site = Site::start().await;
    let uuid = site.add().await;
    let early = site.act(&uuid, "expungeImage", json!({})).await.unwrap_err();
    assert!(early.details.contains("delete it first"), "{}", early.details);
    let early = site.act(&uuid, "recoverImage", json!({})).await.unwrap_err();
    assert!(early.details.contains("is not deleted"), "{}", early.details);

    site.cloud.delete(&format!("/images/{uuid}")).await.unwrap();
    assert_eq!(site.shown(&uuid).await["status"], "Deleted");
    assert!(site.source(&uuid).await.unwrap_err().details().contains("recover it"));
    assert!(site.agent.world.has(&uuid));
    let back = site.act(&uuid, "recoverImage", json!({ "imageUuid": uuid })).await.unwrap();
    assert_eq!(
        (&back["status"], &back["backupStorageRefs"][0]["status"]),
        (&json!("Ready"), &json!("Ready"))
    );
    assert!(site.source(&uuid).await.is_ok());

    let query = format!("/images/{uuid}?backupStorageUuids={}&deleteMode=Permissive", site.storage);
    site.cloud.delete(&query).await.unwrap();
    site.act(&uuid, "expungeImage", json!({})).await.unwrap();
    assert!(site.is_empty().await);
}

#[tokio::test]
async fn deleted_images_are_expunged_when_their_time_is_over() {
    let site = Site::start().await;
    let uuid = site.add().await;
    site.cloud.delete(&format!("/images/{uuid}")).await.unwrap();
    expunge::pass(site.cloud.engine.clone()).await.unwrap();
    assert_eq!(site.shown(&uuid).await["status"], "Deleted", "its time is not over");

    let period = "/global-configurations/image/expungePeriod/actions";
    site.cloud.act(period, "updateGlobalConfig", json!({ "value": "1" })).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    expunge::pass(site.cloud.engine.clone()).await.unwrap();
    assert!(site.is_empty().await);
}

#[tokio::test]
async fn by_the_direct_policy_an_image_goes_at_once_unless_its_storage_is_lost() {
    let Site { agent: Storage { world, serving }, cloud, storage, .. } = Site::start().await;
    let policy = "/global-configurations/image/deletionPolicy/actions";
    cloud.act(policy, "updateGlobalConfig", json!({ "value": "Direct" })).await.unwrap();
    let params = json!({ "name": "web", "url": "http://a/b", "backupStorageUuids": [storage] });
    let images = [cloud.create("/images", params.clone()).await, cloud.create("/images", params).await];
    let [first, second] = images.map(|image| image.unwrap()["uuid"].as_str().unwrap().to_owned());

    cloud.delete(&format!("/images/{first}")).await.unwrap();
    assert!(!world.has(&first));
    serving.end().await;
    crate::backup_storage::ping_all(&cloud.engine).await;
    let refused = cloud.delete(&format!("/images/{second}")).await.unwrap_err();
    assert!(refused.details.contains("is Disconnected"), "{}", refused.details);
    let left = cloud.list("/images").await;
    assert_eq!((left.len(), &left[0]["status"]), (1, &json!("Ready")), "the failed deletion changed nothing");
}

#[tokio::test]
async fn two_storages_must_get_the_same_image_and_one_copy_may_go() {
    let site = Site::start().await;
    let other = Storage::start(SocketAddr::from(([127, 0, 0, 2], site.agent.port()))).await;
    let params = crate::backup_storage::simulated::parameters("other", "127.0.0.2");
    let added = site.cloud.create("/backup-storage/sftp", params).await.unwrap();
    let second = added["uuid"].as_str().unwrap().to_owned();
    site.cloud.create(&format!("/zones/{}/backup-storage/{second}", site.zone), json!({})).await.unwrap();
    let params = json!({ "name": "web", "url": "http://a/b", "backupStorageUuids": [site.storage, second] });

    let image = site.cloud.create("/images", params.clone()).await.unwrap();
    let uuid = image["uuid"].as_str().unwrap();
    site.cloud.delete(&format!("/images/{uuid}?backupStorageUuids={second}")).await.unwrap();
    assert_eq!(site.shown(uuid).await["status"], "Ready", "the other copy is still there");
    site.act(uuid, "expungeImage", json!({ "backupStorageUuids": [second] })).await.unwrap();
    assert!(site.agent.world.has(uuid) && !other.world.has(uuid));
    assert_eq!(site.shown(uuid).await["backupStorageRefs"].as_array().unwrap().len(), 1);

    other.world.gets_other_bits();
    let refused = site.cloud.create("/images", params).await.unwrap_err();
    assert!(refused.details.contains("got different images"), "{}", refused.details);
    assert!(other.world.images.lock().unwrap().is_empty());
    assert_eq!(site.cloud.list("/images").await.len(), 1);
}

#[tokio::test]
async fn an_image_is_changed_but_never_what_its_bits_are() {
    let site = Site::start().await;
    let uuid = site.add().await;
    let params = json!({ "name": "new", "platform": "Windows", "virtio": false, "format": "qcow2" });
    let changed = site.act(&uuid, "updateImage", params).await.unwrap();
    assert_eq!((&changed["name"], &changed["platform"]), (&json!("new"), &json!("Windows")));
    assert_eq!(changed["virtio"], false);
    for (params, why) in [
        (json!({ "format": "raw" }), "cannot become raw"),
        (json!({ "mediaType": "ISO" }), "must have format iso"),
    ] {
        let refused = site.act(&uuid, "updateImage", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{}", refused.details);
    }
    site.act(&uuid, "changeImageState", json!({ "stateEvent": "disable" })).await.unwrap();
    assert!(site.source(&uuid).await.unwrap_err().details().contains("is disabled"));
}

#[tokio::test]
async fn hosts_of_a_zone_without_the_image_are_told_so() {
    let site = Site::start().await;
    let uuid = site.add().await;
    site.cloud.delete(&format!("/zones/{}/backup-storage/{}", site.zone, site.storage)).await.unwrap();
    let nowhere = site.source(&uuid).await.unwrap_err();
    assert!(nowhere.details().contains("no backup storage of the zone"), "{nowhere}");
}

#[tokio::test]
async fn an_image_says_how_its_vms_boot_and_is_as_large_as_its_storage_says() {
    let site = Site::start().await;
    let uuid = site.add().await;
    let synced = site.act(&uuid, "syncImageSize", json!({})).await.unwrap();
    assert_eq!((&synced["size"], &synced["actualSize"]), (&json!(2i64 << 30), &json!(2 << 20)));
    let shown = site.act(&uuid, "setImageBootMode", json!({ "bootMode": "UEFI" })).await.unwrap();
    assert_eq!(shown["systemTags"], json!(["bootMode::UEFI"]));
    let refused = site.act(&uuid, "setImageBootMode", json!({ "bootMode": "UEFI_WITH_CSM" })).await;
    assert_eq!(refused.unwrap_err().code, codes::INVALID_ARGUMENT.0);
    let image = uuid.parse().unwrap();
    let mut tx = site.cloud.engine.db().read().await.unwrap();
    assert_eq!(super::boot_mode(&mut tx, image).await.unwrap().as_deref(), Some("UEFI"));
    drop(tx);
    site.agent.world.images.lock().unwrap().clear();
    let refused = site.act(&uuid, "syncImageSize", json!({})).await.unwrap_err();
    assert!(refused.details.contains("there is no image"), "{}", refused.details);
}
