use std::time::Duration;

use axum::http::Method;
use engine::{Any, Id, args};
use serde_json::{Value, json};
use tokio::time::sleep;
use wire::Call;
use wire::calls::{dhcp, localstorage, network, vm};

use crate::host::simulated::{Fleet, Namespace, World, uuid};
use crate::testing::Refused;

/// More than the time that a suspicion must stand here.
const SETTLED: Duration = Duration::from_millis(1100);

/// One host with a storage, where suspicions stand for a second.
struct Site {
    fleet: Fleet,
    host: String,
}

impl Site {
    async fn start() -> Site {
        let fleet = Fleet::start(1).await;
        let host = fleet.hosts[0].clone();
        let site = Site { fleet, host };
        site.set("settle", "1").await;
        let params = json!({ "name": "local", "url": "/ps", "zoneUuid": site.fleet.zone });
        let storage = uuid(&site.fleet.cloud.create("/primary-storage/local-storage", params).await.unwrap());
        let path = format!("/clusters/{}/primary-storage/{storage}", site.fleet.cluster);
        site.fleet.cloud.create(&path, json!({})).await.unwrap();
        site
    }

    fn world(&self) -> &World {
        self.fleet.world(0)
    }

    async fn set(&self, name: &str, value: &str) {
        let path = format!("/global-configurations/sweep/{name}/actions");
        self.fleet.cloud.act(&path, "updateGlobalConfig", json!({ "value": value })).await.unwrap();
    }

    /// One pass: what it tells.
    async fn sweep(&self) -> Vec<Value> {
        let mut told = self.run(json!({ "hostUuid": self.host })).await.unwrap();
        assert_eq!(told["skipped"], json!([]), "{told}");
        serde_json::from_value(told["inventories"].take()).unwrap()
    }

    async fn run(&self, params: Value) -> Result<Value, Refused> {
        self.fleet.cloud.call(Method::PUT, "/sweep/actions", json!({ "runSweep": params })).await
    }

    /// As many passes as it takes until what stands counts as found.
    async fn settle(&self) -> Vec<Value> {
        self.sweep().await;
        sleep(SETTLED).await;
        self.sweep().await
    }

    async fn act(&self, finding: &Value, action: &str) -> Result<Value, Refused> {
        let path = format!("/sweep/findings/{}/actions", uuid(finding));
        self.fleet.cloud.act(&path, action, json!({})).await
    }

    async fn vm_state(&self, vm: Id<Any>) -> String {
        let found = self.fleet.cloud.list(&format!("/vm-instances?q=uuid={vm}")).await;
        found[0]["state"].as_str().unwrap().to_owned()
    }

    /// Somebody works on it from now on.
    async fn owned(&self, resource: &str) {
        const OWN: &str = "INSERT INTO ownership (resource, generation, flow) VALUES ($1, 1, 'somebody') \
             ON CONFLICT (resource) DO UPDATE SET flow = excluded.flow";
        self.fleet.sql(OWN, args![resource]).await;
    }

    async fn free(&self, resource: &str) {
        const FREE: &str = "UPDATE ownership SET flow = NULL WHERE resource = $1";
        self.fleet.sql(FREE, args![resource]).await;
    }

    /// How often the event was written.
    async fn events(&self, name: &str) -> i64 {
        const COUNT: &str = "SELECT count(*) FROM event WHERE name = $1";
        self.fleet.cloud.engine.db().read().await.unwrap().number(COUNT, args![name]).await.unwrap()
    }

    async fn claims(&self) -> i64 {
        const COUNT: &str = "SELECT count(*) FROM host_claim";
        self.fleet.cloud.engine.db().read().await.unwrap().number(COUNT, args![]).await.unwrap()
    }
}

/// `kind name state` of each.
fn brief(findings: &[Value]) -> Vec<String> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<String> =
        findings.iter().map(|f| ["kind", "name", "state"].map(|name| text(f, name)).join(" ")).collect();
    all.sort();
    all
}

const A: &str = "0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a0a";
const B: &str = "0b0b0b0b0b0b4b0b8b0b0b0b0b0b0b0b";

