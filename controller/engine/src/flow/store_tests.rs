//! Who has lost a flow writes nothing of it, in any way; and what is written is all that was to be written.
//! The walk (`controller/tests/walk`) sees only what becomes of such writes in the end.

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wire::caller::Caller;

use super::*;
use crate::db::{Db, Migrations};
use crate::engine::{Engine, Setup};
use crate::flow::Steps;
use crate::inventory;
use crate::node::Membership;

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/postgres");

#[derive(Debug, Serialize, Deserialize)]
struct Still(Id<Any>);

impl Flow for Still {
    const NAME: &'static str = "test.still";

    fn resource(&self) -> Id<Any> {
        self.0
    }

    fn title(&self) -> String {
        "stand still".into()
    }

    fn steps() -> Steps<Self> {
        Steps::new()
    }
}

/// Everything that a guard writes or proves.
const DEEDS: [&str; 8] = ["save", "turn", "park", "granted", "renew", "prove", "hold", "end"];

async fn act(guard: Guard, tx: &mut Tx, deed: &str) -> Result<()> {
    let (error, memory) = (codes::OPERATION.because("a reason"), ("{\"later\":1}".into(), "[1]".into()));
    match deed {
        "save" => guard.save(tx, 7, memory).await,
        "turn" => guard.turn(tx, &codes::OPERATION.because("another reason")).await.map(drop),
        "park" => guard.park(tx, &error, "[2]".into()).await,
        "granted" => guard.granted(tx).await,
        "renew" => guard.renew(tx).await.map(drop),
        "prove" => guard.prove(tx).await,
        "hold" => guard.hold(tx, Id::derived(&["another"])).await.map(drop),
        "end" => guard.end(tx, "done", memory, Some(&json!({ "all": "well" }))).await,
        _ => unreachable!("{deed} is none of them"),
    }
}

struct World {
    db: Db,
    guard: Guard,
    /// Whoever commits tells it; it does not know this flow, and leaves it alone.
    _engine: Engine,
    _dir: tempfile::TempDir,
}

/// What the row says of a flow.
#[derive(Debug)]
struct Seen {
    view: FlowView,
    body: String,
    wish: Option<String>,
    answer: Option<String>,
}

impl World {
    /// A database with a parked flow that an operator wishes to be tried again.
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("db").display());
        let db = Db::open(&url, Migrations { sqlite: &SQLITE, postgres: &POSTGRES }).await.unwrap();
        let setup = Setup {
            db: db.clone(),
            modules: Vec::new(),
            gate: |_, _| Box::pin(async { Err(codes::INTERNAL.because("nobody comes in")) }),
            sight: crate::query::everything,
            caller: Caller::new("http://127.0.0.1:1/callback"),
            membership: Membership::alone(),
            stop: CancellationToken::new(),
            faults: None,
        };
        let engine = Engine::start(setup, ()).await.unwrap();
        let (node, id) = (Id::random(), Id::random());
        let start = Start { id, job: None, parent: None };
        let begun = db
            .write(move |tx| Box::pin(async move { begin(tx, Still(Id::random()), start, node, None).await }))
            .await;
        let Ok(Begun::Now(row)) = begun else { panic!("it does not begin") };
        let world =
            World { db, guard: Guard { flow: id, node, epoch: row.epoch }, _engine: engine, _dir: dir };
        world.act(world.guard, "park").await.unwrap();
        world.wish().await;
        world
    }

    async fn act(&self, guard: Guard, deed: &'static str) -> Result<()> {
        self.db.write(move |tx| Box::pin(act(guard, tx, deed))).await
    }

    async fn wish(&self) {
        let id = self.guard.flow;
        let wished = self.db.write(move |tx| {
            Box::pin(async move { wish(tx, id, "retry", "parked", &[FORWARD, UNDO]).await })
        });
        assert!(wished.await.unwrap());
    }

    async fn seen(&self) -> Seen {
        let (mut tx, id) = (self.db.read().await.unwrap(), self.guard.flow);
        Seen {
            view: inventory::find(&mut tx, id).await.unwrap(),
            body: find(&mut tx, id).await.unwrap().unwrap().body,
            wish: wished(&mut tx, id).await.unwrap(),
            answer: end(&mut tx, id).await.unwrap().unwrap().answer,
        }
    }

    async fn adopted(&self, epoch: i64) -> Option<FlowRow> {
        let FlowRow { uuid, name, title, resource, .. } =
            find(&mut self.db.read().await.unwrap(), self.guard.flow).await.unwrap().unwrap();
        let claim = Claim { uuid, name, title, resource, owner: self.guard.node, epoch };
        let taken = self.db.write(move |tx| Box::pin(async move { adopt(tx, &claim, Id::random()).await }));
        taken.await.unwrap()
    }
}

