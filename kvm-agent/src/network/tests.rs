//! Real bridges in a network namespace of the test's own; these tests need root.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use host::netlink::{Link, Netlink};
use nix::sched::{CloneFlags, unshare};
use wire::agent::Cx;
use wire::calls::network::{CheckBridge, CheckInterfaces, CreateBridge, DeleteBridge};

use super::*;
use crate::config::Config;
use crate::state::Host;

const L2: &str = "0123456789abcdef0123456789abcdef";
const IP: &str = "192.0.2.7";

async fn alone(dir: &Path) -> Cx<Host> {
    let config =
        Config { libvirt_uri: "test:///default".into(), state_dir: dir.to_owned(), ..Config::default() };
    let mut host = Host::open(&config, None).unwrap();
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
