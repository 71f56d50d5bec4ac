//! Real bridges in a network namespace of the test's own; these tests need root.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use host::netlink::{FLOOD, Link, Netlink};
use nix::sched::{CloneFlags, unshare};
use wire::agent::Cx;
use wire::calls::network::{
    AddBridgeFdb, AddPort, CheckBridge, CheckInterfaces, CheckVtep, CreateBridge, CreateVlanBridge,
    CreateVxlanBridge, CreateVxlanBridges, DeleteBridge, DeleteBridgeFdb, DeleteFdbs, DeleteVlanBridge,
    DeleteVxlanBridge, PopulateFdb, PopulateFdbs, UpdateVlanBridge, UpdateVxlanBridge,
};

use super::*;
use crate::config::Config;
use crate::state::Host;
use crate::testing;

const L2: &str = "0123456789abcdef0123456789abcdef";
const IP: &str = "192.0.2.7";

async fn alone(dir: &Path) -> Cx<Host> {
    let config =
        Config { libvirt_uri: "test:///default".into(), state_dir: dir.to_owned(), ..Config::default() };
    let mut host = Host::open(&config, &testing::door()).unwrap();
    host.net = Netlink::open_within(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?)).await.expect("run as root");
    let (up, ip) = (link_pair(&host.net).await, IP.parse().unwrap());
    host.net.add_address(&up, ip, 24).await.unwrap();
    Cx::detached(Arc::new(host))
}

async fn link_pair(net: &Netlink) -> Link {
    net.add_veth("eth0", "wire0").await.unwrap();
    for name in ["wire0", "eth0"] {
        net.set_up(&net.find(name).await.unwrap().unwrap()).await.unwrap();
    }
    net.find("eth0").await.unwrap().unwrap()
}

fn create() -> CreateBridge {
    CreateBridge {
        physical_interface_name: "eth0".into(),
        bridge_name: "br_eth0".into(),
        l2_network_uuid: L2.into(),
        ..CreateBridge::default()
    }
}

fn delete(l2: &str) -> DeleteBridge {
    DeleteBridge {
        physical_interface_name: "eth0".into(),
        bridge_name: "br_eth0".into(),
        l2_network_uuid: l2.into(),
    }
}

fn check() -> CheckBridge {
    CheckBridge { physical_interface_name: "eth0".into(), bridge_name: "br_eth0".into() }
}

async fn has_address(cx: &Cx<Host>, name: &str) -> bool {
    let link = cx.net.find(name).await.unwrap().unwrap();
    let ip: IpAddr = IP.parse().unwrap();
    cx.net.addresses(&link).await.unwrap().iter().any(|address| address.ip == ip)
}

#[tokio::test]
async fn a_bridge_takes_the_interfaces_address_and_gives_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    let missing = check_bridge(cx.clone(), check()).await.unwrap_err().error;
    assert_eq!(missing, "can not find bridge[br_eth0]");
    for _ in 0..2 {
        create_bridge(cx.clone(), create()).await.unwrap();
        check_bridge(cx.clone(), check()).await.unwrap();
        assert!(has_address(&cx, "br_eth0").await && !has_address(&cx, "eth0").await);
    }
    let (bridge, port) = (cx.net.find("br_eth0").await.unwrap().unwrap(), cx.net.find("eth0").await.unwrap());
    assert_eq!((bridge.mark(), bridge.up, &bridge.mac), (Some(L2), true, &port.unwrap().mac));
    for _ in 0..2 {
        delete_bridge(cx.clone(), delete(L2)).await.unwrap();
        assert!(cx.net.find("br_eth0").await.unwrap().is_none());
        assert!(has_address(&cx, "eth0").await);
    }
}

#[tokio::test]
async fn a_creation_that_was_cut_off_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    let bridge = cx.net.add_bridge("br_eth0", L2).await.unwrap();
    cx.net.set_up(&bridge).await.unwrap();
    cx.net.add_address(&bridge, IP.parse().unwrap(), 24).await.unwrap();
    assert!(check_bridge(cx.clone(), check()).await.is_err());
    create_bridge(cx.clone(), create()).await.unwrap();
    check_bridge(cx.clone(), check()).await.unwrap();
    assert!(has_address(&cx, "br_eth0").await && !has_address(&cx, "eth0").await);
}

#[tokio::test]
async fn a_bridge_grows_to_the_largest_mtu_asked_for_and_does_not_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    for (asked, got) in [(9000, 9000), (1450, 9000)] {
        create_bridge(cx.clone(), CreateBridge { mtu: Some(asked), ..create() }).await.unwrap();
        assert_eq!(cx.net.find("br_eth0").await.unwrap().unwrap().mtu, got);
    }
}

