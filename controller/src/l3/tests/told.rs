use serde_json::json;
use wire::Call;
use wire::calls::network::CreateBridge;

use super::Net;

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
