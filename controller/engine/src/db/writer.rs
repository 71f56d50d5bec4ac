//! Writes units in groups; a connection that fails is made anew for the next group.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Conn, Home, Opener, Tx, Unit, Verdict, postgres};
use crate::args;
use crate::error::{ErrorCode, Result, codes};

/// At most this many units share a transaction.
const GROUP: usize = 128;
/// A group that takes longer has lost its database.
const LONGEST: Duration = Duration::from_secs(15);
/// A notice to other controllers is no longer than PostgreSQL allows.
const LONGEST_NOTICE: usize = 7900;

pub(super) struct Writer {
    opener: Opener,
    home: Home,
    tx: Option<Tx>,
}

/// Whether units wait for those of other controllers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    One,
    Any,
}

impl Writer {
    pub fn new(opener: Opener, home: Home) -> Self {
        Writer { opener, home, tx: None }
    }

    /// Writes what comes, on SQLite in a thread of its own, which waits for the disk.
    pub fn begin(self, queue: mpsc::Receiver<Unit>) -> Result<()> {
        match self.opener {
            Opener::Postgres(_) => drop(tokio::spawn(self.write_units(queue))),
            Opener::Sqlite(_) => {
                let runtime = tokio::runtime::Handle::current();
                let work = move || runtime.block_on(self.write_units(queue));
                let begun = std::thread::Builder::new().name("database".into()).spawn(work);
                begun.map_err(|e| codes::INTERNAL.because(format!("cannot start a thread: {e}")))?;
            }
        }
        Ok(())
    }

    async fn write_units(mut self, mut queue: mpsc::Receiver<Unit>) {
        let mut group = Vec::with_capacity(GROUP);
        while queue.recv_many(&mut group, GROUP).await > 0 {
            self.write_group(&mut group, Order::One).await;
        }
    }

    /// Runs the units and answers each.
    pub async fn write_group(&mut self, group: &mut Vec<Unit>, order: Order) {
        let mut tx = match self.tx.take() {
            Some(tx) => tx,
            None => match self.open().await {
                Ok(tx) => tx,
                Err(error) => return refuse(group, &error).await,
            },
        };
        let mut verdicts = Vec::with_capacity(group.len());
        let ran = timeout(LONGEST, run_group(&mut tx, group, &mut verdicts, order)).await;
        let outcome = ran.unwrap_or_else(|_| {
            Err(codes::DATABASE
                .because("the metadata database took too long; whether it is done is not known"))
        });
        let after = std::mem::take(&mut tx.after);
        let notices = std::mem::take(&mut tx.notices);
        match &outcome {
            Ok(()) => {
                after.into_iter().for_each(|done| done());
                if !notices.is_empty() {
                    let engine = tx.engine();
                    notices.into_iter().for_each(|notice| engine.heed(notice));
                }
                self.tx = Some(tx);
            }
            // The connection is dropped with its transaction.
            Err(error) => tracing::warn!(%error, "a group of writes was not committed"),
        }
        for verdict in verdicts {
            verdict(outcome.clone());
        }
        if let Err(error) = outcome {
            refuse(group, &error).await;
        }
    }

    async fn open(&mut self) -> Result<Tx> {
        let conn = match &self.opener {
            Opener::Sqlite(store) => Conn::Sqlite(store.writer()?),
            Opener::Postgres(options) => Conn::Postgres(postgres::connect(options).await?),
        };
        Ok(Tx::new(conn, Arc::clone(&self.home)))
    }
}

/// Units that were not even begun learn why by their answer's end.
async fn refuse(group: &mut Vec<Unit>, error: &ErrorCode) {
    if !group.is_empty() {
        tracing::warn!(%error, units = group.len(), "writes are refused");
    }
    group.clear();
    // A database that is away is not asked again at once.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn run_group(
    tx: &mut Tx,
    group: &mut Vec<Unit>,
    verdicts: &mut Vec<Verdict>,
    order: Order,
) -> Result<()> {
    begin(tx, order).await?;
    for unit in group.drain(..) {
        tx.bracket("SAVEPOINT unit").await?;
        let (hooks, notices) = (tx.after.len(), tx.notices.len());
        let (keep, verdict) = unit(tx).await;
        verdicts.push(verdict);
        if keep {
            tx.bracket("RELEASE SAVEPOINT unit").await?;
        } else {
            tx.after.truncate(hooks);
            tx.notices.truncate(notices);
            tx.bracket("ROLLBACK TO SAVEPOINT unit; RELEASE SAVEPOINT unit").await?;
        }
    }
    tell_others(tx).await?;
    tx.bracket("COMMIT").await
}

async fn begin(tx: &mut Tx, order: Order) -> Result<()> {
    match (&tx.conn, order) {
        (Conn::Sqlite(_) | Conn::SqliteReader(_), _) => tx.bracket("BEGIN IMMEDIATE").await,
        (_, Order::One) => tx.bracket(postgres::BEGIN_ALONE).await,
        (_, Order::Any) => tx.bracket("BEGIN").await,
    }
}

async fn tell_others(tx: &mut Tx) -> Result<()> {
    if let Conn::Sqlite(_) = tx.conn {
        return Ok(());
    }
    let node = tx.home.get().and_then(crate::engine::WeakEngine::upgrade).map(|engine| engine.process());
    let mut text = String::new();
    let lines: Vec<String> = tx.notices.iter().map(ToString::to_string).collect();
    for line in lines {
        if text.len() + line.len() > LONGEST_NOTICE {
            tx.number(postgres::NOTIFY, args![std::mem::take(&mut text)]).await?;
        }
        if text.is_empty() {
            text = node.map(|node| node.to_string()).unwrap_or_default();
        }
        text = text + "\n" + &line;
    }
    if !text.is_empty() {
        tx.number(postgres::NOTIFY, args![text]).await?;
    }
    Ok(())
}
