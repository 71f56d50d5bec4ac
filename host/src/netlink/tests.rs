use nix::sched::{CloneFlags, unshare};

use super::*;

const MARK: &str = "0123456789abcdef0123456789abcdef";

/// A network namespace of the test's own; gone with its last user. These tests need root.
async fn alone() -> Netlink {
    Netlink::open_within(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?)).await.expect("run as root")
}

async fn pair(net: &Netlink) -> (Link, Link) {
    net.add_veth("a0", "b0").await.unwrap();
    let (a, b) = (net.find("a0").await.unwrap().unwrap(), net.find("b0").await.unwrap().unwrap());
    net.set_up(&a).await.unwrap();
    net.set_up(&b).await.unwrap();
    (a, b)
}

#[tokio::test]
async fn a_bridge_is_marked_from_its_first_moment() {
    let net = alone().await;
    let bridge = net.add_bridge("br_test", MARK).await.unwrap();
    assert_eq!((bridge.kind, bridge.mark()), (Kind::Bridge, Some(MARK)));
    assert_eq!(net.find("br_test").await.unwrap(), Some(bridge.clone()));
    net.delete(&bridge).await.unwrap();
    net.delete(&bridge).await.unwrap();
    assert_eq!(net.find("br_test").await.unwrap(), None);
}

#[tokio::test]
async fn a_bridge_left_half_made_by_a_crash_is_replaced() {
    let net = alone().await;
    let unnamed = LinkBridge::new(&provisional_name("br_test")).build();
    net.handle.link().add(unnamed).execute().await.unwrap();
    net.add_bridge("br_test", MARK).await.unwrap();
    let names: Vec<_> = net.links().await.unwrap().into_iter().map(|link| link.name).collect();
    assert_eq!(names, ["lo", "br_test"]);
}

#[tokio::test]
async fn a_bridge_whose_name_is_taken_leaves_nothing_behind() {
    let net = alone().await;
    pair(&net).await;
    let refused = net.add_bridge("a0", MARK).await.unwrap_err().to_string();
    assert!(refused.contains("name bridge a0"), "{refused}");
    assert_eq!(net.links().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_port_joins_and_leaves_a_bridge() {
    let net = alone().await;
    let (a, _) = pair(&net).await;
    let bridge = net.add_bridge("br_test", MARK).await.unwrap();
    for _ in 0..2 {
        net.enslave(&a, &bridge).await.unwrap();
        assert_eq!(net.find("a0").await.unwrap().unwrap().master, Some(bridge.index));
    }
    net.release(&a).await.unwrap();
    assert_eq!(net.find("a0").await.unwrap().unwrap().master, None);
}

#[tokio::test]
async fn addresses_and_routes_are_told_and_moved() {
    let net = alone().await;
    let (a, b) = pair(&net).await;
    let ip: IpAddr = "192.0.2.7".parse().unwrap();
    net.add_address(&a, ip, 24).await.unwrap();
    net.add_address(&a, ip, 24).await.unwrap();
    let told = net.addresses(&a).await.unwrap();
    let told: Vec<_> = told.iter().filter(|a| !a.local).map(|a| (a.ip, a.prefix, a.dynamic)).collect();
    assert_eq!(told, [(ip, 24, false)]);

    let gateway = rtnetlink::RouteMessageBuilder::<std::net::Ipv4Addr>::new()
        .gateway("192.0.2.1".parse().unwrap())
        .output_interface(a.index)
        .build();
    net.handle.route().add(gateway).execute().await.unwrap();
    net.add_address(&b, ip, 24).await.unwrap();
    for route in net.routes(&a).await.unwrap() {
        net.route_through(&b, &route).await.unwrap();
    }
    assert!(net.routes(&a).await.unwrap().is_empty());
    assert_eq!(net.routes(&b).await.unwrap().len(), 1);

    net.delete_address(&a, ip, 24).await.unwrap();
    net.delete_address(&a, ip, 24).await.unwrap();
    assert!(net.addresses(&a).await.unwrap().iter().all(|address| address.local));
    assert_eq!(net.routes(&b).await.unwrap().len(), 1);
}

#[tokio::test]
async fn mtu_and_mac_are_set() {
    let net = alone().await;
    let (a, _) = pair(&net).await;
    net.set_mtu(&a, 1400).await.unwrap();
    net.set_mac(&a, &[0x02, 0, 0, 0, 0, 9]).await.unwrap();
    let a = net.find("a0").await.unwrap().unwrap();
    assert_eq!((a.mtu, a.mac), (1400, vec![0x02, 0, 0, 0, 0, 9]));
}

#[test]
fn a_name_that_the_kernel_would_cut_or_misread_is_refused() {
    for name in ["", "sixteen_letters_", "a b", "a/b", "..", "vnic%d", "eth0:1"] {
        assert!(check_name(name).is_err(), "{name}");
    }
    check_name("vnic123456.1").unwrap();
}

#[tokio::test]
async fn a_tunnel_is_marked_and_tells_what_it_is() {
    let net = alone().await;
    let tunnel = Tunnel { vni: 7, local: "192.0.2.1".parse().unwrap(), port: 8472 };
    let made = net.add_vxlan("vxlan7", MARK, &tunnel).await.unwrap();
    assert_eq!((made.tunnel(), made.mark()), (Some(tunnel), Some(MARK)));
    assert_eq!(net.find("vxlan7").await.unwrap(), Some(made));
}

#[tokio::test]
async fn a_forwarding_table_has_each_peer_once() {
    let net = alone().await;
    let tunnel = Tunnel { vni: 7, local: "192.0.2.1".parse().unwrap(), port: 8472 };
    let link = net.add_vxlan("vxlan7", MARK, &tunnel).await.unwrap();
    let peers: [IpAddr; 2] = ["192.0.2.2".parse().unwrap(), "192.0.2.3".parse().unwrap()];
    for peer in peers.iter().chain(&peers) {
        net.add_fdb(&link, &FLOOD, Some(*peer)).await.unwrap();
    }
    let mut found = net.fdb(&link, &FLOOD).await.unwrap();
    found.sort();
    assert_eq!(found, peers);
    for _ in 0..2 {
        net.delete_fdb(&link, &FLOOD, Some(peers[0])).await.unwrap();
        assert_eq!(net.fdb(&link, &FLOOD).await.unwrap(), peers[1..]);
    }
}

/// Where the kernel has VLANs; where it has none, it says so and nothing is left.
#[tokio::test]
async fn a_vlan_is_found_by_what_it_lies_on() {
    let net = alone().await;
    let (a, b) = pair(&net).await;
    match net.add_vlan("a0.7", MARK, &a, 7).await {
        Ok(made) => {
            assert_eq!(
                (made.kind, made.parent, made.mark()),
                (Kind::Vlan { id: 7 }, Some(a.index), Some(MARK))
            );
            assert_eq!(net.find_vlan(&a, 7).await.unwrap(), Some(made));
            assert_eq!(net.find_vlan(&b, 7).await.unwrap(), None);
        }
        Err(error) => {
            assert!(error.to_string().starts_with("cannot add vlan a0.7: "), "{error}");
            assert_eq!(net.links().await.unwrap().len(), 3);
        }
    }
}
