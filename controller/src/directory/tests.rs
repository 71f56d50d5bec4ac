use axum::http::Method;
use serde_json::{Value, json};

use crate::config::Ports;
use crate::testing::{Client, Cloud, Refused};

async fn zone(cloud: &Cloud) -> Value {
    cloud.create("/zones", json!({ "name": "z" })).await.unwrap()["uuid"].clone()
}

async fn make(client: &Client, zone: &Value, name: &str, parent: &Value) -> Result<Value, Refused> {
    let mut params = json!({ "name": name, "zoneUuid": zone, "type": "InstanceOfferingVO" });
    if !parent.is_null() {
        params["parentUuid"] = parent.clone();
    }
    client.create("/create/directory", params).await
}

async fn offering(client: &Client) -> Value {
    let params = json!({ "name": "small", "cpuNum": 1, "memorySize": 1 << 30 });
    client.create("/instance-offerings", params).await.unwrap()["uuid"].clone()
}

async fn shift(client: &Client, directory: &Value, into: &Value) -> Result<Value, Refused> {
    let params = json!({ "directoryUuid": directory, "targetParentUuid": into });
    client.act("/move/directory", "moveDirectory", params).await
}

#[tokio::test]
async fn directories_lie_in_each_other_and_not_in_themselves() {
    let cloud = Cloud::start(Ports::default()).await;
    let zone = zone(&cloud).await;
    let a = make(&cloud, &zone, "a", &Value::Null).await.unwrap()["uuid"].clone();
    let b = make(&cloud, &zone, "b", &a).await.unwrap();
    assert_eq!((&b["groupName"], &b["rootDirectoryUuid"]), (&json!("a/b"), &a));
    let b = b["uuid"].clone();
    let c = make(&cloud, &zone, "c", &b).await.unwrap()["uuid"].clone();
    for (name, parent, why) in [("b", &a, "already"), ("x/y", &a, "slash"), (" ", &a, "\"name\"")] {
        let refused = make(&cloud, &zone, name, parent).await.unwrap_err();
        assert!(refused.details.contains(why), "{name}: {}", refused.details);
    }
    assert!(shift(&cloud, &a, &c).await.unwrap_err().details.contains("lies in it"));
    assert!(shift(&cloud, &a, &a).await.unwrap_err().details.contains("lies in it"));
    let moved = shift(&cloud, &c, &a).await.unwrap();
    assert_eq!(moved["groupName"], "a/c");
    let named = cloud.act("/update/directory", "updateDirectory", json!({ "uuid": a, "name": "top" })).await;
    assert_eq!(named.unwrap()["name"], "top");
    assert_eq!(cloud.list("/directories?q=groupName=top/c").await.len(), 1);
    let mut deepest = c.clone();
    for level in 3..=8 {
        deepest = make(&cloud, &zone, &level.to_string(), &deepest).await.unwrap()["uuid"].clone();
    }
    assert!(make(&cloud, &zone, "9", &deepest).await.unwrap_err().details.contains("at most 8"));
    assert!(shift(&cloud, &c, &b).await.unwrap_err().details.contains("at most 8"));

    cloud.delete(&format!("/delete/directory?uuid={}", a.as_str().unwrap())).await.unwrap();
    assert!(cloud.list("/directories").await.is_empty());
}

#[tokio::test]
async fn a_resource_is_in_one_directory_and_outlives_it() {
    let cloud = Cloud::start(Ports::default()).await;
    let (zone, small) = (zone(&cloud).await, offering(&cloud).await);
    let a = make(&cloud, &zone, "a", &Value::Null).await.unwrap()["uuid"].clone();
    let b = make(&cloud, &zone, "b", &Value::Null).await.unwrap()["uuid"].clone();
    let add = async |directory: &Value, resource: &Value| {
        let params = json!({ "directoryUuid": directory, "resourceUuids": [resource] });
        cloud.create("/add/resources/directory", params).await
    };
    assert_eq!(add(&a, &small).await.unwrap()["resourceUuids"], json!([small]));
    add(&a, &small).await.unwrap();
    assert!(add(&b, &small).await.unwrap_err().details.contains("is in directory \"a\""));
    assert!(add(&b, &zone).await.unwrap_err().details.contains("is for InstanceOfferingVO"));
    let params = json!({ "directoryUuid": b, "resourceUuids": [small] });
    let moved = cloud.act("/move/resources/directory", "moveResourcesToDirectory", params).await.unwrap();
    assert_eq!(moved["resourceUuids"], json!([small]));
    let held = cloud.list("/directories?sort=name").await;
    assert_eq!((&held[0]["resourceUuids"], &held[1]["resourceUuids"]), (&json!([]), &json!([small])));

    let (b, resource) = (b.as_str().unwrap(), small.as_str().unwrap());
    let path = format!("/remove/resources/directory?directoryUuid={b}&resourceUuids={resource}");
    cloud.delete(&path).await.unwrap();
    assert_eq!(cloud.delete(&path).await.unwrap_err().code, "SYS.1003");
    add(&json!(b), &small).await.unwrap();
    cloud.delete(&format!("/delete/directory?uuid={b}")).await.unwrap();
    assert_eq!(cloud.list("/instance-offerings").await.len(), 1);
    add(&a, &small).await.unwrap();
    cloud.delete(&format!("/instance-offerings/{resource}")).await.unwrap();
    assert_eq!(cloud.list("/directories").await[0]["resourceUuids"], json!([]));
    cloud.delete(&format!("/zones/{}", zone.as_str().unwrap())).await.unwrap();
    assert!(cloud.list("/directories").await.is_empty());
}

#[tokio::test]
async fn an_account_sorts_its_own_things_alone() {
    let cloud = Cloud::start(Ports::default()).await;
    let zone = zone(&cloud).await;
    let (_, tenant) = cloud.tenant("t").await;
    let theirs = make(&cloud, &zone, "a", &Value::Null).await.unwrap()["uuid"].clone();
    let mine = make(&tenant, &zone, "a", &Value::Null).await.unwrap()["uuid"].clone();
    assert_eq!(tenant.list("/directories").await.len(), 1);
    assert_eq!(make(&tenant, &zone, "b", &theirs).await.unwrap_err().status, 404);
    assert_eq!(shift(&tenant, &mine, &theirs).await.unwrap_err().status, 404);
    let foreign = offering(&cloud).await;
    let params = json!({ "params": { "directoryUuid": mine, "resourceUuids": [foreign] } });
    assert_eq!(tenant.call(Method::POST, "/add/resources/directory", params).await.unwrap_err().status, 404);
}
