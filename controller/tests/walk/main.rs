//! The registry walk: every fault at every point of every flow, and nobody opts in (`docs/testing.md`).

mod plan;
mod script;
mod truth;
mod world;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use plan::Plan;
use script::{CHAPTERS, Chapter};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use world::World;

/// Each waits for its agents most of the time.
const WORLDS: usize = 3;
/// A chapter that is read so often meets no new faults any more.
const READINGS: usize = 400;
/// So many mistakes are told of one chapter.
const MISTAKES: usize = 5;

/// What all worlds have in common.
#[derive(Default)]
struct Walk {
    plan: Arc<Plan>,
    /// The chapters that are begun, and the worlds.
    next: AtomicUsize,
    worlds: AtomicUsize,
    calls: AtomicUsize,
}

impl Walk {
    async fn world(&self) -> World {
        let number = self.worlds.fetch_add(1, Ordering::SeqCst);
        World::start(u8::try_from(number).expect("few worlds"), &self.plan).await
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
            world.open(chapter.name);
            let before = world.watch.count();
            let read = AssertUnwindSafe((chapter.read)(world)).catch_unwind().await;
            let happened = world.watch.count() != before;
            if let Err(panic) = read {
                let told = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                println!("{}{told}", chapter.name);
                mistakes.push(told);
                *world = self.world().await;
                fresh = true;
            } else if !fresh && !happened {
                println!(
                    "{}: {reading} readings, {:?}, {:?}",
                    chapter.name,
                    began.elapsed(),
                    self.plan.count()
                );
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
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flow_survives_every_fault_at_every_point() {
    let (walk, began) = (Arc::new(Walk::default()), Instant::now());
    let mut worlds = Vec::new();
    for _ in 0..WORLDS {
        let (walk, here) = (Arc::clone(&walk), Handle::current());
        worlds.push(spawn_blocking(move || here.block_on(walk.go())));
    }
    let mut mistakes: Vec<String> = futures::future::try_join_all(worlds).await.unwrap().concat();
    let (plan, calls) = (&walk.plan, walk.calls.load(Ordering::SeqCst));
    println!("{:?} faults in {calls} calls and {:?}", plan.by_kind(), began.elapsed());
    mistakes.extend(plan.unseen(&walk.world().await.engine));
    mistakes.extend(plan.missed());
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}
