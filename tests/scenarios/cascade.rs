//! What a deletion does to others: looked at before, and done exactly so.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::{network, vm};

use crate::site::Site;

impl Site {
    async fn preview(&self, path: &str) -> Value {
        let mut reply = self.api.delete(&format!("{path}?preview=true")).await.unwrap();
        reply["preview"].take()
    }

    async fn state_of(&self, vm: &Value) -> Value {
        let uuid = vm["uuid"].as_str().unwrap();
        self.list(&format!("/vm-instances?q=uuid={uuid}")).await[0]["state"].clone()
    }

    /// From now on its agent does not take commands, and the controller knows.
    async fn lose_host(&self) {
        self.world().refuse(network::CreateBridge::PATH, "no");
        let path = format!("/hosts/{}/actions", self.hosts[0]);
        self.refused(Method::PUT, &path, json!({ "reconnectHost": {} })).await;
        assert_eq!(self.list("/hosts").await[0]["status"], "Disconnected");
    }

    async fn act(&self, path: &str, action: &str) {
        let body = json!({ action: {} });
        self.api.call(Method::PUT, &format!("{path}/actions"), body).await.unwrap();
    }
}

/// How many of which kind are acted upon, and how.
fn counts(preview: &Value) -> BTreeMap<(String, String), u64> {
    let text = |count: &Value, name: &str| count[name].as_str().unwrap().to_owned();
    let counts = preview["counts"].as_array().unwrap();
    counts.iter().map(|c| ((text(c, "kind"), text(c, "action")), c["count"].as_u64().unwrap())).collect()
}

