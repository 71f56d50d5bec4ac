use engine::codes;
use serde_json::{Value, json};

use crate::backup_storage::simulated::{Storage, cloud, storages};
use crate::testing::Cloud;

async fn names(cloud: &Cloud, path: &str) -> Vec<Value> {
    cloud.list(path).await.into_iter().map(|one| one["name"].clone()).collect()
}

#[tokio::test]
async fn images_go_with_the_networks_of_the_zones_that_their_storages_are_attached_to() {
    let agent = Storage::start(([127, 0, 0, 1], 0).into()).await;
    let cloud = cloud(agent.port()).await;
    let (zone, stores) = storages(&cloud, &["127.0.0.1"]).await;
    let image = json!({ "name": "web", "url": "http://example.org/i", "backupStorageUuids": [stores[0]] });
    let image = cloud.create("/images", image).await.unwrap()["uuid"].as_str().unwrap().to_owned();
    let other = cloud.create("/zones", json!({ "name": "other" })).await.unwrap();
    let mut networks = Vec::new();
    for (zone, name) in [(zone.as_str(), "here"), (other["uuid"].as_str().unwrap(), "there")] {
        let l2 = json!({ "name": name, "zoneUuid": zone, "physicalInterface": "eth1" });
        let l2 = cloud.create("/l2-networks/no-vlan", l2).await.unwrap();
        let l3 = json!({ "name": name, "l2NetworkUuid": l2["uuid"] });
        let l3 = cloud.create("/l3-networks", l3).await.unwrap();
        networks.push(l3["uuid"].as_str().unwrap().to_owned());
    }
    let other = other["uuid"].as_str().unwrap();
    let images = |zone: &str, rest: &str| format!("/images-l3networks/dependencies?zoneUuid={zone}&{rest}");
    let on = |l3: &str| format!("l3NetworkUuids={l3}");
    let from = format!("imageUuid={image}");
    assert_eq!(names(&cloud, &images(&zone, &on(&networks[0]))).await, ["web"]);
    assert!(names(&cloud, &images(other, &on(&networks[1]))).await.is_empty());
    assert!(names(&cloud, &images(&zone, &on(&networks[1]))).await.is_empty(), "it is in another zone");
    assert_eq!(names(&cloud, &images(&zone, &from)).await, ["here"]);
    assert!(names(&cloud, &images(other, &from)).await.is_empty());
    let refused = cloud.get(&images(other, &format!("{from}&raiseException=true"))).await.unwrap_err();
    assert_eq!(refused.code, codes::OPERATION.0);
    let refused = cloud.get(&images(&zone, "raiseException=false")).await.unwrap_err();
    assert_eq!(refused.code, codes::INVALID_ARGUMENT.0);

    let path = format!("/backupStorage-l3networks/dependencies?zoneUuid={zone}");
    assert_eq!(names(&cloud, &format!("{path}&{}", on(&networks[0]))).await.len(), 1);
    assert_eq!(names(&cloud, &format!("{path}&backupStorageUuid={}", stores[0])).await, ["here"]);
    let told = cloud.get("/primary-storage/allocators/strategies").await.unwrap();
    assert_eq!(told["strategies"], json!(["DefaultPrimaryStorageAllocationStrategy"]));
}