#[tokio::test]
async fn a_vm_that_was_stopped_behind_our_back_is_stopped_after_one_pass() {
    const CLAIM: &str =
        "INSERT INTO host_claim (vm_instance_uuid, host_uuid, cpu, memory) VALUES ($1, $2, 1, 1)";
    let site = Site::start().await;
    let vm = site.fleet.vm("web", &site.host).await;
    site.fleet.sql(CLAIM, args![vm, site.host.as_str()]).await;
    assert_eq!(site.sweep().await, Vec::<Value>::new());
    site.world().domain(vm, None);
    let told = site.sweep().await;
    assert_eq!(brief(&told), [format!("vmState {vm} Repaired")]);
    let detail = "vm \"web\" is Running in the records and Stopped on host \"hv1\"";
    assert_eq!(told[0]["detail"], detail);
    assert_eq!(site.vm_state(vm).await, "Stopped");
    assert_eq!(site.claims().await, 0, "it takes nothing of the host any more");
    assert_eq!(site.events("/vm/state/changed").await, 1);
    assert_eq!((site.events("/sweep/found").await, site.events("/sweep/repaired").await), (1, 1));
    assert_eq!(site.world().count(vm::Destroy::PATH), 0, "nothing is done to the host");
}

#[tokio::test]
async fn a_vm_that_is_paused_or_crashed_is_so_in_the_records() {
    let site = Site::start().await;
    let vm = site.fleet.vm("web", &site.host).await;
    for state in ["Paused", "Running", "Crashed", "Running"] {
        site.world().domain(vm, Some(state));
        site.sweep().await;
        assert_eq!(site.vm_state(vm).await, state);
    }
    for passing in ["NoState", "Suspended"] {
        site.world().domain(vm, Some(passing));
        assert!(brief(&site.sweep().await).iter().all(|one| one.ends_with("Repaired")), "{passing}");
        assert_eq!(site.vm_state(vm).await, "Running", "{passing}");
    }
}

#[tokio::test]
async fn a_stopped_vm_that_runs_is_running_there_and_takes_its_share() {
    let site = Site::start().await;
    let vm = site.fleet.vm("web", &site.host).await;
    site.world().domain(vm, None);
    site.sweep().await;
    site.world().domain(vm, Some("Running"));
    site.sweep().await;
    assert_eq!(site.vm_state(vm).await, "Stopped", "one look does not tell: it may just have been stopped");
    sleep(SETTLED).await;
    site.sweep().await;
    let found = site.fleet.cloud.list(&format!("/vm-instances?q=uuid={vm}")).await;
    assert_eq!((&found[0]["state"], &found[0]["hostUuid"]), (&json!("Running"), &json!(site.host)));
    assert_eq!(site.claims().await, 1);
    assert_eq!(site.world().count(vm::Destroy::PATH), 0);
}

#[tokio::test]
async fn where_states_are_only_observed_an_operator_decides() {
    let site = Site::start().await;
    site.set("vmState.consent", "observe").await;
    let vm = site.fleet.vm("web", &site.host).await;
    site.world().domain(vm, None);
    let told = site.sweep().await;
    assert_eq!(brief(&told), [format!("vmState {vm} Open")]);
    assert_eq!(site.vm_state(vm).await, "Running");
    let repaired = site.act(&told[0], "repairFinding").await.unwrap();
    assert_eq!(repaired["state"], "Repaired");
    assert_eq!(site.vm_state(vm).await, "Stopped");
}

#[tokio::test]
async fn a_vm_that_a_flow_works_on_is_not_judged() {
    let site = Site::start().await;
    let vm = site.fleet.vm("web", &site.host).await;
    site.world().domain(vm, None);
    site.owned(&vm.to_string()).await;
    assert_eq!(brief(&site.settle().await), Vec::<String>::new());
    assert_eq!(site.vm_state(vm).await, "Running");
    site.free(&vm.to_string()).await;
    site.sweep().await;
    assert_eq!(site.vm_state(vm).await, "Stopped");
}