#[tokio::test]
async fn a_bridge_in_use_or_of_another_network_is_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    create_bridge(cx.clone(), create()).await.unwrap();
    delete_bridge(cx.clone(), delete("ffffffffffffffffffffffffffffffff")).await.unwrap();
    let bridge = cx.net.find("br_eth0").await.unwrap().unwrap();
    cx.net.add_veth("vnic1.0", "guest0").await.unwrap();
    cx.net.enslave(&cx.net.find("vnic1.0").await.unwrap().unwrap(), &bridge).await.unwrap();
    let error = delete_bridge(cx.clone(), delete(L2)).await.unwrap_err().error;
    assert!(error.contains("vnic1.0"), "{error}");
    assert!(has_address(&cx, "br_eth0").await);
}

#[tokio::test]
async fn the_operators_bridge_is_used_and_never_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    cx.net.add_bridge("br_eth0", "the operator's").await.unwrap();
    create_bridge(cx.clone(), create()).await.unwrap();
    delete_bridge(cx.clone(), delete(L2)).await.unwrap();
    check_bridge(cx.clone(), check()).await.unwrap();
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    let long = CreateBridge { bridge_name: "br_sixteen_chars".into(), ..create() };
    assert!(create_bridge(cx.clone(), long).await.unwrap_err().error.contains("15 characters"));
    let taken = CreateBridge { bridge_name: "wire0".into(), ..create() };
    assert!(create_bridge(cx.clone(), taken).await.unwrap_err().error.contains("is not a bridge"));
    let none = CreateBridge { physical_interface_name: "eth9".into(), ..create() };
    let error = create_bridge(cx, none).await.unwrap_err().error;
    assert_eq!(error, "can not find physical interface[eth9]");
}

#[tokio::test]
async fn missing_interfaces_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    let names =
        |names: &[&str]| CheckInterfaces { interface_names: names.iter().map(|n| n.to_string()).collect() };
    let eth0 = cx.net.find("eth0").await.unwrap().unwrap();
    cx.net.set_down(&eth0).await.unwrap();
    check_interfaces(cx.clone(), names(&["eth0"])).await.unwrap();
    assert!(cx.net.find("eth0").await.unwrap().unwrap().up);
    let fault = check_interfaces(cx, names(&["eth0", "eth9", "far_too_long_a_name"])).await.unwrap_err();
    assert_eq!(fault.members["failedInterfaceNames"], serde_json::json!(["eth9", "far_too_long_a_name"]));
}

fn tunnel(vni: u32, peers: &[&str]) -> CreateVxlanBridge {
    CreateVxlanBridge {
        bridge_name: format!("br_vx_{vni}"),
        vtep_ip: IP.into(),
        vni,
        l2_network_uuid: L2.into(),
        peers: peers.iter().map(|peer| (*peer).to_owned()).collect(),
        ..CreateVxlanBridge::default()
    }
}

fn without_tunnel(vni: u32) -> DeleteVxlanBridge {
    let CreateVxlanBridge { bridge_name, vtep_ip, l2_network_uuid, .. } = tunnel(vni, &[]);
    DeleteVxlanBridge { bridge_name, vni, l2_network_uuid, vtep_ip }
}

async fn link(cx: &Cx<Host>, name: &str) -> Link {
    cx.net.find(name).await.unwrap().unwrap_or_else(|| panic!("{name} is not there"))
}

async fn flooded(cx: &Cx<Host>, name: &str) -> Vec<String> {
    let peers = cx.net.fdb(&link(cx, name).await, &FLOOD).await.unwrap();
    let mut peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
    peers.sort();
    peers
}

