//! NICs that come and go, and what is said of a VM by a tag and holds from its next start on.

use hyper::Method;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::device;

use crate::site::Site;

impl Site {
    /// Another network on the same L2, with a range, served.
    async fn second_network(&self) -> String {
        let params = json!({ "name": "back", "l2NetworkUuid": self.l2 });
        let l3 = self.api.create("/l3-networks", params).await.unwrap();
        let l3 = l3["uuid"].as_str().unwrap().to_owned();
        let range = json!({ "name": "r", "startIp": "10.8.0.10", "endIp": "10.8.0.20",
            "netmask": "255.255.255.0", "gateway": "10.8.0.1" });
        self.api.create(&format!("/l3-networks/{l3}/ip-ranges"), range).await.unwrap();
        let services = json!({ "networkServices": { "Flat": ["DHCP", "DNS"] } });
        self.api.create(&format!("/l3-networks/{l3}/network-services"), services).await.unwrap();
        l3
    }

    async fn nics_of(&self, vm: &str) -> Vec<Value> {
        self.list(&format!("/vm-instances/nics?q=vmInstanceUuid={vm}&sort=+deviceId")).await
    }

    async fn told_to(&self, vm: &str, action: &str, params: Value) -> Value {
        let path = format!("/vm-instances/{vm}/actions");
        self.api.call(Method::PUT, &path, json!({ action: params })).await.unwrap()
    }

    async fn running_vm(&self) -> String {
        let made = self.api.create("/vm-instances", self.vm("web")).await.unwrap();
        made["uuid"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nic_is_plugged_in_served_and_taken_out_again() {
    let site = Site::start().await;
    let (vm, back) = (site.running_vm().await, site.second_network().await);
    let path = format!("/vm-instances/{vm}/l3-networks/{back}");
    let candidates = site.list(&format!("/vm-instances/{vm}/l3-networks-candidates")).await;
    assert_eq!(candidates.iter().map(|l3| &l3["uuid"]).collect::<Vec<_>>(), [&json!(back)]);

    let attached = site.api.create(&path, json!({ "staticIp": "10.8.0.15" })).await.unwrap();
    assert_eq!(attached["vmNics"].as_array().unwrap().len(), 2);
    let nics = site.nics_of(&vm).await;
    assert_eq!((&nics[1]["ip"], &nics[1]["deviceId"]), (&json!("10.8.0.15"), &json!(1)));
    let state = site.world().state();
    assert_eq!((state.nics.len(), state.leases.len()), (2, 2), "{state:?}");
    let refused = site.refused(Method::POST, &path, json!({ "params": {} })).await;
    assert!(refused.details.contains("already"), "{refused:?}");

    let nic = nics[1]["uuid"].as_str().unwrap();
    site.api.delete(&format!("/vm-instances/nics/{nic}")).await.unwrap();
    let state = site.world().state();
    assert_eq!((state.nics.len(), state.leases.len()), (1, 1), "{state:?}");
    assert_eq!(site.nics_of(&vm).await.len(), 1);
    assert!(
        site.list(&format!("/l3-networks/ip-address?q=l3NetworkUuid={back}&q=usedFor=VmNic"))
            .await
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nic_that_cannot_be_plugged_in_leaves_nothing() {
    let site = Site::start().await;
    let (vm, back) = (site.running_vm().await, site.second_network().await);
    site.world().refuse(device::AttachNic::PATH, "no free slot");
    let path = format!("/vm-instances/{vm}/l3-networks/{back}");
    let refused = site.refused(Method::POST, &path, json!({ "params": {} })).await;
    assert!(refused.details.contains("no free slot"), "{refused:?}");
    assert_eq!(site.nics_of(&vm).await.len(), 1);
    assert_eq!(site.world().state().leases.len(), 1);
    assert!(
        site.list(&format!("/l3-networks/ip-address?q=l3NetworkUuid={back}&q=usedFor=VmNic"))
            .await
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_vm_holds_from_its_next_start_on() {
    let site = Site::start().await;
    let vm = site.running_vm().await;
    assert_eq!(site.world().state().boots[&vm], "hd");
    site.told_to(&vm, "setVmBootOrder", json!({ "bootOrder": ["CdRom", "HardDisk"] })).await;
    site.told_to(&vm, "setVmBootMode", json!({ "bootMode": "UEFI" })).await;
    site.told_to(&vm, "setVmHostname", json!({ "hostname": "shop" })).await;
    site.told_to(&vm, "setVmConsolePassword", json!({ "consolePassword": "secret" })).await;
    site.told_to(&vm, "setVmSoundType", json!({ "soundType": "ich6" })).await;
    site.told_to(&vm, "setVmClockTrack", json!({ "track": "guest" })).await;
    let orders = site.api.get(&format!("/vm-instances/{vm}/boot-orders")).await.unwrap();
    assert_eq!(orders["orders"], json!(["CdRom", "HardDisk"]));
    assert_eq!(site.world().state().boots[&vm], "hd", "it runs as it was started");

    site.told_to(&vm, "stopVmInstance", json!({})).await;
    site.told_to(&vm, "startVmInstance", json!({})).await;
    let state = site.world().state();
    assert_eq!(state.boots[&vm], "cdrom,hd UEFI secret ich6 guest");
    assert_eq!(state.names.values().collect::<Vec<_>>(), ["shop"]);

    let path = format!("/vm-instances/{vm}/actions");
    for (action, params, why) in [
        ("setVmBootMode", json!({ "bootMode": "BIOS" }), "Legacy or UEFI"),
        ("setVmConsolePassword", json!({ "consolePassword": "far too long" }), "1 to 8"),
        ("setVmHostname", json!({ "hostname": "no blanks" }), "letters"),
    ] {
        let refused = site.refused(Method::PUT, &path, json!({ action: params })).await;
        assert!(refused.details.contains(why), "{refused:?}");
    }
    site.api.delete(&format!("/vm-instances/{vm}/console-password")).await.unwrap();
    site.api.delete(&format!("/vm-instances/{vm}/bootmode")).await.unwrap();
    let password = site.api.get(&format!("/vm-instances/{vm}/console-passwords")).await.unwrap();
    assert_eq!(password.get("consolePassword"), None);
}