#[tokio::test]
async fn what_belongs_to_nobody_is_suspected_then_told_and_taken_away_only_with_consent() {
    let site = Site::start().await;
    let file = format!("/ps/rootVolumes/acct-x/vol-{A}/{A}.qcow2");
    let cached = format!("/ps/imagecache/template/{B}/{B}");
    let namespace = format!("br_eth0_{B}");
    site.world().domain(A.parse().unwrap(), Some("Running"));
    site.world().has("volume", &file, Some(A));
    site.world().has("image", &cached, Some(B));
    site.world().has("bridge", "br_eth7", Some(A));
    site.world().namespaces.lock().unwrap().insert(namespace.clone(), Namespace::default());
    let all = |state: &str| {
        let mut all: Vec<_> = [
            format!("domain {A} {state}"),
            format!("volume {file} {state}"),
            format!("cachedImage {cached} {state}"),
            format!("bridge br_eth7 {state}"),
            format!("namespace {namespace} {state}"),
        ]
        .into();
        all.sort();
        all
    };
    assert_eq!(brief(&site.sweep().await), all("Suspected"));
    assert_eq!(site.events("/sweep/found").await, 0);
    sleep(SETTLED).await;
    assert_eq!(brief(&site.sweep().await), all("Open"));
    assert_eq!(brief(&site.sweep().await), all("Open"));
    assert_eq!(site.events("/sweep/found").await, 5, "each is told once");
    assert_eq!(site.world().owned().len(), 3, "nothing is touched where findings are only observed");
    assert_eq!((site.world().domains().len(), site.world().namespaces().len()), (1, 1));

    site.set("consent", "repair").await;
    assert_eq!(brief(&site.sweep().await), all("Repaired"));
    assert_eq!(site.world().owned(), []);
    assert_eq!((site.world().domains().len(), site.world().namespaces().len()), (0, 0));
    let done = |path| site.world().count(path);
    assert_eq!(
        [vm::Destroy::PATH, network::DeleteBridge::PATH, dhcp::DeleteNamespace::PATH].map(done),
        [1, 1, 1]
    );
    assert_eq!(done(localstorage::Delete::PATH), 2);
    assert_eq!(site.events("/sweep/repaired").await, 5);
    assert_eq!(site.fleet.cloud.list("/sweep/findings?q=state=Repaired").await.len(), 5);
}

#[tokio::test]
async fn what_no_repair_can_help_is_only_reported_and_says_why() {
    let site = Site::start().await;
    site.set("consent", "repair").await;
    site.world().has("tap", "vnic999.0", Some(A));
    site.world().has("volume", "/ps/somebodys-own.qcow2", None);
    site.world().has("bridge", "br_5c3e1cfb4b7b", Some(A));
    site.world().has("domain", "copy-of-web", Some(B));
    let told = site.settle().await;
    for (kind, why) in [
        ("tap", "has no call that removes a tap"),
        ("volume", "it carries no uuid"),
        ("bridge", "does not tell which interface"),
        ("domain", "marked with another uuid"),
    ] {
        let found = told.iter().find(|finding| finding["kind"] == kind).unwrap();
        assert_eq!((&found["state"], &found["repairable"]), (&json!("Open"), &json!(false)), "{found}");
        assert!(found["detail"].as_str().unwrap().contains(why), "{found}");
        let refused = site.act(found, "repairFinding").await.unwrap_err();
        assert!(refused.details.contains(why), "{}", refused.details);
    }
    assert_eq!(site.world().owned().len(), 4);
    assert_eq!(*site.world().heard.lock().unwrap(), Vec::<&str>::new());
}

#[tokio::test]
async fn what_the_records_know_is_no_finding() {
    let site = Site::start().await;
    const VOLUME: &str = "INSERT INTO volume (uuid, name, host_uuid, install_path, type, format, size, state, \
         status, is_shareable, create_date, last_op_date) \
         VALUES ($1, 'v', $2, $3, 'Root', 'qcow2', 1, 'Enabled', 'Ready', FALSE, 0, 0)";
    site.fleet.vm("web", &site.host).await;
    site.fleet.sql(VOLUME, args![A, site.host.as_str(), "/ps/a.qcow2"]).await;
    site.world().has("volume", "/ps/a.qcow2", None);
    site.world().has("volume", &format!("/mnt/where-ps-really-is/{A}.qcow2"), Some(A));
    assert_eq!(brief(&site.settle().await), Vec::<String>::new());
    site.fleet.sql("DELETE FROM volume WHERE uuid = $1", args![A]).await;
    assert_eq!(site.sweep().await.len(), 2);
}

