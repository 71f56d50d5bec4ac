//! Hosts that fall silent: those that are down are given up and their VMs run elsewhere, those that live are left
//! alone, and nothing runs twice.

use std::sync::Arc;
use std::time::Duration;

use cumulet_tests::http::Client;
use fleet::{Host, Moment, Share, World};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wire::Call;
use wire::calls::{ha, vm};

use crate::site::Site;

const DIR: &str = "/fleet_ha";
/// Longer than anything here takes on a machine that is busy with other things too.
const PATIENCE: Duration = Duration::from_secs(90);
/// In which a host that is silent is looked at more than once.
const A_WHILE: Duration = Duration::from_secs(14);

/// Two hosts that share a storage; the second one is the one that falls silent.
struct Pair {
    site: Site,
    other: Host,
    storage: String,
}

impl Pair {
    async fn start(number: u8) -> Pair {
        let share = Some(Share::at(DIR));
        let (mut site, other) = Site::of_two_with(number, [share, share]).await;
        for (name, value) in
            [("host/ping.interval", "1"), ("sweep/interval", "1"), ("host/ping.timeout", "2")]
        {
            set(&site, name, value).await;
        }
        // The pauses before the next passes were chosen before.
        site.controller.killer()();
        site.controller.dies().await.unwrap();
        site.controller.start().await.unwrap();
        let params = json!({ "name": "common", "url": DIR, "zoneUuid": site.zone });
        let storage = text(&site.api.create("/primary-storage/smp", params).await.unwrap(), "uuid");
        let attached = format!("/clusters/{}/primary-storage/{storage}", site.cluster);
        site.api.create(&attached, json!({})).await.unwrap();
        Pair { site, other, storage }
    }

    fn second(&self) -> &str {
        &self.site.hosts[1]
    }

    /// On the second host, with this level if any.
    async fn vm(&self, name: &str, level: Option<&str>, storage: &str) -> String {
        let mut params = self.site.vm(name);
        params["hostUuid"] = json!(self.second());
        params["primaryStorageUuidForRootVolume"] = json!(storage);
        let made = self.site.api.create("/vm-instances", params).await.unwrap();
        let uuid = text(&made, "uuid");
        if let Some(level) = level {
            let path = format!("/vm-instances/{uuid}/ha-levels");
            self.site.api.create(&path, json!({ "level": level })).await.unwrap();
            assert_eq!(self.site.api.get(&path).await.unwrap()["level"], json!(level));
        }
        uuid
    }

    async fn guarded(&self, name: &str) -> String {
        self.vm(name, Some("OnHostFailure"), &self.storage).await
    }

    /// State, and host if it is on one.
    async fn stands(&self, vm: &str) -> (String, Option<String>) {
        let found = self.site.list(&format!("/vm-instances?q=uuid={vm}")).await.remove(0);
        (text(&found, "state"), found["hostUuid"].as_str().map(str::to_owned))
    }

    async fn runs_on_first(&self, vm: &str) -> bool {
        self.stands(vm).await == ("Running".into(), Some(self.site.hosts[0].clone()))
    }

    async fn fencing(&self) -> Value {
        self.site.api.get(&format!("/hosts/{}/fencing", self.second())).await.unwrap()
    }

    async fn is(&self, state: &str) -> bool {
        self.fencing().await["state"] == json!(state)
    }

    /// The second host loses power, and so nobody answers there.
    fn power_cut(&mut self) {
        self.other.is_cut_off();
        self.other.world.loses_power();
    }

    async fn power_is_back(&mut self) {
        self.other.world.regains_power();
        self.other.is_reached_again().await.unwrap();
    }

    async fn is_connected(&self) -> bool {
        self.site.list(&format!("/hosts?q=uuid={}", self.second())).await[0]["status"] == json!("Connected")
    }

