//! Flows against a real database: forward, back, parked, adopted by another controller.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::Duration;

use engine::api::{Gate, Session};
use engine::db::{Db, Migrations, Tx};
use engine::engine::Setup;
use engine::flow::fault::{Fault, Faults, Phase, Point};
use engine::flow::{Cx, Flow, FlowView, Steps};
use engine::inventory::Inventory;
use engine::module::Module;
use engine::node::Membership;
use engine::query::Query;
use engine::{Any, Engine, Id, Result, args, codes};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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

/// What a test makes its flow do, by the flow's key; and what the flow did.
#[derive(Default)]
struct Script {
    fail_act: AtomicBool,
    fail_record: AtomicBool,
    fail_undo: AtomicBool,
    hang: AtomicBool,
    acts: AtomicUsize,
    undone: AtomicUsize,
}

static SCRIPTS: LazyLock<Mutex<std::collections::HashMap<String, Arc<Script>>>> =
    LazyLock::new(Mutex::default);

fn script(key: &str) -> Arc<Script> {
    Arc::clone(SCRIPTS.lock().unwrap().entry(key.to_owned()).or_default())
}

#[derive(Debug, Serialize, Deserialize)]
struct Probe {
    resource: Id<Any>,
    key: String,
    seen: Vec<String>,
}

impl Probe {
    fn new(key: &str) -> Self {
        Probe { resource: Id::derived(&[key]), key: key.into(), seen: Vec::new() }
    }

    async fn enter(&mut self, tx: &mut Tx) -> Result<()> {
        self.seen.push("enter".into());
        tx.exec("INSERT INTO setting (category, name, value) VALUES ('probe', $1, 'in')", args![&self.key])
            .await?;
        Ok(())
    }

    async fn leave(&mut self, tx: &mut Tx) -> Result<()> {
        tx.exec("DELETE FROM setting WHERE name = $1", args![&self.key]).await?;
        Ok(())
    }

    async fn act(&mut self, _cx: &Cx) -> Result<()> {
        let script = script(&self.key);
        script.acts.fetch_add(1, Ordering::SeqCst);
        while script.hang.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.seen.push("act".into());
        match script.fail_act.load(Ordering::SeqCst) {
            true => Err(codes::OPERATION.because("the act was told to fail")),
            false => Ok(()),
        }
    }

    async fn undo(&mut self, _cx: &Cx) -> Result<()> {
        let script = script(&self.key);
        if script.fail_undo.load(Ordering::SeqCst) {
            return Err(codes::OPERATION.because("the undo was told to fail"));
        }
        script.undone.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn finish(&mut self, tx: &mut Tx) -> Result<()> {
        self.seen.push("finish".into());
        tx.exec("UPDATE setting SET value = 'done' WHERE name = $1", args![&self.key]).await?;
        match script(&self.key).fail_record.load(Ordering::SeqCst) {
            true => Err(codes::STATE.because("the record was told to fail")),
            false => Ok(()),
        }
    }
}

impl Flow for Probe {
    const NAME: &'static str = "test.probe";

    fn resource(&self) -> Id<Any> {
        self.resource
    }

    fn title(&self) -> String {
        format!("probe {}", self.key)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("enter", Self::enter, Self::leave)
            .act_undo("act", Self::act, Self::undo)
            .record("finish", Self::finish)
    }

    async fn answer(&self, _tx: &mut Tx) -> Result<Value> {
        Ok(json!({ "seen": self.seen }))
    }
}

/// Only changes rows.
#[derive(Debug, Serialize, Deserialize)]
struct Rows(Probe);

impl Rows {
    async fn enter(&mut self, tx: &mut Tx) -> Result<()> {
        self.0.enter(tx).await
    }

    async fn leave(&mut self, tx: &mut Tx) -> Result<()> {
        self.0.leave(tx).await
    }

    async fn finish(&mut self, tx: &mut Tx) -> Result<()> {
        self.0.finish(tx).await
    }
}

impl Flow for Rows {
    const NAME: &'static str = "test.rows";

    fn resource(&self) -> Id<Any> {
        self.0.resource
    }

    fn title(&self) -> String {
        format!("rows {}", self.0.key)
    }

    fn steps() -> Steps<Self> {
        Steps::new().record_undo("enter", Self::enter, Self::leave).record("finish", Self::finish)
    }