#[tokio::test]
async fn who_has_lost_a_flow_writes_nothing_of_it() {
    let world = World::new().await;
    let (own, before) = (world.guard, format!("{:?}", world.seen().await));
    let strangers = [Guard { node: Id::random(), ..own }, Guard { epoch: own.epoch - 1, ..own }];
    for stranger in strangers {
        for deed in DEEDS {
            let refused = world.act(stranger, deed).await.unwrap_err();
            assert!(refused.is(codes::LOST), "{deed}: {refused}");
            assert_eq!(format!("{:?}", world.seen().await), before, "{deed}");
        }
    }
    for deed in ["prove", "hold"] {
        world.act(own, deed).await.unwrap();
    }
    assert!(world.adopted(own.epoch - 1).await.is_none(), "it was adopted by who saw an older owner");
}

#[tokio::test]
async fn a_flow_that_has_ended_is_nobodys() {
    let world = World::new().await;
    world.act(world.guard, "end").await.unwrap();
    let ended = world.seen().await;
    assert_eq!((&*ended.view.state, ended.answer.as_deref()), ("done", Some("{\"all\":\"well\"}")));
    assert_eq!((&*ended.body, &*ended.view.log), ("{\"later\":1}", "[1]"));
    for deed in ["prove", "hold"] {
        assert!(world.act(world.guard, deed).await.unwrap_err().is(codes::LOST), "{deed}");
    }
    assert!(world.adopted(world.guard.epoch).await.is_none(), "it was adopted");
    let (resource, id) = (ended.view.resource, Id::random());
    let again = Start { id, job: None, parent: None };
    let begun = world.db.write(move |tx| {
        Box::pin(async move { begin(tx, Still(resource), again, Id::random(), None).await })
    });
    let Ok(Begun::Now(next)) = begun.await else { panic!("its resource is not free") };
    assert!(next.generation > ended.view.generation && next.epoch > ended.view.epoch);
}

#[tokio::test]
async fn everything_that_is_told_is_written() {
    let world = World::new().await;
    let parked = world.seen().await;
    assert_eq!((&*parked.view.state, parked.view.attempts, &*parked.view.log), ("parked", 1, "[2]"));
    assert!(parked.view.error.unwrap().contains("a reason"));
    world.act(world.guard, "granted").await.unwrap();
    assert_eq!(world.seen().await.wish, None, "a wish is granted once");

    world.act(world.guard, "save").await.unwrap();
    let saved = world.seen().await;
    assert_eq!((&*saved.view.state, saved.view.attempts, saved.view.step), ("running", 0, 7));
    assert_eq!((&*saved.body, &*saved.view.log), ("{\"later\":1}", "[1]"));

    world.act(world.guard, "park").await.unwrap();
    world.wish().await;
    world.act(world.guard, "turn").await.unwrap();
    let turned = world.seen().await;
    assert_eq!((&*turned.view.direction, turned.wish), (UNDO, None));
    assert!(turned.view.error.unwrap().contains("another reason"));
    assert!(turned.view.epoch > world.guard.epoch, "the way back has an epoch of its own");

    let back = Guard { epoch: turned.view.epoch, ..world.guard };
    world.act(back, "renew").await.unwrap();
    let renewed = world.seen().await.view.epoch;
    assert!(renewed > back.epoch);
    let adopted = world.adopted(renewed).await.expect("its owner is dead");
    assert!(adopted.epoch > renewed);
}
