//! Small questions, over all resources.

use axum::http::Method;
use engine::args;
use serde_json::{Value, json};

use crate::config::Ports;
use crate::host::simulated::{Fleet, uuid};
use crate::testing::{Client, Cloud, sha512};

async fn login(client: &Client, kind: &str, password: &str) -> Result<Value, crate::testing::Refused> {
    let params = json!({ "username": "admin", "password": sha512(password), "loginType": kind });
    client.call(Method::PUT, "/login", json!({ "logIn": params })).await
}

#[tokio::test]
async fn things_are_called_by_their_names() {
    let cloud = Cloud::start(Ports::default()).await;
    let zone = cloud.create("/zones", json!({ "name": "north" })).await.unwrap();
    let offering = cloud.create("/disk-offerings", json!({ "name": "large", "diskSize": 1 << 30 })).await;
    let (zone, offering) = (uuid(&zone), uuid(&offering.unwrap()));
    let nothing = "0a".repeat(16);
    let path = format!("/resources/names?uuids={zone}&uuids={offering}&uuids={nothing}");
    let named = |uuid: &str, name: &str, kind: &str| json!({ "uuid": uuid, "resourceName": name, "resourceType": kind, "concreteResourceType": kind });
    let told = cloud.get(&path).await.unwrap();
    assert_eq!(
        told["inventories"],
        json!([named(&zone, "north", "ZoneVO"), named(&offering, "large", "DiskOfferingVO")])
    );
    let (_, tenant) = cloud.tenant("t").await;
    assert_eq!(tenant.get(&format!("/resources/names?uuids={offering}")).await.unwrap_err().status, 404);
    let shown = cloud.get(&format!("/zones/{zone}/info")).await.unwrap();
    assert_eq!(shown["inventory"]["name"], "north");

    let asked = "/accounts/resource/api-permissions?resourceType=ZoneVO";
    let may = async |client: &Client| client.get(asked).await.unwrap()["permissions"].clone();
    assert!(may(&cloud).await.as_array().unwrap().contains(&json!("CreateZone")));
    let tenants = may(&tenant).await;
    assert!(tenants.as_array().unwrap().contains(&json!("QueryZone")), "{tenants}");
    assert!(!tenants.as_array().unwrap().contains(&json!("CreateZone")), "{tenants}");
    cloud.get("/accounts/resource/api-permissions?resourceType=NothingVO").await.unwrap_err();

    let session = login(&cloud, "Account", "secret").await.unwrap();
    assert_eq!(session["inventory"]["accountUuid"], "36c27e8ff05c4780bf6d2fa65700f22e");
    assert_eq!(login(&cloud, "account", "wrong").await.unwrap_err().code, "ID.1000");
    assert!(login(&cloud, "ldap", "secret").await.unwrap_err().details.contains("\"account\""));
    assert_eq!(cloud.get("/meta-data/opensource").await.unwrap()["opensource"], true);
}

#[tokio::test]
async fn what_can_be_attached_is_what_is_not() {
    let fleet = Fleet::start(1).await;
    let (cloud, l2) = (&fleet.cloud, fleet.l2("lan", "eth0").await);
    let clusters = format!("/l2-networks/{l2}/cluster-candidates");
    let networks = format!("/cluster/{}/l2-candidates", fleet.cluster);
    let found = async |path: &str| -> Vec<Value> {
        cloud.list(path).await.into_iter().map(|one| one["uuid"].clone()).collect()
    };
    assert_eq!(found(&clusters).await, [json!(fleet.cluster)]);
    assert_eq!(found(&networks).await, [json!(l2)]);
    assert!(found(&format!("{networks}?start=1")).await.is_empty());
    assert!(found(&format!("{clusters}?clusterTypes=baremetal")).await.is_empty());
    fleet.attach_l2(&l2).await.unwrap();
    assert!(found(&clusters).await.is_empty() && found(&networks).await.is_empty());
}