#[tokio::test]
async fn a_tunnel_floods_to_its_peers_and_goes_with_its_bridge() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    for _ in 0..2 {
        // This host is among the peers that the controller names, and is none.
        vxlan::create_bridge(cx.clone(), tunnel(7, &["192.0.2.8", IP])).await.unwrap();
        let (bridge, end) = (link(&cx, "br_vx_7").await, link(&cx, "vxlan7").await);
        assert_eq!((end.master, end.mark(), end.up, end.mtu), (Some(bridge.index), Some(L2), true, 1450));
        assert_eq!((bridge.mark(), bridge.up, bridge.mtu), (Some(L2), true, 1450));
        assert_eq!(flooded(&cx, "vxlan7").await, ["192.0.2.8"]);
    }
    let peers = || vec!["192.0.2.9".to_owned()];
    vxlan::populate_fdb(cx.clone(), PopulateFdb { vni: 7, peers: peers() }).await.unwrap();
    assert_eq!(flooded(&cx, "vxlan7").await, ["192.0.2.8", "192.0.2.9"]);
    let networks = || vec![L2.to_owned(), "f".repeat(32)];
    vxlan::delete_fdbs(cx.clone(), DeleteFdbs { network_uuids: networks(), peers: peers() }).await.unwrap();
    assert_eq!(flooded(&cx, "vxlan7").await, ["192.0.2.8"]);
    vxlan::populate_fdbs(cx.clone(), PopulateFdbs { network_uuids: networks(), peers: peers() })
        .await
        .unwrap();
    assert_eq!(flooded(&cx, "vxlan7").await.len(), 2);

    let other = DeleteVxlanBridge { l2_network_uuid: "f".repeat(32), ..without_tunnel(7) };
    vxlan::delete_bridge(cx.clone(), other).await.unwrap();
    link(&cx, "vxlan7").await;
    for _ in 0..2 {
        vxlan::delete_bridge(cx.clone(), without_tunnel(7)).await.unwrap();
        assert!(cx.net.find("vxlan7").await.unwrap().is_none());
        assert!(cx.net.find("br_vx_7").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_bridge_changes_its_tunnel_and_keeps_what_is_plugged_in() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    vxlan::create_bridge(cx.clone(), tunnel(7, &["192.0.2.8"])).await.unwrap();
    let bridge = link(&cx, "br_vx_7").await;
    cx.net.add_veth("vnic1.0", "guest0").await.unwrap();
    cx.net.enslave(&link(&cx, "vnic1.0").await, &bridge).await.unwrap();
    let update = UpdateVxlanBridge {
        bridge_name: "br_vx_7".into(),
        old_vlan: "7".into(),
        new_vlan: "8".into(),
        l2_network_uuid: L2.into(),
        peers: vec!["192.0.2.9".into()],
    };
    for _ in 0..2 {
        vxlan::update_bridge(cx.clone(), update.clone()).await.unwrap();
        assert!(cx.net.find("vxlan7").await.unwrap().is_none());
        assert_eq!(link(&cx, "vxlan8").await.master, Some(bridge.index));
        assert_eq!(flooded(&cx, "vxlan8").await, ["192.0.2.9"]);
        assert_eq!(link(&cx, "vnic1.0").await.master, Some(bridge.index));
    }
    let error = vxlan::delete_bridge(cx.clone(), without_tunnel(8)).await;
    error.expect("another bridge's name: nothing to do");
    link(&cx, "vxlan8").await;
}

#[tokio::test]
async fn a_tunnel_from_an_address_that_is_not_ours_is_refused_and_one_that_moved_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    let stray = CreateVxlanBridge { vtep_ip: "192.0.2.77".into(), ..tunnel(7, &[]) };
    let error = vxlan::create_bridge(cx.clone(), stray.clone()).await.unwrap_err().error;
    assert!(error.contains("vtepIp 192.0.2.77"), "{error}");
    let batch = CreateVxlanBridges { bridge_cmds: vec![stray, tunnel(9, &[])] };
    let error = vxlan::create_bridges(cx.clone(), batch).await.unwrap_err().error;
    assert!(error.contains("bridge br_vx_7: vtepIp"), "{error}");
    link(&cx, "vxlan9").await;

    let (up, moved) = (link(&cx, "eth0").await, "192.0.2.70".parse().unwrap());
    cx.net.add_address(&up, moved, 24).await.unwrap();
    let again = CreateVxlanBridge { vtep_ip: moved.to_string(), ..tunnel(9, &[]) };
    vxlan::create_bridge(cx.clone(), again).await.unwrap();
    assert_eq!(link(&cx, "vxlan9").await.tunnel().unwrap().local, moved);
}

#[tokio::test]
async fn the_address_for_tunnels_is_the_one_in_the_cidr() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    let check = |cidr: &str| CheckVtep { cidr: cidr.into(), ..CheckVtep::default() };
    let found = check_vtep(cx.clone(), check("192.0.2.0/24")).await.unwrap();
    assert_eq!((found.vtep_ip.as_str(), found.physical_interface_name.as_str()), (IP, "eth0"));
    assert!(check_vtep(cx.clone(), check("198.51.100.0/24")).await.unwrap_err().error.contains("no address"));
    cx.net.add_address(&link(&cx, "wire0").await, "192.0.2.8".parse().unwrap(), 24).await.unwrap();
    let several = check_vtep(cx.clone(), check("192.0.2.0/24")).await.unwrap_err().error;
    assert!(several.contains("192.0.2.8 on wire0"), "{several}");
    let by_ip = CheckVtep { vtep_ip: Some("192.0.2.8".into()), ..check("192.0.2.0/24") };
    assert_eq!(check_vtep(cx.clone(), by_ip).await.unwrap().physical_interface_name, "wire0");
    // The bridge has the interface's address.
    create_bridge(cx.clone(), create()).await.unwrap();
    let by_name = CheckVtep { physical_interface_name: Some("eth0".into()), ..check("192.0.2.0/24") };
    let found = check_vtep(cx.clone(), by_name).await.unwrap();
    assert_eq!((found.vtep_ip.as_str(), found.physical_interface_name.as_str()), (IP, "eth0"));
}

