//! Writes units in groups; a connection that fails is made anew for the next group.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Conn, Home, Opener, Tx, Unit, Verdict, postgres};
use crate::engine::WeakEngine;
use crate::error::{ErrorCode, Result, codes};

/// At most this many units share a transaction.
const GROUP: usize = 128;
/// A group that takes longer has lost its database.
const LONGEST: Duration = Duration::from_secs(15);

const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT unit";
const BEGIN_IN_ANY_ORDER: &str = "BEGIN; SAVEPOINT unit";
/// After a unit that is kept. After one that is not the savepoint stands as before it.
const NEXT: &str = "RELEASE SAVEPOINT unit; SAVEPOINT unit";
const BACK: &str = "ROLLBACK TO SAVEPOINT unit";

pub(super) struct Writer {
    opener: Opener,
    home: Home,
    /// Where everything runs that is not writing.
    others: Handle,
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
        Writer { opener, home, others: Handle::current(), tx: None }
    }

    /// Writes what comes in a thread of its own, which waits for the disk, or for the server: one that is
    /// woken by its connection only passes nothing on from thread to thread.
    pub fn begin(self, queue: mpsc::Receiver<Unit>) -> Result<()> {
        let failed = |e| codes::INTERNAL.because(format!("cannot start a thread: {e}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let work = move || runtime.block_on(self.write_units(queue));
        std::thread::Builder::new().name("database".into()).spawn(work).map_err(failed)?;
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
                let _elsewhere = self.others.enter();
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
    let mut kept = false;
    for unit in group.drain(..) {
        if kept {
            tx.bracket(NEXT).await?;
        }
        let (hooks, notices) = (tx.after.len(), tx.notices.len());
        let (keep, verdict) = unit(tx).await;
        verdicts.push(verdict);
        if !keep {
            tx.after.truncate(hooks);
            tx.notices.truncate(notices);
            tx.bracket(BACK).await?;
        }
        kept = keep;
    }
    commit(tx).await
}

async fn begin(tx: &mut Tx, order: Order) -> Result<()> {
    match (&tx.conn, order) {
        (Conn::Sqlite(_) | Conn::SqliteReader(_), _) => tx.bracket(BEGIN).await,
        (_, Order::One) => tx.bracket(postgres::BEGIN_ALONE).await,
        (_, Order::Any) => tx.bracket(BEGIN_IN_ANY_ORDER).await,
    }
}

async fn commit(tx: &mut Tx) -> Result<()> {
    let Conn::Postgres(conn) = &mut tx.conn else { return tx.bracket("COMMIT").await };
    let process = tx.home.get().and_then(WeakEngine::upgrade).map(|engine| engine.process().to_string());
    let commit = postgres::commit(&process.unwrap_or_default(), tx.notices.iter().map(ToString::to_string));
    sqlx::raw_sql(sqlx::AssertSqlSafe(commit)).execute(conn).await.map(drop).map_err(super::explain)
}
