//! Images that are made of volumes and snapshots, and what is made of them.

use hyper::Method;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::localstorage;

use crate::site::Site;

impl Site {
    async fn image_of(&self, path: &str, params: Value) -> Value {
        self.api.create(&format!("/images/{path}"), params).await.unwrap()
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_stopped_vm_makes_vms_and_one_of_a_running_vm_is_refused() {
    let site = Site::start().await;
    let vm = site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    let path = format!("root-volume-templates/from/volumes/{}", text(&vm, "rootVolumeUuid"));
    let wish = json!({ "name": "golden", "backupStorageUuids": [site.backup_storage] });
    let running = json!({ "params": wish });
    let refused = site.refused(Method::POST, &format!("/images/{path}"), running).await;
    assert!(refused.details.contains("take a snapshot"), "{refused:?}");
    let actions = format!("/vm-instances/{}/actions", text(&vm, "uuid"));
    site.api.call(Method::PUT, &actions, json!({ "stopVmInstance": {} })).await.unwrap();

    let image = site.image_of(&path, wish).await;
    assert_eq!((&image["status"], &image["mediaType"]), (&json!("Ready"), &json!("RootVolumeTemplate")));
    assert_eq!(
        image["backupStorageRefs"][0]["installPath"],
        json!(format!("images/{}/image", text(&image, "uuid")))
    );
    assert!(site.world().state().images.contains(&text(&image, "uuid")));
    assert!(!image.to_string().contains("token"), "{image}");

    let (fetched, mut params) = (site.world().count(localstorage::Download::PATH), site.vm("copy"));
    params["imageUuid"] = image["uuid"].clone();
    let copy = site.api.create("/vm-instances", params).await.unwrap();
    assert_eq!((&copy["state"], &copy["platform"]), (&json!("Running"), &vm["platform"]));
    assert_eq!(site.world().count(localstorage::Download::PATH), fetched, "it was in the cache already");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_volumes_are_made_of_snapshots_and_of_images_of_them() {
    let site = Site::start().await;
    let vm = site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    let disk =
        site.api.create("/volumes/data", json!({ "name": "disk", "diskSize": 1 << 30 })).await.unwrap();
    let (vm, disk) = (text(&vm, "uuid"), text(&disk, "uuid"));
    site.api.create(&format!("/volumes/{disk}/vm-instances/{vm}"), json!({})).await.unwrap();
    let taken = site.api.create(&format!("/volumes/{disk}/volume-snapshots"), json!({ "name": "one" })).await;
    let snapshot = text(&taken.unwrap(), "uuid");

    let path = format!("data-volume-templates/from/volume-snapshots/{snapshot}");
    let wish = json!({ "name": "data", "backupStorageUuids": [site.backup_storage] });
    let image = site.image_of(&path, wish).await;
    assert_eq!((&image["mediaType"], &image["status"]), (&json!("DataVolumeTemplate"), &json!("Ready")));
    let from = format!("/volumes/data/from/data-volume-templates/{}", text(&image, "uuid"));
    let params =
        json!({ "name": "a", "primaryStorageUuid": site.primary_storage, "hostUuid": site.hosts[0] });
    let made = site.api.create(&from, params).await.unwrap();
    let path = text(&made, "installPath");
    assert!(site.world().state().layers[&path].contains(&text(&image, "uuid")), "it stands on the image");

    let from = format!("/volumes/data/from/volume-snapshots/{snapshot}");
    let copied = site.api.create(&from, json!({ "name": "b" })).await.unwrap();
    assert_eq!((&copied["status"], &copied["type"]), (&json!("Ready"), &json!("Data")));
    let path = text(&copied, "installPath");
    assert!(site.world().state().volumes.contains(&path) && !site.world().state().layers.contains_key(&path));
    site.api.delete(&format!("/volume-snapshots/{snapshot}")).await.unwrap();
    site.api
        .create(&format!("/volumes/{}/vm-instances/{vm}", text(&copied, "uuid")), json!({}))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_brought_leaves_nothing() {
    let site = Site::start().await;
    let vm = site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    let actions = format!("/vm-instances/{}/actions", text(&vm, "uuid"));
    site.api.call(Method::PUT, &actions, json!({ "stopVmInstance": {} })).await.unwrap();
    let (before, images) = (site.world().state(), site.list("/images").await.len());
    site.world().refuse(localstorage::Upload::PATH, "the store is full");
    let path = format!("/images/root-volume-templates/from/volumes/{}", text(&vm, "rootVolumeUuid"));
    let refused = site.refused(Method::POST, &path, json!({ "params": { "name": "golden" } })).await;
    assert!(refused.details.contains("the store is full"), "{refused:?}");
    assert_eq!((site.world().state(), site.list("/images").await.len()), (before, images));
}
