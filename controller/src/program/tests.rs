//! A module of somebody else, in a controller with all that the tree has.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::api::{CALLS, Calling, Intercept};
use engine::boxed;
use engine::cascade::{AFTER_ACT, BEFORE_ACT, DELETIONS, How, Objection, Planned};
use engine::db::Tx;
use engine::error::Code;
use engine::event::Event;
use engine::flow::Cx;
use engine::hook::Hook;
use engine::inventory::find;
use engine::listener::Listener;
use engine::module::Module;
use engine::{Any, Engine, Id, Result, codes};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::testing::{Cloud, until};
use crate::vm;
use crate::zone::ZoneInventory;

const NO: Code = Code("GUARD.1", "the guard says no");
/// What an account has, whatever it has.
const FIVE: &str = "SELECT count(*) + 4 FROM account WHERE uuid = $1";

static HEARD: Mutex<Vec<Value>> = Mutex::new(Vec::new());
static DEAF: AtomicBool = AtomicBool::new(false);
static SETTLED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Guard;

#[boxed]
impl Intercept for Guard {
    async fn check(&self, calling: &Calling<'_>) -> Result<()> {
        match (calling.call.route.name, calling.params["name"].as_str()) {
            ("CreateZone", Some("forbidden")) => Err(NO.because("no zone is called \"forbidden\"")),
            ("CreateAccount", _) if calling.params["password"] != "*****" => Err(NO.because("a password")),
            _ => Ok(()),
        }
    }
}

#[boxed]
impl Objection for Guard {
    async fn blockers(
        &self,
        tx: &mut Tx,
        kind: &str,
        how: How,
        ids: &[Id<Any>],
    ) -> Result<Vec<(Id<Any>, String)>> {
        let mut kept = Vec::new();
        for id in ids.iter().filter(|_| kind == "Zone" && how.deletes()) {
            if find::<ZoneInventory>(tx, *id).await?.name == "kept" {
                kept.push((*id, "the guard keeps it".to_owned()));
            }
        }
        Ok(kept)
    }
}

/// Notes that it was called, and whether the zone was there.
struct Scribe(&'static str);

#[boxed]
impl Hook<Planned> for Scribe {
    async fn run(&self, cx: &Cx, planned: &Planned) -> Result<()> {
        let there = find::<ZoneInventory>(&mut cx.read().await?, planned.id).await.is_ok();
        SETTLED.lock().unwrap().push(format!("{} {} {there}", self.0, planned.name));
        Ok(())
    }
}

fn hear(_: Engine, event: Event) -> BoxFuture<'static, Result<()>> {
    Box::pin(async move {
        if DEAF.load(Ordering::SeqCst) {
            return Err(codes::OPERATION.because("not now"));
        }
        HEARD.lock().unwrap().push(event.payload["value"].clone());
        Ok(())
    })
}

fn guard() -> Module {
    Module::new("guard")
        .hook(&CALLS, "guard", &Guard)
        .hook(&DELETIONS, "guard", &Guard)
        .hook(&BEFORE_ACT, "before", &Scribe("before"))
        .hook(&AFTER_ACT, "after", &Scribe("after"))
        .claims(&vm::NUM, FIVE)
        .listener(Listener { name: "guard", events: "/global-config/*", hear })
}

#[tokio::test]
async fn a_module_may_object_to_calls_and_deletions_with_its_own_words() {
    let cloud = Cloud::extended(vec![guard()]).await;
    let refused = cloud.create("/zones", json!({ "name": "forbidden" })).await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.status), ("GUARD.1", 503));
    assert!(refused.details.contains("no zone is called"), "{}", refused.details);
    cloud.tenant("ann").await;

    let kept = cloud.create("/zones", json!({ "name": "kept" })).await.unwrap();
    let path = format!("/zones/{}", kept["uuid"].as_str().unwrap());
    let refused = cloud.delete(&path).await.unwrap_err();
    assert!(refused.details.contains("the guard keeps it"), "{}", refused.details);
    let preview = cloud.delete(&format!("{path}?preview=true")).await.unwrap();
    assert!(preview["preview"]["blockers"].to_string().contains("the guard keeps it"), "{preview}");
    assert!(SETTLED.lock().unwrap().iter().all(|one| !one.contains("kept")), "nothing was begun");

    let other = cloud.create("/zones", json!({ "name": "other" })).await.unwrap();
    cloud.delete(&format!("/zones/{}", other["uuid"].as_str().unwrap())).await.unwrap();
    assert_eq!(*SETTLED.lock().unwrap(), ["before other true", "after other true"]);
}

#[tokio::test]
async fn what_a_module_claims_counts_for_the_quota_of_another() {
    let cloud = Cloud::extended(vec![guard()]).await;
    let (account, _) = cloud.tenant("ann").await;
    let usage = cloud.get(&format!("/accounts/quota/{account}/usages")).await.unwrap();
    let usages = usage["usages"].as_array().unwrap();
    let used = |name: &str| usages.iter().find(|usage| usage["name"] == name).unwrap()["used"].clone();
    assert_eq!((used("vm.num"), used("vm.totalNum")), (json!(5), json!(0)));
}

#[tokio::test]
async fn a_module_hears_every_event_in_order_until_it_has_taken_it() {
    let cloud = Cloud::extended(vec![guard()]).await;
    let set = async |value: u32| {
        let path = "/global-configurations/host/ping.interval/actions";
        cloud.act(path, "updateGlobalConfig", json!({ "value": value.to_string() })).await.unwrap();
    };
    let heard = || HEARD.lock().unwrap().clone();
    until("it listens", async || {
        set(30).await;
        heard().ends_with(&[json!("30")])
    })
    .await;
    DEAF.store(true, Ordering::SeqCst);
    HEARD.lock().unwrap().clear();
    set(40).await;
    set(50).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!heard().contains(&json!("40")));
    DEAF.store(false, Ordering::SeqCst);
    until("it has heard all", async || heard().ends_with(&[json!("40"), json!("50")])).await;
}
