//! The registry walk: every fault at every point of every flow, and to every message, and nobody opts in
//! (`docs/testing.md`). The controller has the plugin of `docs/plugins.md`: its hooks are steps like any other.

#[path = "../../../docs/examples/l2-plugin/src/gre/mod.rs"]
mod gre;
#[path = "../../../tests/scenarios/gre_agent.rs"]
mod gre_agent;
mod idle;
mod machine;
mod plan;
mod relay;
mod script;
mod truth;
mod watch;
mod witness;
mod world;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cumulet_tests::postgres::Postgres;
use futures::FutureExt;
use futures::future::try_join_all;
use idle::Idle;
use plan::Plan;
use script::{CHAPTERS, Chapter};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use world::World;

/// Each waits for its agents most of the time, and one for suspicions to stand.
const WORLDS: usize = 4;
/// A chapter that is read so often meets no new faults any more.
const READINGS: usize = 400;
/// So many mistakes are told of one chapter.
const MISTAKES: usize = 5;

/// What an undo that does nothing may keep from its end for ever is waited for so long.
const IMPATIENT: Duration = Duration::from_secs(5);

/// What all worlds have in common.
#[derive(Default)]
struct Walk {
    plan: Arc<Plan>,
    /// Otherwise each world has a SQLite of its own.
    postgres: Option<Postgres>,
    /// The chapters that are begun, and the worlds.
    next: AtomicUsize,
    worlds: AtomicUsize,
    calls: AtomicUsize,
}

impl Walk {
    async fn world(&self) -> World {
        let number = self.worlds.fetch_add(1, Ordering::SeqCst);
        let database =
            self.postgres.as_ref().map(|server| server.database(&format!("walk{number}")).unwrap());
        World::start(u8::try_from(number).expect("few worlds"), &self.plan, database).await
    }

    /// Reads chapters until none is left; what was not as it must be.
    async fn go(self: Arc<Self>) -> Vec<String> {
        let (mut world, mut mistakes) = (self.world().await, Vec::new());
        while let Some(chapter) = CHAPTERS.get(self.next.fetch_add(1, Ordering::SeqCst)) {
            mistakes.extend(self.exhaust(&mut world, chapter).await);
        }
        self.calls.fetch_add(world.calls, Ordering::SeqCst);
        mistakes
    }

    /// Reads a chapter until nothing more happens in it. After a mistake it goes on in a fresh world.
    async fn exhaust(&self, world: &mut World, chapter: &Chapter) -> Vec<String> {
        let (began, mut mistakes, mut fresh) = (Instant::now(), Vec::new(), true);
        for reading in 0..READINGS {
            // The first reading in a world shows what a call has the agents do when nothing fails.
            world.watch.arm(!fresh);
            let before = world.watch.count();
            let read = read(world, chapter).await;
            let happened = world.watch.count() != before;
            if let Err(told) = read {
                println!("{}{told}", chapter.name);
                mistakes.push(told);
                *world = self.world().await;
                fresh = true;
            } else if !fresh && !happened {
                let (took, count) = (began.elapsed(), self.plan.count());
                println!("{}: {reading} readings, {took:?}, {count:?}", chapter.name);
                break;
            } else {
                fresh = false;
            }
            if mistakes.len() > MISTAKES {
                break;
            }
        }
        mistakes
    }

    /// Has one undo after the other do nothing, as long as there are some; what nobody has seen.
    async fn be_idle(self: Arc<Self>, undos: Arc<Undos>) -> Vec<String> {
        let (mut world, mut unseen) = (self.world().await, Vec::new());
        loop {
            let Some(idle) = undos.left.lock().unwrap().pop() else { return unseen };
            let (name, began) = (idle.name(), Instant::now());
            let chapters = undos.flows.iter().filter(|(_, flows)| flows.contains(idle.flow()));
            world.watch.be_idle(Some(idle.clone()));
            world.patience = IMPATIENT;
            let mut seen = None;
            for (chapter, _) in chapters.rev() {
                let told = read(&mut world, chapter).await.err();
                seen = told.filter(|_| world.watch.idled() > 0);
                if seen.is_some() {
                    break;
                }
            }
            match seen {
                Some(told) => {
                    println!("{name}: seen after {:?}{told}", began.elapsed());
                    world = self.world().await;
                }
                None => unseen.push(format!("{name} did nothing {} times, unseen", world.watch.idled())),
            }
        }
    }
}

/// Those that have not been idle yet, and which flows each chapter runs.
struct Undos {
    left: Mutex<Vec<Idle>>,
    flows: Vec<(&'static Chapter, BTreeSet<&'static str>)>,
}

/// Reads a chapter once; what was not as it must be.
async fn read(world: &mut World, chapter: &Chapter) -> Result<(), String> {
    world.open(chapter.name);
    let read = AssertUnwindSafe((chapter.read)(world)).catch_unwind().await;
    read.map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

/// Which flows each chapter runs.
async fn flows(world: &mut World) -> Vec<(&'static Chapter, BTreeSet<&'static str>)> {
    let mut flows = Vec::new();
    for chapter in CHAPTERS {
        world.watch.flows();
        read(world, chapter).await.unwrap();
        flows.push((chapter, world.watch.flows()));
    }
    flows
}

/// What all worlds together find, each on a thread of its own.
async fn all<F: Future<Output = Vec<String>> + 'static>(
    go: impl Fn() -> F + Clone + Send + 'static,
) -> Vec<String> {
    let worlds = (0..WORLDS).map(|_| {
        let (go, here) = (go.clone(), Handle::current());
        spawn_blocking(move || here.block_on(go()))
    });
    try_join_all(worlds).await.unwrap().concat()
}

async fn walk(walk: Walk) {
    if std::env::var_os("RUST_LOG").is_some() {
        wire::agent::main_setup();
    }
    let (walk, began) = (Arc::new(walk), Instant::now());
    let worlds = Arc::clone(&walk);
    let mut mistakes = all(move || Arc::clone(&worlds).go()).await;
    let (plan, calls) = (&walk.plan, walk.calls.load(Ordering::SeqCst));
    println!("{:?} faults in {calls} calls and {:?}", plan.by_kind(), began.elapsed());
    mistakes.extend(plan.unseen(&walk.world().await.engine));
    mistakes.extend(plan.missed());
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flow_survives_every_fault_at_every_point() {
    walk(Walk::default()).await;
    assert_eq!(witness::unheard(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_does_nothing_is_seen() {
    let (walk, began) = (Arc::new(Walk::default()), Instant::now());
    let mut world = walk.world().await;
    let idle: Vec<Idle> = world.engine.flow_types().flat_map(Idle::all).collect();
    let (count, left) = (idle.len(), Mutex::new(idle));
    let undos = Arc::new(Undos { left, flows: flows(&mut world).await });
    let unseen = all(move || Arc::clone(&walk).be_idle(Arc::clone(&undos))).await;
    println!("{count} undos in {:?}", began.elapsed());
    assert!(unseen.is_empty(), "\n{}\n", unseen.join("\n"));
    assert!(count > 0, "no flow has an undo");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "belongs to the stage store"]
async fn every_flow_survives_every_kind_of_fault_on_postgresql() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres-walk");
    let _of_an_earlier_run = std::fs::remove_dir_all(&dir);
    let postgres = Some(Postgres::start(&dir).await.unwrap());
    walk(Walk { plan: Arc::new(Plan::sparse()), postgres, ..Walk::default() }).await;
}
