//! Random questions about random rows: both kinds of database answer what a naive evaluation in memory does,
//! in every order, page by page, and whoever asks sees no row that is hidden from them, nor its shadow.
//!
//! The seed is printed; `QUERY_SEED=7` asks the same again.

#[path = "query/model.rs"]
mod model;
#[path = "query/naive.rs"]
mod naive;

use std::path::Path;

use cumulet_controller::{MIGRATIONS, cluster, host, image, l2, l3, machine, nic, offering, primary_storage};
use cumulet_controller::{affinity_group, backup_storage, tag, vm, volume, zone};
use cumulet_tests::postgres::Postgres;
use engine::api::Session;
use engine::db::Db;
use engine::engine::Setup;
use engine::module::Module;
use engine::node::Membership;
use engine::query::condition::Test;
use engine::query::{Args, Condition, Entity, Select, Viewer};
use engine::{Engine, Id, codes};
use model::{Question, World};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wire::caller::Caller;

const QUESTIONS: usize = 400;

/// Every inventory with its relations, without what works on them.
fn lists() -> Module {
    Module::new("lists")
        .query::<zone::ZoneInventory>("Q", "/1")
        .query::<cluster::ClusterInventory>("Q", "/2")
        .query::<machine::MachineInventory>("Q", "/3")
        .query::<host::HostInventory>("Q", "/4")
        .query::<primary_storage::PrimaryStorageInventory>("Q", "/5")
        .query::<backup_storage::BackupStorageInventory>("Q", "/6")
        .query::<image::ImageInventory>("Q", "/7")
        .related::<image::ImageBackupStorageRefInventory>()
        .query::<l2::L2NetworkInventory>("Q", "/8")
        .query::<l3::L3NetworkInventory>("Q", "/9")
        .related::<l3::L3NetworkDns>()
        .related::<l3::L3NetworkHostRouteInventory>()
        .related::<l3::service::NetworkServiceL3NetworkRefInventory>()
        .query::<l3::service::NetworkServiceProviderInventory>("Q", "/10")
        .query::<l3::range::IpRangeInventory>("Q", "/11")
        .query::<l3::address::UsedIpInventory>("Q", "/12")
        .query::<offering::InstanceOfferingInventory>("Q", "/13")
        .query::<volume::VolumeInventory>("Q", "/14")
        .query::<nic::VmNicInventory>("Q", "/15")
        .query::<vm::VmInstanceInventory>("Q", "/16")
        .query::<vm::VmCdRomInventory>("Q", "/19")
        .query::<tag::UserTagInventory>("Q", "/17")
        .query::<tag::SystemTagInventory>("Q", "/18")
        .query::<affinity_group::AffinityGroupInventory>("Q", "/20")
        .related::<affinity_group::AffinityGroupUsageInventory>()
}

/// What is named so is seen by the controller alone.
fn sight(viewer: &Viewer, entity: &Entity, alias: &str, args: &mut Args) -> Option<String> {
    let hides = matches!(viewer, Viewer::Client(_)) && entity.field("name").is_some();
    hides.then(|| format!("{alias}.name <> {}", args.mark(model::HIDDEN)))
}

async fn engine(url: &str) -> Engine {
    let setup = Setup {
        db: Db::open(url, MIGRATIONS).await.unwrap(),
        modules: vec![lists()],
        gate: |_, _| Box::pin(async { Err(codes::INTERNAL.because("nobody comes in")) }),
        sight,
        caller: Caller::new("http://127.0.0.1:1/callback"),
        membership: Membership::alone(),
        stop: CancellationToken::new(),
        faults: None,
    };
    Engine::start(setup, ()).await.unwrap()
}

/// One of each kind, and an engine on it.
struct Databases {
    engines: [Engine; 2],
    sqlite: SqliteConnection,
    postgres: PgConnection,
    _server: Postgres,
    _dir: TempDir,
}

impl Databases {
    async fn start(name: &str) -> Databases {
        let dir = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}", dir.path().join("query.db").display());
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-query-{name}"));
        let _of_an_earlier_run = std::fs::remove_dir_all(&data);
        let server = Postgres::start(&data).await.unwrap();
        let url = server.database("query").unwrap();
        Databases {
            engines: [engine(&file).await, engine(&url).await],
            sqlite: SqliteConnection::connect(&file).await.unwrap(),
            postgres: PgConnection::connect(&url).await.unwrap(),
            _server: server,
            _dir: dir,
        }
    }

    async fn enter(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.sqlite).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.postgres).await.unwrap();
    }
}

