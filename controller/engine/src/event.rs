//! Canonical events: what happened, written in the transaction that made it happen.

use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::args;
use crate::db::Tx;
use crate::error::Result;
use crate::id::{Any, Id, Stamp};

const INSERT: &str =
    "INSERT INTO event (name, resource, payload, create_date) VALUES ($1, $2, $3, $4) RETURNING seq";

/// One event of the outbox. `seq` grows; names are paths such as `/vm/state/changed`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub seq: i64,
    pub name: &'static str,
    pub resource: Id<Any>,
    pub payload: Value,
}

/// Those who listen in this process; they may miss events when they lag and then read the outbox.
pub(crate) struct Listeners(broadcast::Sender<Event>);

impl Default for Listeners {
    fn default() -> Self {
        Listeners(broadcast::channel(1024).0)
    }
}

impl Listeners {
    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}

impl Tx {
    /// Writes the event into the outbox; listeners hear it once the transaction is on disk.
    pub async fn emit(&mut self, name: &'static str, resource: Id<Any>, payload: Value) -> Result<()> {
        let seq = self.number(INSERT, args![name, resource, &payload, Stamp::now()]).await?;
        let engine = self.engine();
        self.after_commit(move || {
            let _ = engine.listeners().0.send(Event { seq, name, resource, payload });
        });
        Ok(())
    }
}
