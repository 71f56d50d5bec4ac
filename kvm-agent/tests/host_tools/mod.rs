//! What an operator does to a host by its agent.

use std::fs;
use std::net::IpAddr;

use serde_json::json;

use super::devices::refusal;
use super::lab::{Lab, alone};

const PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

#[test]
fn an_interface_gets_its_address_and_is_found_by_it() {
    alone("host_tools::an_interface_gets_its_address_and_is_found_by_it", async || {
        let lab = Lab::start().await;
        lab.net.add_veth("eth0", "wire0").await.unwrap();
        lab.net.set_up(&lab.net.find("wire0").await.unwrap().unwrap()).await.unwrap();
        let set = |ip: &str| {
            json!({
                "interfaceName": "eth0", "ipAddress": ip, "netmask": "255.255.255.0", "gateway": "192.0.2.1",
            })
        };
        let names = json!({ "ipAddresses": ["192.0.2.8", "198.51.100.1"] });
        for ip in ["192.0.2.7", "192.0.2.8", "192.0.2.8"] {
            lab.done("/host/setip/networkinterface", set(ip)).await;
            let link = lab.net.find("eth0").await.unwrap().unwrap();
            let own = lab.net.addresses(&link).await.unwrap().into_iter().filter(|found| found.ip.is_ipv4());
            let own: Vec<_> = own.map(|found| (found.ip, found.prefix)).collect();
            assert_eq!(own, [(ip.parse::<IpAddr>().unwrap(), 24)]);
            assert_eq!(lab.net.routes(&link).await.unwrap().len(), 1, "the default route");
        }
        let told = lab.done("/host/getname/networkinterface", names).await;
        assert_eq!(told["interfaceNames"], json!(["eth0"]));
        let odd = json!({ "interfaceName": "eth0", "ipAddress": "192.0.2.9", "netmask": "255.0.255.0" });
        assert!(refusal(&lab, "/host/setip/networkinterface", odd).await.starts_with("netmask"));
        let vlan = json!({ "interfaceName": "eth0", "vlanId": 7 });
        assert!(refusal(&lab, "/host/checkvlan/networkinterface", vlan).await.contains("has no vlan 7"));

        let l2 = "11111111111111111111111111111111";
        let bridge = json!({ "physicalInterfaceName": "eth0", "bridgeName": "br_eth0", "l2NetworkUuid": l2 });
        lab.done("/network/l2novlan/createbridge", bridge).await;
        for (enable, told) in [(true, "2"), (false, "1")] {
            let port = json!({ "enable": enable, "nicNames": ["eth0"] });
            lab.done("/host/bridge/routerport", port).await;
            let now = fs::read_to_string("/sys/class/net/eth0/brport/multicast_router").unwrap();
            assert_eq!(now.trim(), told);
        }
        let odd = json!({ "enable": true, "nicNames": ["wire0"] });
        assert!(refusal(&lab, "/host/bridge/routerport", odd).await.contains("wire0"));
    });
}

#[test]
fn huge_pages_are_set_aside_and_given_back() {
    alone("host_tools::huge_pages_are_set_aside_and_given_back", async || {
        let lab = Lab::start().await;
        let pages = || fs::read_to_string(PAGES).unwrap().trim().parse::<u64>().unwrap();
        let total = lab.done("/host/capacity", json!({})).await["totalMemory"].as_u64().unwrap() >> 20;
        let odd = json!({ "pageSize": 3, "reserveSize": 0 });
        assert!(refusal(&lab, "/host/enable/hugepage", odd).await.starts_with("pageSize 3"));
        let none = json!({ "pageSize": 2, "reserveSize": total });
        assert!(refusal(&lab, "/host/enable/hugepage", none).await.starts_with("reserveSize"));
        for _ in 0..2 {
            lab.done("/host/enable/hugepage", json!({ "pageSize": 2, "reserveSize": total - 4 })).await;
            assert_eq!(pages(), 2);
        }
        lab.done("/host/disable/hugepage", json!({})).await;
        assert_eq!(pages(), 0);
    });
}
