//! Canonical events: what happened, written in the transaction that made it happen.
//!
//! Listeners in every controller are told from the outbox, in its order, wherever an event was written.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Notify, broadcast};

use crate::args;
use crate::db::Tx;
use crate::engine::{Engine, WeakEngine};
use crate::error::Result;
use crate::id::{Any, Id, Stamp};
use crate::notice::Notice;

const INSERT: &str = "INSERT INTO event (name, resource, payload, create_date) VALUES ($1, $2, $3, $4)";
const LAST: &str = "SELECT coalesce(max(seq), 0) FROM event";
const FIRST: &str = "SELECT coalesce(min(seq), 0) FROM event";
const SINCE: &str =
    "SELECT seq, name, resource, payload, create_date FROM event WHERE seq > $1 ORDER BY seq LIMIT $2";
const EXPIRE: &str = "DELETE FROM event WHERE create_date < $1";

/// So many are read at once.
const BATCH: i64 = 500;
/// Events that come so close are read together.
const GATHER: Duration = Duration::from_millis(20);

/// One event of the outbox. `seq` grows; names are paths such as `/vm/state/changed`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub seq: i64,
    pub name: String,
    pub resource: Id<Any>,
    pub payload: Value,
    pub create_date: Stamp,
}

#[derive(crate::db::Row)]
struct Row {
    seq: i64,
    name: String,
    resource: Id<Any>,
    payload: String,
    create_date: Stamp,
}

/// Those who listen in this process; they may miss events when they lag and then read the outbox.
pub(crate) struct Listeners {
    told: broadcast::Sender<Event>,
    new: Notify,
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners { told: broadcast::channel(1024).0, new: Notify::new() }
    }
}

impl Listeners {
    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        let listening = self.told.subscribe();
        self.wake();
        listening
    }

    pub(crate) fn wake(&self) {
        self.new.notify_one();
    }

    /// From now on what comes into the outbox is told.
    pub(crate) fn begin(&self, engine: &Engine) {
        tokio::spawn(pass_on(engine.weak()));
    }
}

async fn pass_on(weak: WeakEngine) {
    let mut last = None;
    loop {
        let Some(engine) = weak.upgrade() else { return };
        match tell_since(&engine, last).await {
            Ok(told) => last = told,
            Err(error) => tracing::warn!(%error, "the outbox was not read"),
        }
        let woken = tokio::time::timeout(Duration::from_secs(5), engine.listeners().new.notified());
        let _ = woken.await;
        tokio::time::sleep(GATHER).await;
    }
}

/// Tells what came behind `last`, and what is the last now. While nobody listens nothing is read; who begins
/// to listen hears what comes from then on.
async fn tell_since(engine: &Engine, last: Option<i64>) -> Result<Option<i64>> {
    let told = &engine.listeners().told;
    if told.receiver_count() == 0 {
        return Ok(None);
    }
    let mut tx = engine.db().read().await?;
    let Some(mut last) = last else { return tx.number(LAST, args![]).await.map(Some) };
    loop {
        let events = since(&mut tx, last, BATCH).await?;
        if events.is_empty() {
            return Ok(Some(last));
        }
        for event in events {
            last = event.seq;
            let _ = told.send(event);
        }
    }
}

/// What came behind `seq`, the oldest first, at most `limit`.
pub async fn since(tx: &mut Tx, seq: i64, limit: i64) -> Result<Vec<Event>> {
    let rows: Vec<Row> = tx.all(SINCE, args![seq, limit]).await?;
    rows.into_iter().map(Row::event).collect()
}

/// Whether an event of this name is one of `wanted`: the name, or its beginning and `*`.
pub fn is_of(name: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == wanted,
    }
}

/// The newest event's place; 0 when there is none.
pub async fn last(tx: &mut Tx) -> Result<i64> {
    tx.number(LAST, args![]).await
}

/// The place of the oldest event that is kept; 0 when there is none.
pub async fn first(tx: &mut Tx) -> Result<i64> {
    tx.number(FIRST, args![]).await
}

impl Row {
    fn event(self) -> Result<Event> {
        let Row { seq, name, resource, payload, create_date } = self;
        Ok(Event { seq, name, resource, payload: serde_json::from_str(&payload)?, create_date })
    }
}

/// Forgets what is older than `kept`.
pub(crate) async fn expire(engine: &Engine, kept: Duration) -> Result<()> {
    let limit = Stamp::now().minus(kept);
    engine.db().write(move |tx| Box::pin(tx.exec(EXPIRE, args![limit]))).await.map(|_| ())
}

impl Tx {
    /// Writes the event into the outbox; listeners hear it once the transaction is on disk.
    pub async fn emit(&mut self, name: &'static str, resource: Id<Any>, payload: Value) -> Result<()> {
        debug_assert!(
            self.engine().event_names().contains(&name),
            "no module says what the event {name} means"
        );
        self.exec(INSERT, args![name, resource, &payload, Stamp::now()]).await?;
        self.notify(Notice::Event);
        Ok(())
    }
}
