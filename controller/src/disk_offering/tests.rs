use serde_json::json;

use crate::config::Ports;
use crate::testing::Cloud;

#[tokio::test]
async fn a_disk_offering_lives_from_its_creation_to_its_deletion() {
    let cloud = Cloud::start(Ports::default()).await;
    let params = json!({ "name": "large", "diskSize": 1_i64 << 40 });
    let made = cloud.create("/disk-offerings", params).await.unwrap();
    assert_eq!((&made["diskSize"], &made["state"]), (&json!(1_i64 << 40), &json!("Enabled")));
    assert_eq!((&made["type"], &made["sortKey"]), (&json!("zstack"), &json!(0)));

    let path = format!("/disk-offerings/{}", made["uuid"].as_str().unwrap());
    let actions = format!("{path}/actions");
    let updated = cloud.act(&actions, "updateDiskOffering", json!({ "name": "huge" })).await.unwrap();
    assert_eq!(updated["name"], "huge");
    let disabled = cloud.act(&actions, "changeDiskOfferingState", json!({ "stateEvent": "disable" }));
    assert_eq!(disabled.await.unwrap()["state"], "Disabled");
    assert_eq!(cloud.list("/disk-offerings?q=name=huge&q=diskSize>1000").await.len(), 1);
    cloud.delete(&path).await.unwrap();
    assert_eq!(cloud.get(&path).await.unwrap_err().status, 404);
}

#[tokio::test]
async fn a_disk_offering_that_no_volume_could_have_is_refused() {
    let cloud = Cloud::start(Ports::default()).await;
    for (name, value, why) in [
        ("diskSize", json!(0), "\"diskSize\""),
        ("type", json!("other"), "zstack"),
        ("allocationStrategy", json!("Best"), "DefaultPrimaryStorage"),
        ("name", json!(""), "\"name\""),
    ] {
        let mut params = json!({ "name": "small", "diskSize": 1 << 30 });
        params[name] = value;
        let refused = cloud.create("/disk-offerings", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{name}: {}", refused.details);
    }
    assert!(cloud.list("/disk-offerings").await.is_empty());
}
