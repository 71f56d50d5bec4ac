use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::backup_storage::simulated::{Storage, cloud, storages};
use crate::config::Ports;
use crate::testing::{Client, Cloud, until};

/// A long job that was submitted, when it has ended.
async fn ended(client: &Client, uuid: &Value) -> Value {
    let path = format!("/longjobs/{}", uuid.as_str().unwrap());
    let open = async |client: &Client| client.list(&path).await.remove(0)["state"] == "Running";
    until("the long job has ended", async || !open(client).await).await;
    client.list(&path).await.remove(0)
}

async fn submit(client: &Client, message: &str, data: Value) -> Value {
    let params = json!({ "jobName": message, "jobData": data.to_string() });
    client.create("/longjobs", params).await.unwrap()
}

#[tokio::test]
async fn a_long_job_does_what_its_message_says_and_can_be_run_again() {
    let cloud = Cloud::start(Ports::default()).await;
    let data = json!({ "name": "z", "session": { "uuid": "x" }, "description": null, "timeout": 5 });
    let begun = submit(&cloud, "APICreateZoneMsg", data).await;
    assert_eq!(begun["name"], "APICreateZoneMsg");
    let done = ended(&cloud, &begun["uuid"]).await;
    assert_eq!(done["state"], "Succeeded", "{done}");
    let result: Value = serde_json::from_str(done["jobResult"].as_str().unwrap()).unwrap();
    let zones = cloud.list("/zones").await;
    assert_eq!((zones.len(), &zones[0]["uuid"]), (1, &result["inventory"]["uuid"]));
    let polled = cloud.get(&format!("/api-jobs/{}", done["apiId"].as_str().unwrap())).await.unwrap();
    assert_eq!(polled["inventory"]["uuid"], zones[0]["uuid"]);

    let actions = format!("/longjobs/{}/actions", begun["uuid"].as_str().unwrap());
    let late = cloud.act(&actions, "cancelLongJob", json!({})).await.unwrap_err();
    assert!(late.details.contains("is Succeeded"), "{}", late.details);
    cloud.act(&actions, "rerunLongJob", json!({})).await.unwrap();
    assert_eq!(ended(&cloud, &begun["uuid"]).await["state"], "Succeeded");
    assert_eq!(cloud.list("/zones").await.len(), 2);
    let named = cloud.act(&actions, "updateLongJob", json!({ "name": "twice" })).await.unwrap();
    assert_eq!(named["name"], "twice");
    cloud.delete(&format!("/longjobs/{}", begun["uuid"].as_str().unwrap())).await.unwrap();
    assert!(cloud.list("/longjobs").await.is_empty());
}

#[tokio::test]
async fn a_long_job_that_fails_tells_why() {
    let cloud = Cloud::start(Ports::default()).await;
    let begun = submit(&cloud, "APICreateZoneMsg", json!({ "name": " " })).await;
    let failed = ended(&cloud, &begun["uuid"]).await;
    assert_eq!(failed["state"], "Failed", "{failed}");
    assert!(failed["jobResult"].as_str().unwrap().contains("1 to 255 characters"), "{failed}");

    for (message, data, why) in [
        ("APICreateNothingMsg", "{}", "there is no call"),
        ("APIQueryZoneMsg", "{}", "there is no call"),
        ("APISubmitLongJobMsg", "{}", "cannot be a long job"),
        ("APIAddKVMHostMsg", "{}", "\"password\""),
        ("APICreateZoneMsg", "[]", "must be a JSON object"),
        ("APICreateZoneMsg", r#"{"name":"z","colour":"red"}"#, "colour"),
    ] {
        let params = json!({ "jobName": message, "jobData": data });
        let refused = cloud.create("/longjobs", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{message} {data}: {}", refused.details);
    }
    assert_eq!(cloud.list("/longjobs").await.len(), 1);
}

#[tokio::test]
async fn nobody_does_by_a_long_job_what_he_may_not_call() {
    let cloud = Cloud::start(Ports::default()).await;
    let (_, tenant) = cloud.tenant("mallory").await;
    let offering = json!({ "name": "mine", "diskSize": 1 << 30 });
    let mine = submit(&tenant, "APICreateDiskOfferingMsg", offering).await;
    assert_eq!(ended(&tenant, &mine["uuid"]).await["state"], "Succeeded");
    assert_eq!(tenant.list("/disk-offerings").await.len(), 1);

    let theirs = cloud.create("/disk-offerings", json!({ "name": "theirs", "diskSize": 1 << 30 })).await;
    let theirs = theirs.unwrap()["uuid"].clone();
    for (message, data) in [
        ("APICreateZoneMsg", json!({ "name": "z" })),
        ("APIDeleteDiskOfferingMsg", json!({ "uuid": theirs })),
    ] {
        let params = json!({ "jobName": message, "jobData": data.to_string() });
        tenant.create("/longjobs", params).await.unwrap_err();
    }
    assert!(cloud.list("/zones").await.is_empty());
    assert_eq!(cloud.list("/disk-offerings").await.len(), 2);
    let own = submit(&cloud, "APICreateZoneMsg", json!({ "name": "z" })).await;
    assert_eq!(tenant.list("/longjobs").await.len(), 1);
    let path = format!("/longjobs/{}/actions", own["uuid"].as_str().unwrap());
    assert_eq!(tenant.act(&path, "rerunLongJob", json!({})).await.unwrap_err().status, 404);
}

#[tokio::test]
async fn a_cancelled_long_job_leaves_nothing() {
    let agent = Storage::start(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let cloud = cloud(agent.port()).await;
    let (_, storages) = storages(&cloud, &["127.0.0.1"]).await;
    agent.world.let_through(false);
    let data = json!({ "name": "web", "url": "https://example.org/i", "backupStorageUuids": storages,
        "mediaType": "RootVolumeTemplate", "format": "qcow2" });
    let begun = submit(&cloud, "APIAddImageMsg", data).await;
    until("the download has begun", async || !agent.world.orders.lock().unwrap().is_empty()).await;
    let path = format!("/longjobs/{}", begun["uuid"].as_str().unwrap());
    let running = cloud.list(&path).await.remove(0);
    assert_eq!(running["state"], "Running");
    assert!(running["managementNodeUuid"].is_string(), "{running}");
    let at_work = cloud.delete(&path).await.unwrap_err();
    assert!(at_work.details.contains("cancel it first"), "{}", at_work.details);

    let cancelled = cloud.act(&format!("{path}/actions"), "cancelLongJob", json!({})).await.unwrap();
    assert_eq!(cancelled["state"], "Canceled", "{cancelled}");
    assert!(cloud.list("/images").await.is_empty());
    agent.world.let_through(true);
    cloud.act(&format!("{path}/actions"), "rerunLongJob", json!({})).await.unwrap();
    assert_eq!(ended(&cloud, &begun["uuid"]).await["state"], "Succeeded");
    assert_eq!(cloud.list("/images").await.len(), 1);
}