#[tokio::test]
async fn addresses_and_services_of_a_network_are_told() {
    let fleet = Fleet::start(1).await;
    let cloud = &fleet.cloud;
    let l2 = fleet.l2("lan", "eth0").await;
    fleet.attach_l2(&l2).await.unwrap();
    let l3 =
        uuid(&cloud.create("/l3-networks", json!({ "name": "net", "l2NetworkUuid": l2 })).await.unwrap());
    let range =
        json!({ "name": "r", "startIp": "10.1.0.10", "endIp": "10.1.0.99", "netmask": "255.255.255.0" });
    cloud.create(&format!("/l3-networks/{l3}/ip-ranges"), range).await.unwrap();
    let dhcp = format!("/l3-networks/{l3}/dhcp-ip");
    assert_eq!(cloud.get(&dhcp).await.unwrap(), json!({}));
    let services = json!({ "networkServices": { "Flat": ["DHCP", "DNS"] } });
    cloud.create(&format!("/l3-networks/{l3}/network-services"), services).await.unwrap();
    let refs = format!("/l3-networks/network-services/refs?q=l3NetworkUuid={l3}");
    assert_eq!(cloud.list(&refs).await.len(), 2);

    let vm = fleet.vm("web", &fleet.hosts[0]).await;
    let nic = fleet.nic(vm, &l3, "fa:01:00:00:00:01").await;
    let (network, address) = (l3.parse().unwrap(), Some("10.1.0.50".parse().unwrap()));
    let taken = cloud.engine.db().write(move |tx| Box::pin(crate::l3::allocate(tx, network, nic, address)));
    taken.await.unwrap();
    let server = cloud.get(&dhcp).await.unwrap()["ip"].clone();
    let path = format!("/l3-networks/{l3}/ip-statistic");
    let told = cloud.get(&format!("{path}?replyWithCount=true")).await.unwrap();
    assert_eq!(told["total"], 2);
    let of = |told: &Value, ip: &Value| {
        told["ipStatistics"].as_array().unwrap().iter().find(|one| one["ip"] == *ip).cloned().unwrap()
    };
    assert_eq!(of(&told, &json!("10.1.0.50"))["vmInstanceName"], "web");
    assert_eq!(of(&told, &server)["useFor"], "DHCP");
    let some = async |query: &str| {
        cloud.get(&format!("{path}?{query}")).await.unwrap()["ipStatistics"].as_array().unwrap().len()
    };
    assert_eq!(
        (some("resourceType=VM").await, some("ip=0.50").await, some("limit=1&start=1").await),
        (1, 1, 1)
    );
    assert_eq!((some("resourceType=Vip").await, some("start=2").await), (0, 0));
    let (_, tenant) = cloud.tenant("t").await;
    assert_eq!(tenant.get(&path).await.unwrap_err().status, 404);
    let share = json!({ "shareResource": { "resourceUuids": [l3], "toPublic": true } });
    cloud.call(Method::PUT, "/accounts/resources/actions", share).await.unwrap();
    let seen = tenant.get(&path).await.unwrap();
    assert_eq!(of(&seen, &json!("10.1.0.50"))["vmInstanceName"], Value::Null);
    assert_eq!(tenant.list(&refs).await.len(), 2);
}

#[tokio::test]
async fn what_lies_on_storages_and_what_has_happened_is_listed() {
    let fleet = Fleet::start(1).await;
    let (cloud, host) = (&fleet.cloud, fleet.hosts[0].as_str());
    let params = json!({ "name": "local", "url": "/ps", "zoneUuid": fleet.zone });
    let storage = uuid(&cloud.create("/primary-storage/local-storage", params).await.unwrap());
    const CACHED: &str = "INSERT INTO image_cache (image_uuid, primary_storage_uuid, host_uuid, install_path, size) \
         VALUES ($1, $2, $3, '/ps/imagecache/i.qcow2', 7)";
    fleet.sql(CACHED, args!["0b".repeat(16), storage.as_str(), host]).await;
    let cached = cloud.list(&format!("/primary-storage/imagecache?q=hostUuid={host}")).await;
    let url = format!("file:///ps/imagecache/i.qcow2;hostUuid://{host}");
    assert_eq!((&cached[0]["installUrl"], &cached[0]["size"]), (&json!(url), &json!(7)));
    assert!(cloud.list("/primary-storage/local-storage/resource-refs").await.is_empty());
    let events = cloud.list(&format!("/eventlogs?q=resourceUuid={host}&q=category~=/host/%25&sort=id")).await;
    assert!(events.iter().any(|event| event["category"] == "/host/status/changed"), "{events:?}");

    let path = format!("/hosts/kvm/{host}/actions");
    let params = json!({ "name": "renamed", "username": "op", "password": "word", "sshPort": 2222 });
    let shown = cloud.act(&path, "updateKVMHost", params).await.unwrap();
    assert_eq!(
        (&shown["name"], &shown["username"], &shown["sshPort"]),
        (&json!("renamed"), &json!("op"), &json!(2222))
    );
    let kept = cloud.act(&path, "updateKVMHost", json!({ "description": "d" })).await.unwrap();
    assert_eq!((&kept["username"], &kept["description"]), (&json!("op"), &json!("d")));
}