#[tokio::test]
async fn a_lease_of_no_vm_goes_and_those_of_vms_stay() {
    let site = Site::start().await;
    let fleet = &site.fleet;
    let l2 = fleet.l2("lan", "eth0").await;
    fleet.attach_l2(&l2).await.unwrap();
    let l3 = uuid(
        &fleet.cloud.create("/l3-networks", json!({ "name": "net", "l2NetworkUuid": l2 })).await.unwrap(),
    );
    let range = json!({ "name": "r", "networkCidr": "10.1.0.0/24" });
    fleet.cloud.create(&format!("/l3-networks/{l3}/ip-ranges/by-cidr"), range).await.unwrap();
    let services = json!({ "networkServices": { "Flat": ["DHCP"] } });
    let vm = fleet.vm("web", &site.host).await;
    let nic = fleet.nic(vm, &l3, "fa:00:00:00:00:01").await;
    const ADDRESS: &str = "UPDATE vm_nic SET ip = '10.1.0.9', netmask = '255.255.255.0' WHERE uuid = $1";
    fleet.sql(ADDRESS, args![nic]).await;
    fleet.cloud.create(&format!("/l3-networks/{l3}/network-services"), services).await.unwrap();
    assert_eq!(brief(&site.sweep().await), Vec::<String>::new());

    let stray = dhcp::Lease { mac: "fa:00:00:00:00:02".into(), ..Default::default() };
    let name = format!("br_eth0_{l3}");
    site.world().serves(&name, stray);
    site.set("consent", "repair").await;
    assert_eq!(brief(&site.settle().await), ["lease fa:00:00:00:00:02 Repaired"]);
    let left: Vec<String> = site.world().namespaces()[&name].leases.keys().cloned().collect();
    assert_eq!(left, ["fa:00:00:00:00:01"]);
}

#[tokio::test]
async fn what_a_flow_works_on_is_in_motion_and_a_suspicion_of_it_begins_anew() {
    let site = Site::start().await;
    site.set("consent", "repair").await;
    let file = format!("/ps/rootVolumes/acct-x/vol-{A}/{A}.qcow2");
    site.world().has("volume", &file, Some(A));
    site.sweep().await;
    site.owned(A).await;
    assert_eq!(brief(&site.settle().await), Vec::<String>::new());
    site.free(A).await;
    assert_eq!(brief(&site.sweep().await), [format!("volume {file} Suspected")], "it was first seen now");
    assert_eq!(site.world().owned().len(), 1);
}

#[tokio::test]
async fn a_cached_image_is_not_judged_while_a_vm_is_made_on_its_host() {
    let site = Site::start().await;
    site.set("consent", "repair").await;
    let vm = site.fleet.vm("web", &site.host).await;
    site.owned(&vm.to_string()).await;
    site.world().has("image", &format!("/ps/imagecache/template/{A}/{A}"), Some(A));
    assert_eq!(brief(&site.settle().await), Vec::<String>::new());
    assert_eq!(site.world().owned().len(), 1);
}

#[tokio::test]
async fn a_suspicion_is_not_repaired_whoever_asks() {
    let site = Site::start().await;
    site.world().domain(A.parse().unwrap(), Some("Running"));
    let told = site.sweep().await;
    let refused = site.act(&told[0], "repairFinding").await.unwrap_err();
    assert_eq!(refused.code, "SYS.1005");
    assert!(refused.details.contains("only suspected: sweep again 1 s after"), "{}", refused.details);
    assert_eq!(site.world().domains().len(), 1);
    site.world().domain(A.parse().unwrap(), None);
    assert_eq!(site.sweep().await, Vec::<Value>::new(), "a suspicion that was wrong leaves no trace");
}

#[tokio::test]
async fn what_turns_out_to_be_right_is_not_repaired() {
    let site = Site::start().await;
    let file = format!("/ps/rootVolumes/acct-x/vol-{A}/{A}.qcow2");
    site.world().has("volume", &file, Some(A));
    let told = site.settle().await;
    const VOLUME: &str = "INSERT INTO volume (uuid, name, type, format, size, state, status, is_shareable, \
         create_date, last_op_date) VALUES ($1, 'v', 'Root', 'qcow2', 1, 'Enabled', 'Ready', FALSE, 0, 0)";
    site.fleet.sql(VOLUME, args![A]).await;
    assert_eq!(site.act(&told[0], "repairFinding").await.unwrap()["state"], "Gone");
    assert_eq!(site.world().owned().len(), 1, "it belongs to somebody by now");
}

