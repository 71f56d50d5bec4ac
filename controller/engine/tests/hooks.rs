//! Hooks in flows: in order, undone in the opposite order, and missed when they are needed and not there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::api::{Gate, Session};
use engine::boxed;
use engine::db::{Db, Migrations, Tx};
use engine::engine::Setup;
use engine::error::Code;
use engine::flow::{Cx, Flow, FlowView, Steps};
use engine::hook::{Hook, Point};
use engine::module::Module;
use engine::node::Membership;
use engine::query::Query;
use engine::{Any, Engine, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wire::caller::Caller;

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/postgres");
const MIGRATIONS: Migrations = Migrations { sqlite: &SQLITE, postgres: &POSTGRES };

const GATE: Gate = |_, _| {
    Box::pin(async {
        Ok(Session { token: String::new(), account: Id::random(), user: None, admin: true, rights: None })
    })
};

static BEFORE: Point<dyn Hook<String>> = Point::step("before fetch", "nothing is fetched yet");
const NO: Code = Code("X.1", "the guest says no");

/// What happened, in order: `<flow> <who> <what>`.
static HAPPENED: Mutex<Vec<String>> = Mutex::new(Vec::new());
static HANGS: AtomicBool = AtomicBool::new(false);

fn note(what: String) {
    HAPPENED.lock().unwrap().push(what);
}

fn happened(key: &str) -> Vec<String> {
    let all = HAPPENED.lock().unwrap();
    all.iter().filter_map(|one| one.strip_prefix(&format!("{key} "))).map(str::to_owned).collect()
}

#[derive(Debug, Serialize, Deserialize)]
struct Fetch {
    key: String,
}

impl Fetch {
    async fn enter(&mut self, _: &mut Tx) -> Result<()> {
        Ok(())
    }

    async fn fetch(&mut self, _: &Cx) -> Result<()> {
        note(format!("{} fetch", self.key));
        while self.key == "hangs" && HANGS.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match self.key.as_str() {
            "well" => Ok(()),
            _ => Err(codes::OPERATION.because("nothing to fetch")),
        }
    }
}

impl Flow for Fetch {
    const NAME: &'static str = "test.fetch";

    fn resource(&self) -> Id<Any> {
        Id::derived(&[&self.key])
    }

    fn title(&self) -> String {
        format!("fetch {}", self.key)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("enter", Self::enter)
            .point(&BEFORE, |fetch, _| Box::pin(async { Ok(fetch.key.clone()) }))
            .act("fetch", Self::fetch)
    }
}

struct Guest(&'static str);

#[boxed]
impl Hook<String> for Guest {
    async fn run(&self, _: &Cx, key: &String) -> Result<()> {
        note(format!("{key} {} run", self.0));
        match key == "refused" && self.0 == "second" {
            true => Err(NO.because("not today")),
            false => Ok(()),
        }
    }

    async fn undo(&self, _: &Cx, key: &String) -> Result<()> {
        note(format!("{key} {} undo", self.0));
        Ok(())
    }
}

fn tree() -> Module {
    Module::new("tree").flow::<Fetch>().point(&BEFORE)
}

fn plugin() -> Module {
    Module::new("plugin")
        .hook(&BEFORE, "second", &Guest("second"))
        .hook(&BEFORE, "first", &Guest("first"))
        .before("second")
}

async fn controller(dir: &tempfile::TempDir, modules: Vec<Module>) -> Result<Engine> {
    let url = format!("sqlite:{}", dir.path().join("db").display());
    let setup = Setup {
        db: Db::open(&url, MIGRATIONS).await?,
        modules,
        gate: GATE,
        sight: engine::query::everything,
        caller: Caller::new("http://127.0.0.1:1/callback"),
        membership: Membership {
            heartbeat: Duration::from_secs(30),
            lease: Duration::from_secs(90),
            ..Membership::alone()
        },
        stop: CancellationToken::new(),
        faults: None,
    };
    Engine::start(setup, ()).await
}

async fn view(engine: &Engine) -> Value {
    let reply = Query::default().run::<FlowView>(&mut engine.db().read().await.unwrap()).await.unwrap();
    serde_json::to_value(reply.first()).unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen: {what}");
}

#[tokio::test]
async fn hooks_run_in_order_and_are_taken_back_in_the_opposite_one() {
    let dir = tempfile::tempdir().unwrap();
    let engine = controller(&dir, vec![tree(), plugin()]).await.unwrap();
    engine.run(Fetch { key: "well".into() }).await.unwrap();
    assert_eq!(happened("well"), ["first run", "second run", "fetch"]);
    engine.run(Fetch { key: "badly".into() }).await.unwrap_err();
    assert_eq!(happened("badly"), ["first run", "second run", "fetch", "second undo", "first undo"]);
}

#[tokio::test]
async fn a_hook_that_fails_stops_the_flow_with_its_own_error() {
    let dir = tempfile::tempdir().unwrap();
    let engine = controller(&dir, vec![tree(), plugin()]).await.unwrap();
    let error = engine.run(Fetch { key: "refused".into() }).await.unwrap_err();
    assert_eq!((error.code(), error.details()), ("X.1", "not today"));
    assert_eq!(happened("refused"), ["first run", "second run", "second undo", "first undo"]);
    assert_eq!(view(&engine).await["state"], "undone");
}

/// The first controller stays where it hangs; a second one on its database plays its successor.
#[tokio::test]
async fn what_a_plugin_did_is_not_taken_back_by_a_controller_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = controller(&dir, vec![tree(), plugin()]).await.unwrap();
    HANGS.store(true, Ordering::SeqCst);
    let fetching = tokio::spawn({
        let first = first.clone();
        async move { first.run(Fetch { key: "hangs".into() }).await }
    });
    let fetches = || happened("hangs").iter().filter(|one| *one == "fetch").count();
    until("it hangs", async || fetches() == 1).await;
    let bare = controller(&dir, vec![tree()]).await.unwrap();
    until("its successor has it", async || fetches() == 2).await;
    HANGS.store(false, Ordering::SeqCst);
    until("it is parked", async || view(&bare).await["state"] == "parked").await;
    let told = view(&bare).await.to_string();
    assert!(told.contains("a plugin has acted before fetch"), "{told}");
    assert!(!happened("hangs").iter().any(|one| one.ends_with("undo")), "{:?}", happened("hangs"));
    fetching.abort();

    let whole = controller(&dir, vec![tree(), plugin()]).await.unwrap();
    until("it is taken back", async || view(&whole).await["state"] == "undone").await;
    assert!(happened("hangs").ends_with(&["second undo".to_owned(), "first undo".to_owned()]));
}

#[tokio::test]
async fn modules_that_do_not_fit_together_are_no_controller() {
    let dir = tempfile::tempdir().unwrap();
    let stray = controller(&dir, vec![Module::new("tree").flow::<Fetch>(), plugin()]).await;
    assert!(stray.is_err_and(|error| error.details().contains("\"before fetch\", which is no point")));
}