    /// On how many hosts the VM runs in truth.
    fn copies(&self, vm: &str) -> usize {
        let runs = |world: &World| usize::from(world.state().domains.contains_key(vm));
        runs(self.site.world()) + runs(&self.other.world)
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

async fn set(site: &Site, name: &str, value: &str) {
    let path = format!("/global-configurations/{name}/actions");
    site.api.call(Method::PUT, &path, json!({ "updateGlobalConfig": { "value": value } })).await.unwrap();
}

/// As an agent of its own accord.
async fn says(site: &Site, subject: &str, body: &Value) {
    let url = format!("http://{}/zstack/asyncrest/sendcommand", site.controller.agents());
    let (headers, body) = ([("commandpath", subject.to_owned())], body.to_string().into_bytes().into());
    let answer = Client::default().send(Method::POST, &url, &headers, body, PATIENCE).await.unwrap();
    assert!(answer.status.is_success(), "{answer:?}");
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "still not so: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vms_of_a_host_without_power_run_elsewhere_and_it_comes_back_empty() {
    let mut pair = Pair::start(31).await;
    let mut vms = Vec::new();
    for number in 0..5 {
        vms.push(pair.guarded(&format!("vm{number}")).await);
    }
    let plain = pair.vm("plain", None, &pair.storage).await;
    let local = pair.vm("local", Some("NeverStop"), &pair.site.primary_storage).await;
    let began = Instant::now();
    pair.power_cut();
    until("all run on the other host", async || {
        for vm in &vms {
            if !pair.runs_on_first(vm).await {
                return false;
            }
        }
        true
    })
    .await;
    println!("five vms run elsewhere after {:?}", began.elapsed());
    assert!(pair.site.world().effects().iter().all(|effect| !effect.again), "one was started twice");
    assert_eq!(pair.stands(&plain).await, ("Stopped".into(), None), "one without a level can be started");
    until("nobody knows of the local one", async || pair.stands(&local).await.0 == "Unknown").await;
    let told = pair.fencing().await;
    assert_eq!((&told["state"], &told["evidence"]), (&json!("Fenced"), &json!("storage")), "{told}");
    assert_eq!(told["vms"].as_array().unwrap().len(), 1, "{told}");
    assert!(pair.site.world().count(ha::FenceLease::PATH) == 1);

    pair.power_is_back().await;
    until("it is connected", async || pair.is_connected().await).await;
    until("it is trusted", async || pair.is("Returned").await).await;
    // Its guest is gone, and it shall never stop.
    until("the local one runs again", async || {
        pair.stands(&local).await == ("Running".into(), Some(pair.second().to_owned()))
    })
    .await;
    for vm in &vms {
        assert_eq!(pair.copies(vm), 1);
    }
    let started = pair.vm("new", None, &pair.storage).await;
    assert_eq!(pair.stands(&started).await.1.as_deref(), Some(pair.second()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_only_nobody_reaches_keeps_its_vms() {
    let mut pair = Pair::start(32).await;
    let vm = pair.guarded("web").await;
    pair.other.is_cut_off();
    until("it is known to live", async || pair.is("Alive").await).await;
    let told = pair.fencing().await;
    assert!(text(&told, "reason").contains("it renews its lease"), "{told}");
    sleep(A_WHILE).await;
    assert!(pair.other.world.watched() > 1, "it is looked at again");
    assert_eq!(pair.stands(&vm).await, ("Running".into(), Some(pair.second().to_owned())));
    assert_eq!((pair.copies(&vm), pair.site.world().count(ha::FenceLease::PATH)), (1, 0));
    let actions = format!("/hosts/{}/actions", pair.second());
    let refused = pair.site.refused(Method::PUT, &actions, json!({ "giveUpHost": {} })).await;
    assert_eq!(refused.code, "HA.1001", "{refused:?}");
    pair.other.is_reached_again().await.unwrap();
    until("it is connected", async || pair.is_connected().await).await;
    assert_eq!(pair.stands(&vm).await, ("Running".into(), Some(pair.second().to_owned())));
    assert!(pair.other.world.state().domains.contains_key(&vm));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_never_given_up_on_pings_alone() {
    let mut pair = Pair::start(33).await;
    let vm = pair.guarded("web").await;
    // Nobody can say anything of its leases, though it is down in truth.
    pair.site.world().refuse(ha::WatchLease::PATH, "the storage hangs");
    pair.power_cut();
    until("nobody can tell", async || pair.is("Undecided").await).await;
    let told = pair.fencing().await;
    assert!(text(&told, "reason").contains("the storage hangs"), "{told}");
    sleep(A_WHILE).await;
    assert_eq!(pair.stands(&vm).await, ("Running".into(), Some(pair.second().to_owned())));
    assert_eq!(pair.copies(&vm), 0);
    let actions = format!("/hosts/{}/actions", pair.second());
    let refused = pair.site.refused(Method::PUT, &actions, json!({ "giveUpHost": {} })).await;
    assert!(refused.code == "HA.1001" && refused.details.contains("nobody can tell"), "{refused:?}");
    pair.site.world().obey();
    until("it runs elsewhere", async || pair.runs_on_first(&vm).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_loses_too_many_hosts_is_held() {
    let mut pair = Pair::start(34).await;
    set(&pair.site, "ha/fencing.cap", "0").await;
    let vm = pair.guarded("web").await;
    pair.power_cut();
    until("it is held", async || pair.is("Held").await).await;
    let told = pair.fencing().await;
    assert!(text(&told, "reason").contains("fencing.cap"), "{told}");
    let actions = format!("/hosts/{}/actions", pair.second());
    let refused = pair.site.refused(Method::PUT, &actions, json!({ "giveUpHost": {} })).await;
    assert_eq!(refused.code, "HA.1002", "{refused:?}");
    assert_eq!(pair.site.world().count(ha::FenceLease::PATH), 0);
    set(&pair.site, "ha/fencing.cap", "1").await;
    until("it runs elsewhere", async || pair.runs_on_first(&vm).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_dies_in_the_midst_starts_each_vm_once() {
    let mut pair = Pair::start(35).await;
    let (first, second) = (pair.guarded("one").await, pair.guarded("two").await);
    pair.site.host.world.trap(ha::FenceLease::PATH, Moment::After, pair.site.controller.killer());
    pair.power_cut();
    pair.site.controller.dies().await.unwrap();
    pair.site.controller.start().await.unwrap();
    pair.site.host.world.trap(vm::Start::PATH, Moment::After, pair.site.controller.killer());
    pair.site.controller.dies().await.unwrap();
    pair.site.controller.start().await.unwrap();
    until("both run elsewhere", async || {
        pair.runs_on_first(&first).await && pair.runs_on_first(&second).await
    })
    .await;
    assert!(pair.site.world().effects().iter().all(|effect| !effect.again), "one was started twice");
    assert!(pair.site.world().sprung());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_returns_before_it_is_fenced_is_not_given_up() {
    let mut pair = Pair::start(36).await;
    let vm = pair.guarded("web").await;
    let world = Arc::clone(&pair.other.world);
    // It was silent while it was watched, and lives when the mark is made.
    pair.site.host.world.trap(ha::FenceLease::PATH, Moment::Before, move || world.regains_power());
    pair.power_cut();
    until("it is known to live", async || pair.is("Alive").await).await;
    assert!(pair.site.world().sprung());
    assert_eq!(pair.stands(&vm).await, ("Running".into(), Some(pair.second().to_owned())));
    assert_eq!(pair.site.world().state().domains.len(), 0);
    pair.other.is_reached_again().await.unwrap();
    // The guest was lost with the power after all, and it was the guest that stopped, as far as anybody knows.
    until("it is stopped", async || pair.stands(&vm).await.0 == "Stopped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_shall_never_stop_is_started_again_but_not_against_its_users_will() {
    let pair = Pair::start(37).await;
    let never = pair.vm("never", Some("NeverStop"), &pair.storage).await;
    let sometimes = pair.guarded("sometimes").await;
    for vm in [&never, &sometimes] {
        pair.other.world.meddle(|state| {
            state.domains.remove(vm);
            state.open.retain(|disk, _| !disk.starts_with(vm));
        });
    }
    until("one runs again", async || pair.stands(&never).await.0 == "Running" && pair.copies(&never) == 1)
        .await;
    until("the other is seen to be stopped", async || pair.stands(&sometimes).await.0 == "Stopped").await;
    let actions = format!("/vm-instances/{never}/actions");
    pair.site.api.call(Method::PUT, &actions, json!({ "stopVmInstance": {} })).await.unwrap();
    sleep(A_WHILE).await;
    assert_eq!(pair.stands(&never).await, ("Stopped".into(), None));
    assert_eq!(pair.stands(&sometimes).await, ("Stopped".into(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_loses_its_storage_kills_its_vms_and_they_run_elsewhere() {
    let pair = Pair::start(38).await;
    let vm = pair.guarded("web").await;
    let killed = pair.other.world.loses_share();
    assert_eq!(killed, [vm.as_str()]);
    let report = json!({ "hostUuid": pair.second(), "psUuids": [pair.storage], "vmUuidsString": killed.join(","),
        "reason": "the storage was not written to for 10 s", "fencerFailure": true });
    says(&pair.site, ha::REPORT_SELF_FENCER, &report).await;
    until("it runs elsewhere", async || pair.runs_on_first(&vm).await).await;
    assert_eq!(pair.copies(&vm), 1);
    assert!(pair.is_connected().await, "nothing else is wrong with it");
}