    async fn answer(&self, _tx: &mut Tx) -> Result<Value> {
        Ok(json!({ "seen": self.0.seen }))
    }
}

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        World { dir: tempfile::tempdir().unwrap() }
    }

    /// A controller on this world's database; a second one plays the successor of the first.
    async fn controller(&self) -> Engine {
        self.controller_with(None).await
    }

    async fn controller_with(&self, faults: Option<Arc<dyn Faults>>) -> Engine {
        let url = format!("sqlite:{}", self.dir.path().join("db").display());
        let setup = Setup {
            db: Db::open(&url, MIGRATIONS).await.unwrap(),
            modules: vec![Module::new("probe").flow::<Probe>().flow::<Rows>()],
            gate: GATE,
            sight: engine::query::everything,
            caller: Caller::new("http://127.0.0.1:1/callback"),
            membership: Membership {
                heartbeat: Duration::from_secs(30),
                lease: Duration::from_secs(90),
                ..Membership::alone()
            },
            stop: CancellationToken::new(),
            faults,
        };
        Engine::start(setup, ()).await.unwrap()
    }
}

async fn rows(engine: &Engine, key: &str) -> Vec<String> {
    let mut tx = engine.db().read().await.unwrap();
    let rows = tx.all::<(String,)>("SELECT value FROM setting WHERE name = $1", args![key]).await.unwrap();
    rows.into_iter().map(|row| row.0).collect()
}

async fn state(engine: &Engine) -> Value {
    let reply = Query::default().run::<FlowView>(&mut engine.db().read().await.unwrap()).await.unwrap();
    assert!(FlowView::FIELDS.iter().any(|field| field.column == "state"));
    serde_json::to_value(reply.first()).unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen: {what}");
}

#[tokio::test]
async fn a_flow_that_succeeds_runs_each_step_once_and_answers() {
    let world = World::new();
    let engine = world.controller().await;
    let answer = engine.run(Probe::new("ok")).await.unwrap();
    assert_eq!(answer["seen"], json!(["enter", "act", "finish"]));
    assert_eq!(rows(&engine, "ok").await, ["done"]);
    assert_eq!(state(&engine).await["state"], "done");
}

#[tokio::test]
async fn what_only_changes_rows_is_done_when_it_has_begun_or_is_on_record_as_undone() {
    let world = World::new();
    let engine = world.controller().await;
    let answer = engine.run(Rows(Probe::new("rows"))).await.unwrap();
    assert_eq!(answer["seen"], json!(["enter", "finish"]));
    assert_eq!(
        (rows(&engine, "rows").await, &state(&engine).await["state"]),
        (vec!["done".into()], &json!("done"))
    );
    let again = engine.run(Rows(Probe::new("rows"))).await;
    assert!(again.is_err(), "its resource is free again, but the row is there");
    let engine = World::new().controller().await;
    script("no rows").fail_record.store(true, Ordering::SeqCst);
    let error = engine.run(Rows(Probe::new("no rows"))).await.unwrap_err();
    assert_eq!(error.details(), "the record was told to fail");
    let flow = state(&engine).await;
    assert_eq!((&flow["state"], rows(&engine, "no rows").await), (&json!("undone"), vec![]), "{flow}");
    assert!(flow["error"].as_str().unwrap().contains("told to fail"), "{flow}");
}

#[tokio::test]
async fn a_failed_act_is_undone_and_leaves_no_rows() {
    let world = World::new();
    let engine = world.controller().await;
    script("act").fail_act.store(true, Ordering::SeqCst);
    let error = engine.run(Probe::new("act")).await.unwrap_err();
    assert_eq!(error.details(), "the act was told to fail");
    assert_eq!(script("act").undone.load(Ordering::SeqCst), 1);
    assert!(rows(&engine, "act").await.is_empty());
    assert_eq!(state(&engine).await["state"], "undone");
}

#[tokio::test]
async fn a_failed_record_takes_its_own_changes_back_and_undoes_the_act_before_it() {
    let world = World::new();
    let engine = world.controller().await;
    script("record").fail_record.store(true, Ordering::SeqCst);
    engine.run(Probe::new("record")).await.unwrap_err();
    assert_eq!(script("record").undone.load(Ordering::SeqCst), 1);
    assert!(rows(&engine, "record").await.is_empty());
}

