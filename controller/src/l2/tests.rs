use axum::http::Method;
use engine::codes;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::network::{CreateBridge, DeleteBridge};

use crate::host::simulated::{Fleet, uuid};
use crate::testing::{Refused, until};

impl Fleet {
    pub(crate) async fn l2(&self, name: &str, interface: &str) -> String {
        let params = json!({ "name": name, "zoneUuid": self.zone, "physicalInterface": interface });
        uuid(&self.cloud.create("/l2-networks/no-vlan", params).await.unwrap())
    }

    pub(crate) async fn attach_l2(&self, l2: &str) -> Result<Value, Refused> {
        let path = format!("/l2-networks/{l2}/clusters/{}", self.cluster);
        self.cloud.call(Method::POST, &path, json!({ "null": {} })).await
    }

    async fn detach_l2(&self, l2: &str) -> Result<Value, Refused> {
        self.cloud.delete(&format!("/l2-networks/{l2}/clusters/{}", self.cluster)).await
    }

    async fn attached(&self, l2: &str) -> Value {
        let mut shown = self.cloud.list(&format!("/l2-networks?q=uuid={l2}")).await;
        shown[0]["attachedClusterUuids"].take()
    }

    fn all_bridges(&self) -> Vec<Vec<String>> {
        self.hypervisors.iter().map(|hypervisor| hypervisor.world.bridges()).collect()
    }
}

#[tokio::test]
async fn an_attached_network_has_a_bridge_on_every_host_until_it_is_detached() {
    let fleet = Fleet::start(2).await;
    let l2 = fleet.l2("lan", "eth0").await;
    let answer = fleet.attach_l2(&l2).await.unwrap();
    assert_eq!(answer["inventory"]["attachedClusterUuids"], json!([fleet.cluster]));
    assert_eq!(fleet.all_bridges(), [["br_eth0"], ["br_eth0"]]);

    let again = fleet.attach_l2(&l2).await.unwrap_err();
    assert!(again.details.contains("is attached to cluster \"cluster\" already"), "{}", again.details);
    assert_eq!(fleet.attached(&l2).await, json!([fleet.cluster]), "a refused attachment takes nothing away");
    assert_eq!(fleet.all_bridges(), [["br_eth0"], ["br_eth0"]]);

    fleet.detach_l2(&l2).await.unwrap();
    assert_eq!(fleet.attached(&l2).await, json!([]));
    assert_eq!(fleet.all_bridges(), [[""; 0], [""; 0]]);
    let again = fleet.detach_l2(&l2).await.unwrap_err();
    assert!(again.details.contains("is not attached to cluster"), "{}", again.details);
}

#[tokio::test]
async fn a_network_that_one_host_cannot_have_is_taken_off_the_others() {
    let fleet = Fleet::start(2).await;
    let l2 = fleet.l2("lan", "eth0").await;
    fleet.world(1).refuses(CreateBridge::PATH, "the interface is in a bond");
    let refused = fleet.attach_l2(&l2).await.unwrap_err();
    assert_eq!(refused.code, codes::OPERATION.0);
    for part in ["l2 network \"lan\"", "of host \"hv2\"", "the interface is in a bond"] {
        assert!(refused.details.contains(part), "{}", refused.details);
    }
    assert_eq!(fleet.world(1).count(CreateBridge::PATH), 1, "the fault fired");
    assert_eq!(fleet.world(0).count(CreateBridge::PATH), 1);
    assert_eq!((fleet.world(0).count(DeleteBridge::PATH), fleet.world(1).count(DeleteBridge::PATH)), (1, 1));
    assert_eq!(fleet.all_bridges(), [[""; 0], [""; 0]]);
    assert_eq!(fleet.attached(&l2).await, json!([]));

    fleet.world(1).obeys();
    fleet.attach_l2(&l2).await.unwrap();
    assert_eq!(fleet.all_bridges(), [["br_eth0"], ["br_eth0"]]);
}

