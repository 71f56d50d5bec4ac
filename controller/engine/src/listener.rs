//! Observers of what has happened: modules that hear events in this process.
//!
//! Each has a place of its own in the outbox, kept in the database under its name, and hears what comes behind
//! it in order: by one controller at a time, and again until it has taken it. After a crash it may hear what it
//! has heard: `seq` tells. One that is new hears what happens from then on.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::args;
use crate::engine::{Engine, WeakEngine};
use crate::error::Result;
use crate::event::{self, Event};

const PLACE: &str = "SELECT seq FROM event_cursor WHERE name = $1";
const MOVE: &str = "INSERT INTO event_cursor (name, seq) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET seq = excluded.seq";

const BATCH: i64 = 200;
/// So often the outbox is looked at although nobody said that there is something new.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// What was not taken is told again after so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Who hears what.
#[derive(Clone, Copy)]
pub struct Listener {
    /// Its place is kept under this name.
    pub name: &'static str,
    /// Events of this name, or that begin so and end in `*`.
    pub events: &'static str,
    pub hear: fn(Engine, Event) -> BoxFuture<'static, Result<()>>,
}

/// Ends with the engine.
pub(crate) async fn run(weak: WeakEngine, listener: Listener) {
    let Some(mut news) = weak.upgrade().map(|engine| engine.events()) else { return };
    loop {
        let Some(engine) = weak.upgrade() else { return };
        let passed = listener.pass(&engine).await;
        drop(engine);
        if let Err(error) = passed {
            tracing::warn!(listener = listener.name, %error, "an event was not taken; it is told again");
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        // Whatever it says, the outbox is what counts.
        if tokio::time::timeout(LOOK_AGAIN, news.recv()).await.is_ok_and(|news| news.is_err()) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Listener {
    /// Tells what it has not heard, if that is this controller's to do.
    async fn pass(&self, engine: &Engine) -> Result<()> {
        let Ok(era) = engine.era() else { return Ok(()) };
        if !engine.owns(self.name) {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = era.over() => Ok(()),
            told = self.tell(engine) => told,
        }
    }

    async fn tell(&self, engine: &Engine) -> Result<()> {
        let mut last = self.place(engine).await?;
        loop {
            let events = event::since(&mut engine.db().read().await?, last, BATCH).await?;
            let Some(newest) = events.last().map(|event| event.seq) else { return Ok(()) };
            for event in events.into_iter().filter(|event| event::is_of(&event.name, self.events)) {
                let seq = event.seq;
                if let Err(error) = (self.hear)(engine.clone(), event).await {
                    self.move_to(engine, seq - 1).await?;
                    return Err(error);
                }
            }
            last = newest;
            self.move_to(engine, last).await?;
        }
    }

    async fn place(&self, engine: &Engine) -> Result<i64> {
        let mut tx = engine.db().read().await?;
        if let Some((seq,)) = tx.opt::<(i64,)>(PLACE, args![self.name]).await? {
            return Ok(seq);
        }
        let now = event::last(&mut tx).await?;
        drop(tx);
        self.move_to(engine, now).await.map(|()| now)
    }

    async fn move_to(&self, engine: &Engine, seq: i64) -> Result<()> {
        let name = self.name;
        engine.db().write(move |tx| Box::pin(tx.exec(MOVE, args![name, seq]))).await.map(|_| ())
    }
}
