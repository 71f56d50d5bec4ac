use axum::http::Method;
use engine::args;
use serde_json::{Value, json};

use crate::config::Ports;
use crate::host::simulated::{Fleet, uuid};
use crate::testing::{Cloud, Refused};

async fn cloud() -> Cloud {
    Cloud::start(Ports::default()).await
}

async fn zone(cloud: &Cloud, name: &str, beside: Value) -> Result<Value, Refused> {
    let mut body = json!({ "params": { "name": name } });
    body.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
    Ok(cloud.call(Method::POST, "/zones", body).await?["inventory"].take())
}

fn names(list: &[Value]) -> Vec<&str> {
    list.iter().map(|one| one["name"].as_str().unwrap()).collect()
}

fn tags(list: &[Value]) -> Vec<&str> {
    list.iter().map(|one| one["tag"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn tags_that_come_with_a_call_are_on_what_it_makes() {
    let cloud = cloud().await;
    let made = zone(&cloud, "a", json!({ "userTags": ["prod", "db"], "systemTags": [] })).await.unwrap();
    zone(&cloud, "b", json!({ "userTags": ["prod"] })).await.unwrap();
    zone(&cloud, "c", json!({})).await.unwrap();
    let shown = cloud.list(&format!("/user-tags?q=resourceUuid={}&sort=tag", uuid(&made))).await;
    assert_eq!(tags(&shown), ["db", "prod"]);
    assert_eq!((&shown[0]["type"], &shown[0]["resourceType"]), (&json!("User"), &json!("ZoneVO")));
    for (asked, expected) in [
        ("__userTag__=prod", vec!["a", "b"]),
        ("__userTag__!=db", vec!["b", "c"]),
        ("__userTag__?=db,x", vec!["a"]),
        ("__userTag__!?=db,prod", vec!["c"]),
        ("__userTag__~=PRO%25", vec!["a", "b"]),
        ("__userTag__!~=pro%25", vec!["c"]),
        ("__userTag__ is null", vec!["c"]),
        ("__userTag__ not null", vec!["a", "b"]),
        ("__systemTag__=x", vec![]),
    ] {
        let found = cloud.list(&format!("/zones?sort=name&q={}", asked.replace(' ', "%20"))).await;
        assert_eq!(names(&found), expected, "{asked}");
    }
}

#[tokio::test]
async fn tags_that_there_cannot_be_are_refused_before_the_call_is_acknowledged() {
    let cloud = cloud().await;
    for (beside, told) in [
        (json!({ "systemTags": ["nonsense::1"] }), "is of no pattern of a Zone; there are none"),
        (json!({ "userTags": [""] }), "must not be empty"),
        (json!({ "userTags": "prod" }), "must be a list of texts"),
        (json!({ "userTags": [7] }), "must be a list of texts"),
    ] {
        let refused = zone(&cloud, "a", beside.clone()).await.unwrap_err();
        assert_eq!(refused.status, 400, "{beside}: {refused:?}");
        assert!(refused.details.contains(told), "{beside}: {refused:?}");
    }
    assert!(cloud.list("/zones").await.is_empty());
    let made = uuid(&zone(&cloud, "a", json!({})).await.unwrap());
    let body = json!({ "updateZone": { "name": "b" }, "userTags": ["x"] });
    let refused = cloud.call(Method::PUT, &format!("/zones/{made}/actions"), body).await.unwrap_err();
    assert!(refused.details.contains("makes nothing"), "{refused:?}");
}

#[tokio::test]
async fn a_tag_goes_with_its_resource_and_does_not_come_back_with_its_uuid() {
    let cloud = cloud().await;
    let made = uuid(&zone(&cloud, "a", json!({ "userTags": ["old"] })).await.unwrap());
    cloud.delete(&format!("/zones/{made}")).await.unwrap();
    const LEFT: &str = "SELECT count(*) FROM user_tag";
    assert_eq!(cloud.engine.db().read().await.unwrap().number(LEFT, args![]).await.unwrap(), 0);
    // One that went without saying so.
    const ORPHAN: &str =
        "INSERT INTO user_tag VALUES ('0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a0a', $1, 'ZoneVO', 'old', 1, 1)";
    let lost = made.clone();
    let entered = cloud.engine.db().write(move |tx| Box::pin(tx.exec(ORPHAN, args![lost])));
    entered.await.unwrap();
    assert!(cloud.list("/user-tags").await.is_empty(), "nobody is shown it");
    let again = json!({ "params": { "name": "b", "resourceUuid": made }, "userTags": ["new"] });
    cloud.call(Method::POST, "/zones", again).await.unwrap();
    assert_eq!(tags(&cloud.list("/user-tags").await), ["new"]);
    let lost = "ffffffffffffffffffffffffffffffff".to_owned();
    cloud.engine.db().write(move |tx| Box::pin(tx.exec(ORPHAN, args![lost]))).await.unwrap();
    engine::tag::drop_orphans(&cloud.engine).await.unwrap();
    assert_eq!(cloud.engine.db().read().await.unwrap().number(LEFT, args![]).await.unwrap(), 1);
}

#[tokio::test]
async fn users_put_tags_on_and_take_them_off() {
    let cloud = cloud().await;
    let made = uuid(&zone(&cloud, "a", json!({})).await.unwrap());
    let tag = json!({ "resourceType": "ZoneVO", "resourceUuid": made, "tag": "prod" });
    let first = cloud.create("/user-tags", tag.clone()).await.unwrap();
    let second = cloud.create("/user-tags", tag).await.unwrap();
    assert_eq!(first, second, "the same twice is one");
    cloud.delete(&format!("/tags/{}", uuid(&first))).await.unwrap();
    assert!(cloud.list("/user-tags").await.is_empty());
    let gone = cloud.delete(&format!("/tags/{}", uuid(&first))).await.unwrap_err();
    assert!(gone.details.contains("there is no tag"), "{gone:?}");
    for (kind, of, told) in [
        ("NoSuchVO", made.as_str(), "must be one of"),
        ("ZoneVO", "ffffffffffffffffffffffffffffffff", "there is no Zone"),
        ("ClusterVO", made.as_str(), "there is no Cluster"),
    ] {
        let tag = json!({ "resourceType": kind, "resourceUuid": of, "tag": "x" });
        let refused = cloud.create("/user-tags", tag).await.unwrap_err();
        assert!(refused.details.contains(told), "{kind}: {refused:?}");
    }
}

#[tokio::test]
async fn a_system_tag_is_of_a_declared_pattern_and_single_where_it_must_be() {
    let fleet = Fleet::start(1).await;
    let (cloud, vm) = (&fleet.cloud, fleet.vm("web", &fleet.hosts[0]).await);
    let put = async |tag: &str| {
        let tag = json!({ "resourceType": "VmInstanceVO", "resourceUuid": vm, "tag": tag });
        cloud.create("/system-tags", tag).await
    };
    for (tag, told) in [
        ("hostnam::db", "there are hostname::{hostname}"),
        ("hostname::-db", "letters, digits"),
        ("staticIp::ffffffffffffffffffffffffffffffff::10.0.0.1", "give it with that call"),
    ] {
        let refused = put(tag).await.unwrap_err();
        assert!(refused.details.contains(told), "{tag}: {refused:?}");
    }
    let tag = put("hostname::db").await.unwrap();
    assert_eq!((&tag["type"], &tag["inherent"]), (&json!("System"), &json!(false)));
    assert!(put("hostname::other").await.unwrap_err().details.contains("update it"));
    let path = format!("/system-tags/{}/actions", uuid(&tag));
    let changed = cloud.act(&path, "updateSystemTag", json!({ "tag": "hostname::other" })).await.unwrap();
    assert_eq!((&changed["tag"], &changed["uuid"]), (&json!("hostname::other"), &tag["uuid"]));
    assert_eq!(cloud.list("/vm-instances?q=__systemTag__=hostname::other").await.len(), 1);
    let several = json!({ "params": { "resourceType": "VmInstanceVO", "tags": ["hostname::third"] } });
    let path = format!("/system-tags/{vm}/tags");
    assert!(cloud.call(Method::POST, &path, several.clone()).await.is_err());
    cloud.delete(&format!("/tags/{}", uuid(&tag))).await.unwrap();
    let made = cloud.call(Method::POST, &path, several).await.unwrap();
    assert_eq!(made["inventories"][0]["tag"], "hostname::third");
}

#[tokio::test]
async fn what_a_host_tells_about_itself_is_read_and_not_changed() {
    let fleet = Fleet::start(1).await;
    let asked = format!("/system-tags?q=resourceUuid={}&q=inherent=true&sort=tag", fleet.hosts[0]);
    let told = fleet.cloud.list(&asked).await;
    assert_eq!(tags(&told), ["libvirt::version::9.0.0", "qemu-img::version::7.2.0"]);
    let refused = fleet.cloud.delete(&format!("/tags/{}", uuid(&told[0]))).await.unwrap_err();
    assert!(refused.details.contains("cloud's own"), "{refused:?}");
    let path = format!("/system-tags/{}/actions", uuid(&told[0]));
    assert!(
        fleet.cloud.act(&path, "updateSystemTag", json!({ "tag": "libvirt::version::1" })).await.is_err()
    );
    let found = fleet.cloud.list("/hosts?q=__systemTag__~=qemu-img::version::7%25").await;
    assert_eq!(found.len(), 1);
    fleet.cloud.act(&format!("/hosts/{}/actions", fleet.hosts[0]), "reconnectHost", json!({})).await.unwrap();
    assert_eq!(fleet.cloud.list(&asked).await, told, "telling the same again changes nothing");
}