#[tokio::test]
async fn a_failed_undo_parks_the_flow_visibly_and_is_tried_again() {
    let world = World::new();
    let engine = world.controller().await;
    let script = script("park");
    script.fail_act.store(true, Ordering::SeqCst);
    script.fail_undo.store(true, Ordering::SeqCst);
    let error = engine.run(Probe::new("park")).await.unwrap_err();
    assert!(error.details().contains("not cleaned up yet"), "{error}");
    assert_eq!(state(&engine).await["state"], "parked");
    let busy = engine.run(Probe::new("park")).await;
    assert!(busy.is_err(), "a parked flow still owns its resource");
    script.fail_undo.store(false, Ordering::SeqCst);
    until("undone", async || state(&engine).await["state"] == "undone").await;
    assert!(rows(&engine, "park").await.is_empty());
}

#[tokio::test]
async fn a_successor_goes_on_and_the_old_controller_changes_nothing_more() {
    let world = World::new();
    let old = world.controller().await;
    let script = script("adopt");
    script.hang.store(true, Ordering::SeqCst);
    let runs = tokio::spawn({
        let old = old.clone();
        async move { old.run(Probe::new("adopt")).await }
    });
    until("the act began", async || script.acts.load(Ordering::SeqCst) == 1).await;
    let successor = world.controller().await;
    until("the act was repeated", async || script.acts.load(Ordering::SeqCst) == 2).await;
    let epoch = state(&successor).await["epoch"].as_i64().unwrap();
    script.hang.store(false, Ordering::SeqCst);
    until("done", async || state(&successor).await["state"] == "done").await;
    tokio::time::timeout(Duration::from_secs(5), runs).await.ok();
    assert_eq!(rows(&successor, "adopt").await, ["done"]);
    assert_eq!(script.undone.load(Ordering::SeqCst), 0, "the old controller undid nothing");
    assert_eq!(state(&successor).await["epoch"], epoch);
}

#[tokio::test]
async fn a_unit_that_fails_or_panics_disturbs_no_other() {
    let world = World::new();
    let db = world.controller().await.db().clone();
    const INSERT: &str = "INSERT INTO setting (category, name, value) VALUES ('unit', $1, 'x')";
    let units = (0..60).map(|n: usize| {
        let db = db.clone();
        async move {
            db.write(move |tx| {
                Box::pin(async move {
                    tx.exec(INSERT, args![n.to_string()]).await?;
                    match n % 3 {
                        0 => Ok(()),
                        1 => Err(codes::STATE.because("no")),
                        _ => panic!("told to"),
                    }
                })
            })
            .await
            .is_ok()
        }
    });
    let kept = futures::future::join_all(units).await.into_iter().filter(|kept| *kept).count();
    assert_eq!(kept, 20);
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.number("SELECT count(*) FROM setting WHERE category = 'unit'", args![]).await.unwrap(), 20);
}

/// Ends the era, by the flow that hangs, while another flow is about to begin, and holds that one up until
/// there is a new era.
#[derive(Default)]
struct Between {
    engine: OnceLock<Engine>,
    dies: AtomicBool,
}

impl Faults for Between {
    #[expect(clippy::disallowed_methods, reason = "a thread may be held up for as long as the machine likes")]
    fn at(&self, point: &Point<'_>) -> Fault {
        if point.phase == Phase::Asked && point.title == "probe between" {
            let engine = self.engine.get().unwrap();
            let before = engine.era().unwrap().id;
            self.dies.store(true, Ordering::SeqCst);
            while engine.era().is_ok_and(|era| era.id == before) || engine.era().is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Fault::None
    }

    fn during(&self, _: Id<FlowView>) -> BoxFuture<'_, Fault> {
        Box::pin(async {
            while !self.dies.swap(false, Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            script("hangs").hang.store(false, Ordering::SeqCst);
            Fault::Crash
        })
    }

    fn haunted(&self, _: Id<FlowView>, _: Result<()>) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flow_that_begins_while_one_era_follows_another_is_not_forgotten() {
    let (world, faults) = (World::new(), Arc::new(Between::default()));
    let engine = world.controller_with(Some(Arc::clone(&faults) as Arc<dyn Faults>)).await;
    faults.engine.set(engine.clone()).ok().unwrap();
    script("hangs").hang.store(true, Ordering::SeqCst);
    let hangs = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run(Probe::new("hangs")).await }
    });
    until("the act runs", async || script("hangs").acts.load(Ordering::SeqCst) == 1).await;
    let done = tokio::time::timeout(Duration::from_secs(20), engine.run(Probe::new("between")));
    assert_eq!(done.await.expect("somebody drives it").unwrap()["seen"], json!(["enter", "act", "finish"]));
    hangs.await.unwrap().unwrap();
}
