use serde_json::{Value, json};

use crate::config::Ports;
use crate::testing::Cloud;

fn small() -> Value {
    json!({ "name": "small", "cpuNum": 2, "memorySize": 1 << 30 })
}

#[tokio::test]
async fn an_offering_lives_from_its_creation_to_its_deletion() {
    let cloud = Cloud::start(Ports::default()).await;
    let made = cloud.create("/instance-offerings", small()).await.unwrap();
    assert_eq!((&made["cpuNum"], &made["memorySize"]), (&json!(2), &json!(1 << 30)));
    assert_eq!(
        (&made["cpuSpeed"], &made["reservedMemorySize"], &made["sortKey"]),
        (&json!(0), &json!(0), &json!(0))
    );
    assert_eq!((&made["type"], &made["state"]), (&json!("UserVm"), &json!("Enabled")));
    assert_eq!(made["allocatorStrategy"], super::ALLOCATOR_STRATEGY);

    let path = format!("/instance-offerings/{}", made["uuid"].as_str().unwrap());
    let actions = format!("{path}/actions");
    let updated = cloud.act(&actions, "updateInstanceOffering", json!({ "name": "tiny" })).await.unwrap();
    assert_eq!((&updated["name"], &updated["cpuNum"]), (&json!("tiny"), &json!(2)));
    let disabled = cloud.act(&actions, "changeInstanceOfferingState", json!({ "stateEvent": "disable" }));
    assert_eq!(disabled.await.unwrap()["state"], "Disabled");
    assert_eq!(cloud.list("/instance-offerings?q=name=tiny&q=memorySize>1000").await.len(), 1);
    cloud.delete(&path).await.unwrap();
    assert_eq!(cloud.get(&path).await.unwrap_err().status, 404);
}

#[tokio::test]
async fn an_offering_that_no_vm_could_have_is_refused() {
    let cloud = Cloud::start(Ports::default()).await;
    for (name, value, why) in [
        ("cpuNum", json!(0), "between 1 and 1024"),
        ("cpuNum", json!(-1), "between 1 and 1024"),
        ("memorySize", json!((16 << 20) - 1), "between 16777216"),
        ("reservedMemorySize", json!((1 << 30) + 1), "\"reservedMemorySize\""),
        ("allocatorStrategy", json!("Best"), super::ALLOCATOR_STRATEGY),
        ("type", json!("VirtualRouter"), "UserVm"),
        ("name", json!(" "), "\"name\""),
        ("speed", json!(1), "speed"),
    ] {
        let mut params = small();
        params[name] = value;
        let refused = cloud.create("/instance-offerings", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{name}: {}", refused.details);
    }
    assert!(cloud.list("/instance-offerings").await.is_empty());
}
