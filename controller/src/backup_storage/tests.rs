use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::ping;
use super::simulated::{Storage, cloud, parameters, storages};
use crate::testing::until;

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn a_storage_is_connected_when_it_is_added_and_shows_its_zones() {
    let agent = Storage::start(anywhere()).await;
    let cloud = cloud(agent.port()).await;
    let (zone, uuids) = storages(&cloud, &["127.0.0.1"]).await;

    let shown = cloud.list(&format!("/backup-storage/{}", uuids[0])).await.remove(0);
    assert_eq!(shown["status"], "Connected");
    assert_eq!((&shown["totalCapacity"], &shown["availableCapacity"]), (&json!(1000), &json!(900)));
    assert_eq!(shown["attachedZoneUuids"], json!([zone]));
    assert_eq!((&shown["type"], &shown["sshPort"]), (&json!("SftpBackupStorage"), &json!(22)));
    assert!(!shown.to_string().contains("word"), "{shown}");
    assert_eq!(agent.world.stores.lock().unwrap()[&uuids[0]], "/srv/images");
    assert_eq!(cloud.get("/backup-storage/types").await.unwrap()["types"], json!(["SftpBackupStorage"]));
    assert_eq!(cloud.list("/backup-storage/sftp").await.len(), 1);

    cloud.delete(&format!("/zones/{zone}")).await.unwrap();
    let shown = cloud.list("/backup-storage").await.remove(0);
    assert_eq!(shown["attachedZoneUuids"], json!([]), "a zone goes without its backup storages");
}