#[tokio::test]
async fn a_host_without_the_interface_is_named() {
    let fleet = Fleet::start(1).await;
    let l2 = fleet.l2("lan", "eth7").await;
    fleet.world(0).missing_interfaces.lock().unwrap().push("eth7".into());
    let refused = fleet.attach_l2(&l2).await.unwrap_err();
    assert!(refused.details.contains("\"hv1\"") && refused.details.contains("eth7"), "{}", refused.details);
    assert_eq!(fleet.world(0).count(CreateBridge::PATH), 0);
}

#[tokio::test]
async fn two_networks_of_a_cluster_do_not_share_an_interface() {
    let fleet = Fleet::start(1).await;
    let (one, two) = (fleet.l2("one", "eth0").await, fleet.l2("two", "eth0").await);
    fleet.attach_l2(&one).await.unwrap();
    let refused = fleet.attach_l2(&two).await.unwrap_err();
    assert!(refused.details.contains("l2 network \"one\" uses interface \"eth0\""), "{}", refused.details);
    assert_eq!(fleet.all_bridges(), [["br_eth0"]]);
    assert_eq!(fleet.attached(&two).await, json!([]));
}

#[tokio::test]
async fn a_host_gets_the_networks_of_its_cluster_when_it_comes_and_loses_them_when_it_goes() {
    let fleet = Fleet::start(1).await;
    let (lan, wan) = (fleet.l2("lan", "eth0").await, fleet.l2("wan", "eth1").await);
    fleet.attach_l2(&lan).await.unwrap();
    fleet.attach_l2(&wan).await.unwrap();
    fleet.world(0).bridges.lock().unwrap().clear();
    let path = format!("/hosts/{}/actions", fleet.hosts[0]);
    fleet.cloud.act(&path, "reconnectHost", json!({})).await.unwrap();
    assert_eq!(fleet.all_bridges(), [["br_eth0", "br_eth1"]]);

    fleet.world(0).refuses(CreateBridge::PATH, "no netlink");
    let refused = fleet.cloud.act(&path, "reconnectHost", json!({})).await.unwrap_err();
    assert!(refused.details.contains("no netlink"), "{}", refused.details);
    let shown = fleet.cloud.list("/hosts").await;
    assert_eq!(shown[0]["status"], "Disconnected", "a host without its networks takes no VMs");

    fleet.world(0).obeys();
    fleet.cloud.act(&path, "reconnectHost", json!({})).await.unwrap();
    fleet.cloud.delete(&format!("/hosts/{}", fleet.hosts[0])).await.unwrap();
    assert_eq!(fleet.all_bridges(), [[""; 0]]);
}

#[tokio::test]
async fn a_deleted_network_leaves_no_bridge() {
    let fleet = Fleet::start(2).await;
    let l2 = fleet.l2("lan", "eth0").await;
    fleet.attach_l2(&l2).await.unwrap();
    fleet.world(1).refuses(DeleteBridge::PATH, "busy");
    let refused = fleet.cloud.delete(&format!("/l2-networks/{l2}")).await.unwrap_err();
    assert!(refused.details.contains("busy"), "{}", refused.details);
    assert_eq!(fleet.attached(&l2).await, json!([fleet.cluster]), "it stays until it can be taken off");

    fleet.world(1).obeys();
    let gone = async || fleet.cloud.list("/l2-networks").await.is_empty();
    until("the deletion is tried again until it is done", gone).await;
    assert_eq!(fleet.all_bridges(), [[""; 0], [""; 0]]);
}