#[tokio::test]
async fn an_interface_becomes_a_port_of_a_bridge_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    let add = || AddPort { physical_interface_name: "eth0".into(), bridge_name: "br0".into() };
    assert!(add_port(cx.clone(), add()).await.unwrap_err().error.contains("bridge[br0]"));
    let bridge = cx.net.add_bridge("br0", "the operator's").await.unwrap();
    for _ in 0..2 {
        add_port(cx.clone(), add()).await.unwrap();
        assert_eq!(link(&cx, "eth0").await.master, Some(bridge.index));
        assert!(has_address(&cx, "br0").await && !has_address(&cx, "eth0").await);
    }
}

#[tokio::test]
async fn guests_behind_a_virtual_function_stand_in_the_forwarding_table() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    let macs = || vec!["fa:16:3e:00:00:01".to_owned()];
    let on = || "eth0".to_owned();
    let odd = AddBridgeFdb { physical_interface: on(), macs: vec!["33:33:00:00:00:01".into()] };
    assert!(add_fdb(cx.clone(), odd).await.unwrap_err().error.starts_with("macs: "));
    for _ in 0..2 {
        add_fdb(cx.clone(), AddBridgeFdb { physical_interface: on(), macs: macs() }).await.unwrap();
    }
    for _ in 0..2 {
        delete_fdb(cx.clone(), DeleteBridgeFdb { physical_interface: on(), macs: macs() }).await.unwrap();
    }
}

/// The kernel's answer where it has no VLANs. There, the rest of this cannot be seen.
async fn has_vlans(cx: &Cx<Host>) -> bool {
    let probe = cx.net.add_vlan("probe", L2, &link(cx, "wire0").await, 4000).await;
    if let Ok(probe) = &probe {
        cx.net.delete(probe).await.unwrap();
    }
    probe.is_ok()
}

#[tokio::test]
async fn a_vlan_is_made_with_its_bridge_moved_and_taken_away_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let cx = alone(dir.path()).await;
    let with =
        |vlan| CreateVlanBridge { vlan, bridge: CreateBridge { bridge_name: "br_v".into(), ..create() } };
    let without =
        |vlan| DeleteVlanBridge { vlan, bridge: DeleteBridge { bridge_name: "br_v".into(), ..delete(L2) } };
    // Without a vlan it is the plain bridge, with the interface's address.
    vlan::create_bridge(cx.clone(), with(0)).await.unwrap();
    assert!(has_address(&cx, "br_v").await);
    vlan::delete_bridge(cx.clone(), without(0)).await.unwrap();
    assert!(has_address(&cx, "eth0").await);
    assert!(vlan::create_bridge(cx.clone(), with(4095)).await.unwrap_err().error.starts_with("vlan 4095"));
    if !has_vlans(&cx).await {
        let error = vlan::create_bridge(cx.clone(), with(7)).await.unwrap_err().error;
        assert!(error.starts_with("cannot add vlan eth0.7"), "{error}");
        return cumulet_tests::untried("VLANs: this kernel has none (8021q)");
    }
    for _ in 0..2 {
        vlan::create_bridge(cx.clone(), with(7)).await.unwrap();
        assert_eq!(link(&cx, "eth0.7").await.master, Some(link(&cx, "br_v").await.index));
        assert!(has_address(&cx, "eth0").await, "the interface itself is not the network's");
    }
    let update = UpdateVlanBridge {
        physical_interface_name: "eth0".into(),
        bridge_name: "br_v".into(),
        old_vlan: Some("7".into()),
        new_vlan: Some("8".into()),
        l2_network_uuid: L2.into(),
    };
    for _ in 0..2 {
        vlan::update_bridge(cx.clone(), update.clone()).await.unwrap();
        assert!(cx.net.find("eth0.7").await.unwrap().is_none());
        assert_eq!(link(&cx, "eth0.8").await.master, Some(link(&cx, "br_v").await.index));
    }
    let plain = UpdateVlanBridge { old_vlan: Some("8".into()), new_vlan: None, ..update };
    vlan::update_bridge(cx.clone(), plain).await.unwrap();
    assert!(has_address(&cx, "br_v").await && cx.net.find("eth0.8").await.unwrap().is_none());
    vlan::delete_bridge(cx.clone(), without(0)).await.unwrap();
    assert!(has_address(&cx, "eth0").await);
}
