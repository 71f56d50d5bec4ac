use serde_json::json;
use wire::Call;
use wire::calls::dhcp::BatchPrepare;
use wire::calls::network::CreateBridge;

use super::Net;
use crate::testing::until;

#[tokio::test]
async fn guests_are_told_ways_and_how_long_their_frames_may_be() {
    let net = Net::served(1).await;
    net.guest("web", "fa:00:00:00:00:01", 0).await;
    let told = || {
        let namespace = net.fleet.world(0).namespaces().remove(&net.namespace()).unwrap();
        let lease = namespace.leases.into_values().next().unwrap();
        let ways: Vec<_> = lease.host_routes.into_iter().map(|way| (way.prefix, way.nexthop)).collect();
        (lease.mtu, ways)
    };
    assert_eq!(told(), (None, Vec::new()));
    let way = json!({ "prefix": "192.0.2.0/24", "nexthop": "10.1.0.7" });
    let shown = net.fleet.cloud.create(&net.path("/hostroute"), way.clone()).await.unwrap();
    assert_eq!(shown["hostRoute"][0]["nexthop"], "10.1.0.7");
    net.fleet.cloud.create(&net.path("/mtu"), json!({ "mtu": 1400 })).await.unwrap();
    assert_eq!(net.fleet.cloud.get(&net.path("/mtu")).await.unwrap()["mtu"], 1400);
    assert_eq!(told(), (Some(1400), vec![("192.0.2.0/24".into(), "10.1.0.7".into())]));

    let again = net.fleet.cloud.create(&net.path("/hostroute"), way).await.unwrap_err();
    assert!(again.details.contains("has a route to 192.0.2.0/24 already"), "{}", again.details);
    net.fleet.world(0).refuses(CreateBridge::PATH, "the interface takes no such frames");
    let refused = net.fleet.cloud.create(&net.path("/mtu"), json!({ "mtu": 9000 })).await.unwrap_err();
    assert!(refused.details.contains("takes no such frames"), "{}", refused.details);
    assert_eq!((net.shown().await["mtu"].clone(), told().0), (json!(1400), Some(1400)));
    net.fleet.world(0).obeys();
    let unknown = net.fleet.cloud.get(&format!("/l3-networks/{}/mtu", "0".repeat(32))).await.unwrap_err();
    assert_eq!(unknown.status, 404);
    net.fleet.cloud.delete(&net.path("/hostroute?prefix=192.0.2.0/24")).await.unwrap();
    assert_eq!((told().1, net.shown().await["hostRoute"].clone()), (Vec::new(), json!([])));
}

#[tokio::test]
async fn the_servers_get_another_address_or_keep_theirs() {
    let net = Net::served(2).await;
    net.choose("FirstAvailableIpAllocatorStrategy").await.unwrap();
    net.guest("web", "fa:00:00:00:00:01", 0).await;
    net.guest("db", "fa:00:00:00:00:02", 1).await;
    let of_hosts = || [0, 1].map(|host| net.fleet.world(host).namespaces()[&net.namespace()].server.clone());
    let change = async |ip: &str| {
        let path = net.path("/dhcp-ip");
        net.fleet.cloud.act(&path, "changeL3NetworkDhcpIpAddress", json!({ "dhcpServerIp": ip })).await
    };
    let told = async || net.fleet.cloud.get(&net.path("/dhcp-ip")).await.unwrap()["ip"].clone();
    let path = format!("/l3-networks/ip-address?q=l3NetworkUuid={}", net.l3);
    let used = async || net.fleet.cloud.list(&path).await.len();
    assert_eq!((of_hosts(), used().await), (["10.1.0.99", "10.1.0.99"].map(String::from), 3));
    for (wrong, why) in
        [("10.1.0.10", "is in use"), ("10.9.9.9", "lies in none of its ranges"), ("x", "must be an IPv4")]
    {
        let refused = change(wrong).await.unwrap_err();
        assert!(refused.details.contains(why), "{}", refused.details);
    }
    net.fleet.world(1).refuses(BatchPrepare::PATH, "no bridge");
    let refused = change("10.1.0.50").await.unwrap_err();
    assert!(refused.details.contains("no bridge"), "{}", refused.details);
    net.fleet.world(1).obeys();
    let settled = || async { net.fleet.cloud.list("/flows?q=state=parked").await.is_empty() };
    until("the undo that failed too has succeeded", settled).await;
    assert_eq!(
        (told().await, used().await),
        (json!("10.1.0.99"), 3),
        "they have their own again, and no other"
    );
    assert_eq!(of_hosts(), ["10.1.0.99", "10.1.0.99"].map(String::from));

    change("10.1.0.50").await.unwrap();
    change("10.1.0.50").await.unwrap();
    assert_eq!(
        (told().await, of_hosts()),
        (json!("10.1.0.50"), ["10.1.0.50", "10.1.0.50"].map(String::from))
    );
    assert_eq!(used().await, 3, "the old one is free");
    net.fleet.cloud.delete(&net.path("/network-services?service=DHCP")).await.unwrap();
    let refused = change("10.1.0.99").await.unwrap_err();
    assert!(refused.details.contains("attach the service first"), "{}", refused.details);
}