#[tokio::test]
async fn an_unsound_network_is_refused() {
    let fleet = Fleet::start(1).await;
    for (name, value, why) in [
        ("physicalInterface", json!("eth0/1"), "the name of a network interface"),
        ("physicalInterface", json!("a-name-too-long-"), "at most 15 characters"),
        ("vSwitchType", json!("OvsDpdk"), "not supported yet"),
        ("vSwitchType", json!("Hub"), "must be \"LinuxBridge\""),
        ("isolated", json!(true), "not supported yet"),
        ("pvlan", json!("1"), "not supported yet"),
        ("type", json!("L2VlanNetwork"), "must be \"L2NoVlanNetwork\""),
        ("zoneUuid", json!("0".repeat(32)), "there is no zone"),
        ("name", json!(" "), "1 to 255 characters"),
    ] {
        let mut params = json!({ "name": "lan", "zoneUuid": fleet.zone, "physicalInterface": "eth0" });
        params[name] = value;
        let refused = fleet.cloud.create("/l2-networks/no-vlan", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{name}: {}", refused.details);
    }
    assert!(fleet.cloud.list("/l2-networks").await.is_empty());
    assert_eq!(
        fleet.cloud.get("/l2-networks/types").await.unwrap()["types"],
        json!(["L2NoVlanNetwork", "L2VlanNetwork", "VxlanNetworkPool", "VxlanNetwork"])
    );
}

#[tokio::test]
async fn vlans_of_an_interface_have_a_bridge_each() {
    let fleet = Fleet::start(1).await;
    let vlan = async |id: i64| {
        let params =
            json!({ "name": "lan", "zoneUuid": fleet.zone, "physicalInterface": "eth0", "vlan": id });
        fleet.cloud.create("/l2-networks/vlan", params).await
    };
    let made = vlan(100).await.unwrap();
    assert_eq!((&made["vlan"], &made["type"]), (&json!(100), &json!("L2VlanNetwork")));
    let (one, same, other) = (uuid(&made), uuid(&vlan(100).await.unwrap()), uuid(&vlan(7).await.unwrap()));
    fleet.attach_l2(&one).await.unwrap();
    fleet.attach_l2(&fleet.l2("plain", "eth0").await).await.unwrap();
    let refused = fleet.attach_l2(&same).await.unwrap_err();
    assert!(refused.details.contains("uses 100 of interface \"eth0\""), "{}", refused.details);

    let path = |l2: &str| format!("/l2-networks/{l2}/actions");
    let change =
        async |l2: &str, wanted: Value| fleet.cloud.act(&path(l2), "changeL2NetworkVlanId", wanted).await;
    let attached = change(&one, json!({ "vlan": 8 })).await.unwrap_err();
    assert!(attached.details.contains("detach it first"), "{}", attached.details);
    assert_eq!(change(&same, json!({ "vlan": 101 })).await.unwrap()["virtualNetworkId"], 101);
    assert_eq!(change(&other, json!({ "type": "L2NoVlanNetwork" })).await.unwrap()["virtualNetworkId"], 0);
    fleet.attach_l2(&same).await.unwrap();
    assert_eq!(fleet.all_bridges(), [["br_eth0", "br_eth0_100 100", "br_eth0_101 101"]]);

    let listed = fleet.cloud.list("/l2-networks/vlan?q=vlan=101").await;
    assert_eq!(listed.iter().map(|l2| &l2["uuid"]).collect::<Vec<_>>(), [&json!(same)]);
    assert_eq!(listed[0]["attachedClusterUuids"], json!([fleet.cluster]));
    fleet.detach_l2(&one).await.unwrap();
    assert_eq!(fleet.all_bridges(), [["br_eth0", "br_eth0_101 101"]]);
    for wrong in [0, 4095, -1] {
        assert!(vlan(wrong).await.unwrap_err().details.contains("vlan"), "{wrong}");
    }
}

#[tokio::test]
async fn an_update_changes_only_what_it_names() {
    let fleet = Fleet::start(1).await;
    let l2 = fleet.l2("lan", "eth0").await;
    let path = format!("/l2-networks/{l2}/actions");
    let shown = fleet.cloud.act(&path, "updateL2Network", json!({ "description": "office" })).await.unwrap();
    assert_eq!((&shown["name"], &shown["description"]), (&json!("lan"), &json!("office")));
    assert_eq!((&shown["vSwitchType"], &shown["virtualNetworkId"]), (&json!("LinuxBridge"), &json!(0)));
}