#[tokio::test]
async fn what_was_ignored_stays_so_until_its_repair_is_asked_for() {
    let site = Site::start().await;
    let file = format!("/ps/rootVolumes/acct-x/vol-{A}/{A}.qcow2");
    site.world().has("volume", &file, Some(A));
    let told = site.sweep().await;
    assert_eq!(site.act(&told[0], "ignoreFinding").await.unwrap()["state"], "Ignored");
    site.set("consent", "repair").await;
    let owned = std::mem::take(&mut *site.world().owned.lock().unwrap());
    site.settle().await;
    *site.world().owned.lock().unwrap() = owned;
    assert_eq!(brief(&site.settle().await), [format!("volume {file} Ignored")]);
    assert_eq!(site.events("/sweep/found").await, 0);
    assert_eq!(site.world().owned().len(), 1);
    assert_eq!(site.act(&told[0], "repairFinding").await.unwrap()["state"], "Repaired");
    assert_eq!(site.world().owned().len(), 0);
    let refused = site.act(&told[0], "ignoreFinding").await.unwrap_err();
    assert!(refused.details.contains("is Repaired: there is nothing to ignore"), "{}", refused.details);
}

#[tokio::test]
async fn a_repair_that_fails_is_told_and_tried_again() {
    let site = Site::start().await;
    site.set("consent", "repair").await;
    site.world().domain(A.parse().unwrap(), Some("Running"));
    site.world().refuses(vm::Destroy::PATH, "not today");
    let told = site.settle().await;
    assert_eq!(brief(&told), [format!("domain {A} Open")]);
    assert!(told[0]["error"].as_str().unwrap().contains("not today"), "{}", told[0]);
    site.world().obeys();
    let told = site.sweep().await;
    assert_eq!(brief(&told), [format!("domain {A} Repaired")]);
    assert!(told[0].get("error").is_none(), "{}", told[0]);
    assert_eq!(site.world().domains().len(), 0);

    site.world().domain(A.parse().unwrap(), Some("Running"));
    assert_eq!(brief(&site.sweep().await), [format!("domain {A} Suspected")], "what comes back begins anew");
}

#[tokio::test]
async fn a_host_that_obeys_another_cloud_or_is_being_worked_on_is_not_judged() {
    let site = Site::start().await;
    site.set("consent", "repair").await;
    let vm = site.fleet.vm("web", &site.host).await;
    site.world().domain(vm, None);
    site.world().domain(A.parse().unwrap(), Some("Running"));
    let known_as = std::mem::replace(&mut *site.world().known_as.lock().unwrap(), B.to_owned());
    let told = site.run(json!({})).await.unwrap();
    assert_eq!(told["inventories"], json!([]));
    assert!(told["skipped"][0]["reason"].as_str().unwrap().contains("must be connected again"), "{told}");
    *site.world().known_as.lock().unwrap() = known_as;
    site.owned(&site.host).await;
    assert_eq!(site.settle().await, Vec::<Value>::new());
    assert_eq!(site.vm_state(vm).await, "Running");
    site.free(&site.host).await;
    assert_eq!(site.sweep().await.len(), 2);
}

#[tokio::test]
async fn a_domain_whose_vm_is_elsewhere_is_reported_and_never_touched() {
    let fleet = Fleet::start(2).await;
    let hosts = fleet.hosts.clone();
    let site = Site { fleet, host: hosts[1].clone() };
    site.set("settle", "1").await;
    site.set("consent", "repair").await;
    let vm = site.fleet.vm("web", &hosts[0]).await;
    site.fleet.world(1).domain(vm, Some("Running"));
    let told = site.settle().await;
    assert_eq!(brief(&told), [format!("misplacedDomain {vm} Open")]);
    assert_eq!(told[0]["repairable"], false);
    assert_eq!(site.vm_state(vm).await, "Running");
    assert_eq!(site.fleet.world(1).domains().len(), 1);
}