#[tokio::test]
async fn a_storage_that_refuses_or_is_not_sound_leaves_no_row() {
    let agent = Storage::start(anywhere()).await;
    let cloud = cloud(agent.port()).await;
    storages(&cloud, &["127.0.0.1"]).await;

    let twice = cloud.create("/backup-storage/sftp", parameters("other", "127.0.0.1")).await.unwrap_err();
    assert!(twice.details.contains("\"127.0.0.1\" has the hostname"), "{}", twice.details);
    let wrong = [
        ("hostname", json!("a b"), "host name"),
        ("url", json!("srv/images"), "path of a directory"),
        ("url", json!("/srv/../etc"), "path of a directory"),
        ("importImages", json!(true), "not supported"),
        ("type", json!("CephBackupStorage"), "SftpBackupStorage"),
        ("password", json!(""), "empty"),
    ];
    for (name, value, why) in wrong {
        let mut params = parameters("other", "127.0.0.9");
        params[name] = value;
        let refused = cloud.create("/backup-storage/sftp", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{name}: {}", refused.details);
    }
    assert_eq!(cloud.list("/backup-storage").await.len(), 1);
}

#[tokio::test]
async fn pings_tell_lost_storages_from_connected_ones_and_how_full_they_are() {
    let Storage { world, serving } = Storage::start(anywhere()).await;
    let (address, cloud) = (serving.address, cloud(serving.address.port()).await);
    let (_, uuids) = storages(&cloud, &["127.0.0.1"]).await;
    let shown = async || cloud.list(&format!("/backup-storage/{}", uuids[0])).await.remove(0);

    *world.available.lock().unwrap() = 7;
    ping::pass(cloud.engine.clone()).await.unwrap();
    let before = shown().await;
    assert_eq!(before["availableCapacity"], 7);

    world.stores.lock().unwrap().clear();
    ping::pass(cloud.engine.clone()).await.unwrap();
    assert_eq!(shown().await["status"], "Disconnected", "a store that is not open is of no use");
    let actions = format!("/backup-storage/{}/actions", uuids[0]);
    let back = cloud.act(&actions, "reconnectBackupStorage", json!({})).await.unwrap();
    assert_eq!(back["status"], "Connected");

    serving.end().await;
    let lost = ping::pass(cloud.engine.clone());
    lost.await.unwrap();
    assert_eq!(shown().await["status"], "Disconnected");
    let _again = Storage::again(address, Arc::clone(&world)).await;
    ping::pass(cloud.engine.clone()).await.unwrap();
    assert_eq!(shown().await["status"], "Connected");
}

#[tokio::test]
async fn a_storage_is_changed_moved_between_zones_and_disabled() {
    let agent = Storage::start(anywhere()).await;
    let cloud = cloud(agent.port()).await;
    let (zone, uuids) = storages(&cloud, &["127.0.0.1"]).await;
    let path = format!("/backup-storage/{}/actions", uuids[0]);
    let sftp = format!("/backup-storage/sftp/{}/actions", uuids[0]);
    let place = format!("/zones/{zone}/backup-storage/{}", uuids[0]);

    let twice = cloud.create(&place, json!({})).await.unwrap_err();
    assert!(twice.details.contains("already"), "{}", twice.details);
    let detached = cloud.delete(&place).await.unwrap();
    assert_eq!(detached["inventory"]["attachedZoneUuids"], json!([]));
    assert!(cloud.delete(&place).await.is_err());

    let params = json!({ "name": "new", "description": "d" });
    let updated = cloud.act(&path, "updateBackupStorage", params).await.unwrap();
    assert_eq!((&updated["name"], &updated["description"]), (&json!("new"), &json!("d")));
    let moved = json!({ "hostname": "127.0.0.2", "sshPort": 2222, "password": "word" });
    let moved = cloud.act(&sftp, "updateSftpBackupStorage", moved).await.unwrap();
    assert_eq!((&moved["hostname"], &moved["sshPort"]), (&json!("127.0.0.2"), &json!(2222)));
    let disabled = cloud.act(&path, "changeBackupStorageState", json!({ "stateEvent": "disable" }));
    assert_eq!(disabled.await.unwrap()["state"], "Disabled");
}

#[tokio::test]
async fn a_lost_storage_can_be_deleted_and_its_images_with_it() {
    let Storage { world, serving } = Storage::start(anywhere()).await;
    let cloud = cloud(serving.address.port()).await;
    let (_, uuids) = storages(&cloud, &["127.0.0.1"]).await;
    let params = json!({ "name": "i", "url": "http://127.0.0.1/i", "backupStorageUuids": uuids });
    cloud.create("/images", params).await.unwrap();
    serving.end().await;
    ping::pass(cloud.engine.clone()).await.unwrap();

    cloud.delete(&format!("/backup-storage/{}", uuids[0])).await.unwrap();
    assert_eq!(cloud.list("/images").await, Vec::<Value>::new());
    assert_eq!(cloud.list("/backup-storage").await, Vec::<Value>::new());
    drop(world);
}

#[tokio::test]
async fn deleting_a_storage_takes_its_images_also_those_on_their_way() {
    let agent = Storage::start(anywhere()).await;
    let other = Storage::start(SocketAddr::from(([127, 0, 0, 2], agent.port()))).await;
    let cloud = cloud(agent.port()).await;
    let (_, uuids) = storages(&cloud, &["127.0.0.1", "127.0.0.2"]).await;
    let image =
        |name: &str, on: &[String]| json!({ "name": name, "url": "http://a/b", "backupStorageUuids": on });

    let here = cloud.create("/images", image("here", &uuids[..1])).await.unwrap();
    let both = cloud.create("/images", image("both", &uuids)).await.unwrap();
    agent.world.let_through(false);
    let body = json!({ "params": image("coming", &uuids[..1]) });
    let coming = cloud.begin(axum::http::Method::POST, "/images", body).await.unwrap();
    until("the download has begun", async || agent.world.orders.lock().unwrap().len() == 3).await;

    cloud.delete(&format!("/backup-storage/{}", uuids[0])).await.unwrap();
    let ended = cloud.finish(coming).await.unwrap_err();
    assert!(ended.details.contains("given up"), "{}", ended.details);
    let left = cloud.list("/images").await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["uuid"], both["uuid"]);
    assert_eq!(left[0]["backupStorageRefs"].as_array().unwrap().len(), 1);
    assert!(agent.world.images.lock().unwrap().is_empty());
    assert!(agent.world.stores.lock().unwrap().is_empty(), "its directory is free again");
    assert!(other.world.has(both["uuid"].as_str().unwrap()));
    assert!(!other.world.has(here["uuid"].as_str().unwrap()));
}