fn viewer(client: bool) -> Viewer {
    match client {
        true => Viewer::Client(Session {
            token: String::new(),
            account: Id::random(),
            user: None,
            admin: false,
            rights: None,
        }),
        false => Viewer::Controller,
    }
}

/// The uuids, page by page, and how many there are in all.
async fn answer(engine: &Engine, question: &Question, limit: i64) -> (Vec<String>, i64) {
    let (mut found, mut total, mut after) = (Vec::new(), 0, None);
    loop {
        let select = Select {
            order: question.order.iter().cloned().collect(),
            limit: Some(limit),
            after,
            total: true,
            ..Select::of(question.condition.clone())
        };
        let (kind, viewer) = (question.kind, viewer(question.client));
        let asked = engine.db().read_much(move |tx| {
            Box::pin(async move {
                let entity = *tx.engine().schema().entity(kind).unwrap();
                select.run(tx, &entity, &viewer).await
            })
        });
        let answer = asked.await.unwrap_or_else(|error| panic!("{error}: {question:?}"));
        let reply = serde_json::to_value(answer).unwrap();
        let page = reply["inventories"].as_array().unwrap();
        assert!(page.len() <= usize::try_from(limit).unwrap());
        found.extend(page.iter().map(|row| row["uuid"].as_str().unwrap().to_owned()));
        total = reply["total"].as_i64().unwrap().max(total);
        after = reply["next"].as_str().map(str::to_owned);
        if after.is_none() {
            return (found, total);
        }
    }
}

fn seed() -> u64 {
    let named = std::env::var("QUERY_SEED").ok().and_then(|text| text.parse().ok());
    named.unwrap_or_else(|| rand::rng().random_range(0..1_000_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_answer_what_a_naive_evaluation_does() {
    let seed = seed();
    println!("QUERY_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let world = World::random(&mut dice);

    let mut databases = Databases::start("random").await;
    databases.enter(&world.sql()).await;

    let (mut some, mut all) = (0, 0);
    for number in 0..QUESTIONS {
        let question = world.question(&mut dice);
        let limit = [1, 3, 7, 1000][dice.random_range(0..4)];
        let expected = world.answer(&question);
        for engine in &databases.engines {
            let (found, total) = answer(engine, &question, limit).await;
            let place = format!("seed {seed}, question {number}, shared {}", engine.db().is_shared());
            assert_eq!(found, expected, "{place}, limit {limit}: {question:?}");
            assert_eq!(usize::try_from(total).unwrap(), expected.len(), "{place}: {question:?}");
        }
        some += usize::from(!expected.is_empty());
        all += expected.len();
    }
    println!("{some} of {QUESTIONS} questions found something, {all} rows in all");
    assert!(some > QUESTIONS / 5, "too few questions find anything: {some}");
    assert!(some < QUESTIONS, "every question finds something");
}

/// Tables that relations lead over are named in their declarations alone: here every relation is followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_fits_the_tables() {
    let databases = Databases::start("paths").await;
    let mut paths = 0;
    for engine in &databases.engines {
        for entity in engine.schema().entities() {
            for relation in engine.schema().relations(entity) {
                let other = engine.schema().entity(relation.to).unwrap();
                let path = format!("{}.{}", relation.name, model::camel(other.fields[0].column));
                let (entity, select) =
                    (*entity, Select::of(Condition::Field { path: path.clone(), test: Test::Null }));
                let asked = engine.db().read_much(move |tx| {
                    Box::pin(async move { select.run(tx, &entity, &viewer(true)).await })
                });
                let answer = asked.await.unwrap_or_else(|error| panic!("{}.{path}: {error}", entity.kind));
                assert_eq!(serde_json::to_value(answer).unwrap(), serde_json::json!({ "inventories": [] }));
                paths += 1;
            }
        }
    }
    assert!(paths > 2 * 50, "only {paths} paths were followed");
}
