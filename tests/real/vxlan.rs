//! Guests on two hosts, on a network that is nowhere but in tunnels between these.

use cumulet_tests::cloud::{Cloud, Vm};
use hyper::Method;
use serde_json::{Value, json};

use super::cloud::cloud;

fn text(made: &Value, pointer: &str) -> String {
    made.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {made}")).to_owned()
}

async fn make(cloud: &Cloud, path: &str, params: Value) -> Value {
    cloud.api().create(path, params).await.unwrap_or_else(|error| panic!("{path}: {error:#}"))
}

/// The hosts' names with their uuids, and the network of their addresses.
async fn hosts(cloud: &Cloud) -> (Vec<(String, String)>, String) {
    let found = cloud.api().get("/hosts?sort=%2Bname").await.unwrap();
    let found = found["inventories"].as_array().unwrap();
    let net = text(&found[0], "/managementIp");
    let named = found.iter().map(|host| (text(host, "/name"), text(host, "/uuid"))).collect();
    (named, format!("{}.0/24", net.rsplit_once('.').unwrap().0))
}

/// A network of a new pool, with addresses that its guests get.
async fn network(cloud: &Cloud, net: &str) -> (String, String) {
    let site = cloud.site();
    let pool =
        make(cloud, "/l2-networks/vxlan-pool", json!({ "name": "overlay", "zoneUuid": site.zone })).await;
    let pool = text(&pool, "/uuid");
    let ranges = format!("/l2-networks/vxlan-pool/{pool}/vni-ranges");
    make(cloud, &ranges, json!({ "name": "high", "startVni": 7000, "endVni": 7009 })).await;
    let tag = format!("l2NetworkUuid::{pool}::clusterUuid::{}::cidr::{{{net}}}", site.cluster);
    let place = format!("/l2-networks/{pool}/clusters/{}", site.cluster);
    let body = json!({ "params": {}, "systemTags": [tag] });
    cloud.api().call(Method::POST, &place, body).await.unwrap();
    let l2 = make(cloud, "/l2-networks/vxlan", json!({ "name": "blue", "poolUuid": pool })).await;
    let l3 = make(cloud, "/l3-networks", json!({ "name": "blue", "l2NetworkUuid": l2["uuid"] })).await;
    let l3 = text(&l3, "/uuid");
    let range = json!({ "name": "r", "startIp": "192.168.77.10", "endIp": "192.168.77.60",
        "netmask": "255.255.255.0", "gateway": "192.168.77.1" });
    make(cloud, &format!("/l3-networks/{l3}/ip-ranges"), range).await;
    let services = json!({ "networkServices": { "Flat": ["DHCP"] } });
    make(cloud, &format!("/l3-networks/{l3}/network-services"), services).await;
    (pool, l3)
}

async fn guest(cloud: &Cloud, name: &str, host: &str, l3: &str) -> Vm {
    let mut params = cloud.site().vm(name);
    (params["l3NetworkUuids"], params["hostUuid"]) = (json!([l3]), json!(host));
    let made = make(cloud, "/vm-instances", params).await;
    Vm {
        uuid: text(&made, "/uuid"),
        name: name.into(),
        ip: text(&made, "/vmNics/0/ip"),
        host: host.to_owned(),
    }
}

#[tokio::test]
async fn a_guest_is_reached_from_the_other_host_by_tunnel_alone() {
    let cloud = cloud("vxlan", 2).await;
    let (hosts, net) = hosts(&cloud).await;
    let (pool, l3) = network(&cloud, &net).await;
    for (n, (name, uuid)) in hosts.iter().enumerate() {
        let vm = guest(&cloud, &format!("guest-{n}"), uuid, &l3).await;
        let (asking, _) = &hosts[1 - n];
        cloud.ip(asking, &["address", "add", "192.168.77.250/24", "dev", "br_vx_7000"]).unwrap();
        let said = cloud.guest_answers_on(asking, &vm).await.unwrap();
        assert!(said.contains(&vm.ip), "{said}");
        cloud.ip(asking, &["address", "del", "192.168.77.250/24", "dev", "br_vx_7000"]).unwrap();
        let link = cloud.ip(name, &["-o", "link", "show", "br_vx_7000"]).unwrap();
        assert!(link.contains("mtu 1450"), "{link}");
        cloud.api().delete(&format!("/vm-instances/{}", vm.uuid)).await.unwrap();
        let expunge = json!({ "expungeVmInstance": {} });
        cloud.api().call(Method::PUT, &format!("/vm-instances/{}/actions", vm.uuid), expunge).await.unwrap();
    }
    let blue = cloud.api().get("/l2-networks/vxlan").await.unwrap();
    cloud.api().delete(&format!("/l2-networks/{}", text(&blue, "/inventories/0/uuid"))).await.unwrap();
    cloud.api().delete(&format!("/l2-networks/{pool}")).await.unwrap();
    for (name, _) in &hosts {
        let links = cloud.ip(name, &["-o", "link", "show"]).unwrap();
        assert!(!links.contains("vx"), "{links}");
    }
    cloud.tear_down().await.unwrap();
}