/// Every node of the tree, as `kind name`.
fn nodes(tree: &Value) -> Vec<String> {
    let below = tree["children"].as_array().into_iter().flatten().flat_map(nodes);
    let own = format!("{} {}", tree["kind"].as_str().unwrap(), tree["name"].as_str().unwrap());
    std::iter::once(own).chain(below).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_zone_deletes_what_its_preview_listed() {
    let site = Site::start().await;
    for name in ["a", "b"] {
        site.api.create("/vm-instances", site.vm(name)).await.unwrap();
    }
    let zone = format!("/zones/{}", site.zone);
    let preview = site.preview(&zone).await;
    assert_eq!(preview["blockers"], json!([]));
    let told = |kind: &str| counts(&preview)[&(kind.to_owned(), "delete".to_owned())];
    assert_eq!(
        ["Zone", "Cluster", "Host", "PrimaryStorage", "L2Network", "L3Network", "IpRange"].map(told),
        [1; 7]
    );
    assert_eq!(["VmInstance", "VmNic"].map(told), [2; 2]);
    let nodes = nodes(&preview["tree"]);
    assert!(
        nodes.contains(&"VmInstance a".to_owned()) && nodes.contains(&"VmInstance b".to_owned()),
        "{nodes:?}"
    );
    assert_eq!(nodes.len() as u64, counts(&preview).values().sum::<u64>(), "the tree shows each once");
    let volumes: i64 =
        site.list("/volumes").await.iter().map(|volume| volume["size"].as_i64().unwrap()).sum();
    let sizes = preview["counts"].as_array().unwrap().iter().filter(|count| count["kind"] == "VmInstance");
    assert_eq!(sizes.map(|count| count["size"].as_i64().unwrap()).sum::<i64>(), volumes);
    assert_eq!(site.list("/vm-instances").await.len(), 2, "a preview changes nothing");

    let hash = preview["planHash"].as_str().unwrap();
    site.api.delete(&format!("{zone}?planHash={hash}")).await.unwrap();
    for list in
        ["/zones", "/clusters", "/hosts", "/primary-storage", "/l2-networks", "/vm-instances", "/volumes"]
    {
        assert!(site.list(list).await.is_empty(), "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_was_agreed_to_is_refused_when_more_would_go_now() {
    let site = Site::start().await;
    let zone = format!("/zones/{}", site.zone);
    let preview = site.preview(&zone).await;
    site.api.create("/vm-instances", site.vm("late")).await.unwrap();
    let hash = preview["planHash"].as_str().unwrap();
    let refused = site.refused(Method::DELETE, &format!("{zone}?planHash={hash}"), Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.code.as_str()), (409, "SYS.2006"));
    assert!(refused.details.contains("zone-1"), "{}", refused.details);
    assert_eq!(site.list("/vm-instances").await[0]["state"], "Running");
    let again = site.preview(&zone).await;
    assert_ne!(again["planHash"], preview["planHash"]);
    assert_eq!(again["planHash"], site.preview(&zone).await["planHash"], "the same plan, the same hash");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_settled_is_told_before_anything_happens() {
    let site = Site::start().await;
    site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    site.lose_host().await;
    let zone = format!("/zones/{}", site.zone);
    let preview = site.preview(&zone).await;
    assert_eq!(preview["blockers"][0]["name"], "web");
    let reason = preview["blockers"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("host \"hv1\" is Disconnected"), "{reason}");

    let refused = site.refused(Method::DELETE, &zone, Value::Null).await;
    assert!(refused.details.contains("VmInstance \"web\": its host \"hv1\""), "{}", refused.details);
    for list in ["/zones", "/clusters", "/hosts", "/vm-instances", "/l3-networks"] {
        assert_eq!(site.list(list).await.len(), 1, "{list}: nothing was touched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enforced_deletion_goes_past_a_host_that_does_not_answer() {
    let site = Site::start().await;
    site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    site.lose_host().await;
    site.api.delete(&format!("/zones/{}?deleteMode=Enforcing", site.zone)).await.unwrap();
    for list in ["/zones", "/hosts", "/vm-instances", "/volumes", "/vm-instances/nics"] {
        assert!(site.list(list).await.is_empty(), "{list}");
    }
    assert_eq!(site.world().count(vm::Destroy::PATH), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_detached_stops_the_vms_that_use_it_there() {
    let site = Site::start().await;
    let web = site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    let place = format!("/l2-networks/{}/clusters/{}", site.l2, site.cluster);
    let preview = site.preview(&place).await;
    let stopped = ("VmInstance".to_owned(), "stop".to_owned());
    assert_eq!(counts(&preview)[&stopped], 1);
    let answer = site.api.delete(&place).await.unwrap();
    assert_eq!(answer["inventory"]["attachedClusterUuids"], json!([]));
    assert_eq!(site.state_of(&web).await, "Stopped");
    assert!(site.world().state().bridges.is_empty());

    let path = format!("/vm-instances/{}", web["uuid"].as_str().unwrap());
    let refused =
        site.refused(Method::PUT, &format!("{path}/actions"), json!({ "startVmInstance": {} })).await;
    assert!(refused.details.contains("has no L2 network"), "{}", refused.details);
    site.api.create(&place, json!({})).await.unwrap();
    site.act(&path, "startVmInstance").await;
    assert_eq!(site.state_of(&web).await, "Running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_detached_stops_its_vms_and_keeps_their_volumes() {
    let site = Site::start().await;
    let web = site.api.create("/vm-instances", site.vm("web")).await.unwrap();
    let place = format!("/clusters/{}/primary-storage/{}", site.cluster, site.primary_storage);
    let kept = site.world().state().volumes.clone();
    let answer = site.api.delete(&place).await.unwrap();
    assert_eq!(answer["inventory"]["attachedClusterUuids"], json!([]));
    assert_eq!(site.state_of(&web).await, "Stopped");
    assert_eq!(site.world().state().volumes, kept);

    let path = format!("/vm-instances/{}", web["uuid"].as_str().unwrap());
    let refused =
        site.refused(Method::PUT, &format!("{path}/actions"), json!({ "startVmInstance": {} })).await;
    assert!(refused.details.contains("attach it again first"), "{}", refused.details);
    site.refused(Method::POST, "/vm-instances", json!({ "params": site.vm("other") })).await;
    site.api.create(&place, json!({})).await.unwrap();
    site.act(&path, "startVmInstance").await;
    assert_eq!(site.state_of(&web).await, "Running");
}
