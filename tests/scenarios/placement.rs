//! Where VMs run: groups that keep them apart or together, and that one can see why.

use fleet::Host;
use futures::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use crate::site::Site;

/// A site with two hosts, and an affinity group.
struct Town {
    site: Site,
    _other: Host,
    group: String,
}

impl Town {
    async fn build(number: u8, policy: &str) -> Town {
        let (site, other) = Site::of_two(number).await;
        let params = json!({ "name": "front", "policy": policy });
        let group = site.api.create("/affinity-groups", params).await.unwrap();
        let group = group["uuid"].as_str().unwrap().to_owned();
        Town { site, _other: other, group }
    }

    /// What creates a VM in the group.
    fn member(&self, name: &str) -> Value {
        let tags = [format!("affinityGroupUuid::{}", self.group)];
        json!({ "params": self.site.vm(name), "systemTags": tags })
    }

    async fn create(&self, name: &str) -> Result<Value, String> {
        let begun = self.site.begin(Method::POST, "/vm-instances", self.member(name)).await;
        self.site.end(&begun).await.map(|mut answer| answer["inventory"].take())
    }

    async fn ask(&self, body: Value) -> Value {
        self.site.api.call(Method::POST, "/vm-instances/placement", body).await.unwrap()
    }

    async fn act(&self, vm: &Value, action: &str) -> Result<Value, String> {
        let path = format!("/vm-instances/{}/actions", vm["uuid"].as_str().unwrap());
        let begun = self.site.begin(Method::PUT, &path, json!({ action: {} })).await;
        self.site.end(&begun).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vms_of_a_hard_group_stay_apart_whatever_is_done_to_them() {
    let town = Town::build(40, "antiHard").await;
    let made = join_all(["a", "b"].map(|name| town.create(name))).await;
    let made: Vec<Value> = made.into_iter().map(Result::unwrap).collect();
    assert_ne!(made[0]["hostUuid"], made[1]["hostUuid"]);
    let refused = town.create("c").await.unwrap_err();
    for host in ["hv1", "hv2"] {
        let words = format!("host \"{host}\" has 1 VMs of the antiHard affinity group \"front\" already");
        assert!(refused.contains(&words), "{refused}");
    }
    let refused = town.act(&made[0], "migrateVm").await.unwrap_err();
    assert!(refused.contains("antiHard affinity group"), "{refused}");
    // Stopped, it keeps its place: its disk lies there.
    town.act(&made[0], "stopVmInstance").await.unwrap();
    town.create("c").await.unwrap_err();
    town.act(&made[0], "startVmInstance").await.unwrap();
    let path = format!("/affinity-groups/{}/vm-instances/{}", town.group, made[0]["uuid"].as_str().unwrap());
    town.site.api.delete(&path).await.unwrap();
    let third = town.create("c").await.unwrap();
    assert_eq!(third["hostUuid"], made[0]["hostUuid"]);
    let groups = town.site.list("/affinity-groups?q=vmInstance.name=c").await;
    assert_eq!(groups[0]["usages"].as_array().unwrap().len(), 2);
    town.site.api.delete(&format!("/affinity-groups/{}", town.group)).await.unwrap();
    town.act(&third, "migrateVm").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_become_of_a_vm_is_told_and_nothing_is_made() {
    let town = Town::build(41, "proSoft").await;
    let told = town.ask(json!({ "params": town.site.vm("x") })).await;
    assert_eq!((&told["total"], &told["looked"], &told["fit"]), (&json!(2), &json!(2), &json!(2)), "{told}");
    let ranks: Vec<_> = told["hosts"].as_array().unwrap().iter().map(|host| host["rank"].clone()).collect();
    assert_eq!(ranks, [1, 2]);
    let first = town.create("first").await.unwrap();
    let told = town.ask(town.member("x")).await;
    assert_eq!(told["hosts"][0]["hostUuid"], first["hostUuid"], "the group draws it there: {told}");
    assert_eq!(told["hosts"][0]["primaryStorageUuid"], json!(town.site.primary_storage));
    let other = &town.ask(json!({ "params": town.site.vm("x") })).await["hosts"][0]["hostUuid"];
    assert_ne!(*other, first["hostUuid"], "without the group the emptier one comes first");
    let disable = json!({ "changeHostState": { "stateEvent": "disable" } });
    let path = format!("/hosts/{}/actions", first["hostUuid"].as_str().unwrap());
    town.site.api.call(Method::PUT, &path, disable).await.unwrap();
    let mut huge = town.site.vm("x");
    huge["memorySize"] = json!(1_i64 << 40);
    let told = town.ask(json!({ "params": huge })).await;
    assert_eq!(told["fit"], json!(0), "{told}");
    assert_eq!(told["refused"], json!({ "HostCapacity": 2, "HostState": 1 }));
    let of =
        |host: &Value| told["hosts"].as_array().unwrap().iter().find(|one| one["hostUuid"] == *host).cloned();
    let refusals = of(&first["hostUuid"]).unwrap()["refusals"].to_string();
    assert!(refusals.contains("is Disabled") && refusals.contains("1024 GiB are needed"), "{refusals}");
    let told = town
        .ask(json!({ "params": { "start": 1, "limit": 1, "cpuNum": 1, "memorySize": 1 << 27,
        "imageUuid": town.site.image } }))
        .await;
    assert_eq!(told["hosts"].as_array().unwrap().len(), 1);
    assert_eq!(town.site.list("/vm-instances").await.len(), 1);
    let wrong = json!({ "params": { "imageUuid": town.site.image, "colour": "red" } });
    let refused = town.site.refused(Method::POST, "/vm-instances/placement", wrong).await;
    assert!(refused.details.contains("colour"), "{refused}");
}
