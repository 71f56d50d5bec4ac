use engine::args;
use serde_json::json;

use crate::host::simulated::Fleet;

const GIB: i64 = 1 << 30;

#[tokio::test]
async fn capacities_are_added_up() {
    const FACTS: &str = "UPDATE host SET cpu_num = 4, total_memory = $1";
    let fleet = Fleet::start(2).await;
    let cloud = &fleet.cloud;
    fleet.sql(FACTS, args![8 * GIB]).await;
    const CLAIM: &str =
        "INSERT INTO host_claim (vm_instance_uuid, host_uuid, cpu, memory) VALUES ($1, $2, 3, $3)";
    let vm = fleet.vm("vm", &fleet.hosts[0]).await;
    fleet.sql(CLAIM, args![vm, fleet.hosts[0].as_str(), GIB]).await;

    let whole = json!([80, 77, 16 * GIB, 15 * GIB, 8]);
    let members = ["totalCpu", "availableCpu", "totalMemory", "availableMemory", "managedCpuNum"];
    let zones = format!("zoneUuids={}", fleet.zone);
    let clusters = format!("clusterUuids={}", fleet.cluster);
    let hosts = format!("hostUuids={}&hostUuids={}", fleet.hosts[0], fleet.hosts[1]);
    for (asked, kind, parts) in [
        ("all=true", "ZoneVO", 1),
        (&zones, "ZoneVO", 1),
        (&clusters, "ClusterVO", 1),
        (&hosts, "HostVO", 2),
        (&format!("{zones}&hypervisorType=KVM"), "ZoneVO", 1),
    ] {
        let told = cloud.get(&format!("/hosts/capacities/cpu-memory?{asked}")).await.unwrap();
        let sums: Vec<_> = members.iter().map(|member| told[*member].clone()).collect();
        assert_eq!((json!(sums), &told["resourceType"]), (whole.clone(), &json!(kind)), "{asked}");
        assert_eq!(told["capacityData"].as_array().unwrap().len(), parts, "{asked}");
    }
    let esx = cloud.get("/hosts/capacities/cpu-memory?all=true&hypervisorType=ESX").await.unwrap();
    assert_eq!(esx["totalCpu"], 0);
    let nothing = cloud.get("/hosts/capacities/cpu-memory").await.unwrap_err();
    assert!(nothing.details.contains("\"all\""), "{}", nothing.details);
}

#[tokio::test]
async fn storages_are_added_up_too() {
    let fleet = Fleet::start(2).await;
    let cloud = &fleet.cloud;
    let params = json!({ "name": "local", "url": "/ps", "zoneUuid": fleet.zone });
    let storage = cloud.create("/primary-storage/local-storage", params).await.unwrap()["uuid"].clone();
    let storage = storage.as_str().unwrap();
    cloud.create(&format!("/clusters/{}/primary-storage/{storage}", fleet.cluster), json!({})).await.unwrap();
    for asked in [
        "all=true".to_owned(),
        format!("zoneUuids={}", fleet.zone),
        format!("clusterUuids={}", fleet.cluster),
        format!("primaryStorageUuids={storage}"),
    ] {
        let told = cloud.get(&format!("/primary-storage/capacities?{asked}")).await.unwrap();
        assert_eq!(
            (&told["totalCapacity"], &told["availablePhysicalCapacity"]),
            (&json!(2_i64 << 40), &json!(2_i64 << 40)),
            "{asked}"
        );
    }
    let none = cloud.get("/backup-storage/capacities?all=true").await.unwrap();
    assert_eq!((&none["totalCapacity"], &none["capacityData"]), (&json!(0), &json!([])));

    let here = cloud.get(&format!("/primary-storage/local-storage/{storage}/capacities")).await.unwrap();
    assert_eq!(here["inventories"].as_array().unwrap().len(), 2);
    assert_eq!(here["inventories"][0]["totalCapacity"], json!(1_i64 << 40));
    let path = format!("/primary-storage/local-storage/{storage}/capacities?hostUuid={}", fleet.hosts[1]);
    let one = cloud.get(&path).await.unwrap();
    assert_eq!(one["inventories"][0]["hostUuid"], json!(fleet.hosts[1]));

    // What a host has is asked again, and a host that fails says so.
    const WRONG: &str = "UPDATE primary_storage_host SET total_capacity = 1";
    for action in ["syncPrimaryStorageCapacity", "reconnectPrimaryStorage"] {
        fleet.sql(WRONG, args![]).await;
        let shown =
            cloud.act(&format!("/primary-storage/{storage}/actions"), action, json!({})).await.unwrap();
        assert_eq!(shown["totalCapacity"], json!(2_i64 << 40), "{action}");
    }
}
