//! The metadata database: the only place that knows which one it is.
//!
//! Every write is a *unit*: a closure over a [`Tx`] that commits wholly or not at all. Units that wait at
//! the same time share one transaction and one fsync (group commit), each in its own savepoint, so a
//! failing unit disturbs no other. A unit is answered only after its commit is on disk.
//!
//! Units run one after another: on SQLite because there is one writer, on PostgreSQL because every group
//! holds one advisory lock, also among several controllers (ADR 0008). What a unit has read is true until
//! it commits.
//!
//! When the database fails, units end with [`codes::DATABASE`]: whether theirs was committed is then not
//! known, and who asks must look.

mod postgres;
mod row;
mod sqlite;
#[cfg(test)]
mod tests;
mod value;
mod writer;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::Connection;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;
use sqlx::{SqlSafeStr, SqlStr};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::engine::{Engine, WeakEngine};
use crate::error::{ErrorCode, Result, codes};
use crate::notice::Notice;

pub(crate) use postgres::Heard;
pub use row::{Cell, Cells, Row, Unreadable};
use row::{Given, Places};
pub use value::Value;
use writer::Writer;

/// How long a connection may take to come.
const CONNECT: Duration = Duration::from_secs(5);
/// What users ask for takes no longer, in all.
const READ: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// SQLite takes 32,766 values, PostgreSQL twice as many.
const MOST_VALUES: usize = 30_000;

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Db {
    units: mpsc::Sender<Unit>,
    readers: Readers,
    /// For units that wait for no other.
    apart: Option<Arc<Mutex<Writer>>>,
    home: Home,
}

/// The tables of each kind of database; equal versions bring equal tables.
#[derive(Clone, Copy)]
pub struct Migrations {
    pub sqlite: &'static Migrator,
    pub postgres: &'static Migrator,
}

#[derive(Clone)]
enum Readers {
    Sqlite(sqlite::Store),
    Postgres(postgres::Lenders),
}

/// How connections for writing are made.
#[derive(Clone)]
enum Opener {
    Sqlite(sqlite::Store),
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
}

/// The engine that a database belongs to, once there is one.
type Home = Arc<OnceLock<WeakEngine>>;

/// An open connection: within a unit part of its transaction, otherwise for reading.
pub struct Tx {
    conn: Conn,
    after: Vec<Box<dyn FnOnce() + Send>>,
    notices: Vec<Notice>,
    home: Home,
}

enum Conn {
    Sqlite(Connection),
    SqliteReader(sqlite::Reader),
    Postgres(PgConnection),
    PostgresReader(postgres::Lent),
}

type Verdict = Box<dyn FnOnce(Result<()>) + Send>;
type Unit = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, (bool, Verdict)> + Send>;

impl Db {
    /// Opens `sqlite:<path>` (made when absent) or `postgres://…` and brings its tables up to date.
    pub async fn open(url: &str, migrations: Migrations) -> Result<Db> {
        let home = Home::default();
        let (opener, readers) = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                let store = sqlite::open(url, migrations.sqlite).await?;
                (Opener::Sqlite(store.clone()), Readers::Sqlite(store))
            }
            Some("postgres" | "postgresql") => postgres::open(url, migrations.postgres).await?,
            _ => {
                let details = format!("database.url \"{url}\" must begin with sqlite: or postgres://");
                return Err(codes::INVALID_ARGUMENT.because(details));
            }
        };
        let (units, queue) = mpsc::channel(4096);
        Writer::new(opener.clone(), Arc::clone(&home)).begin(queue)?;
        let apart = matches!(opener, Opener::Postgres(_))
            .then(|| Arc::new(Mutex::new(Writer::new(opener, Arc::clone(&home)))));
        Ok(Db { units, readers, apart, home })
    }

    pub(crate) fn belongs_to(&self, engine: WeakEngine) {
        let _ = self.home.set(engine);
    }

    /// Whether other controllers may work on the same database.
    pub fn is_shared(&self) -> bool {
        matches!(self.readers, Readers::Postgres(_))
    }

    /// Runs `unit` in a transaction; when it fails, nothing of it is kept.
    pub async fn write<T, F>(&self, unit: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        let (unit, answered) = answering(unit);
        self.units.send(unit).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Like [`Db::write`], without waiting for the units of other controllers: for a single statement that
    /// is right in any order, such as the renewal of a lease.
    pub(crate) async fn write_apart<T, F>(&self, unit: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        let Some(apart) = &self.apart else { return self.write(unit).await };
        let (unit, answered) = answering(unit);
        apart.lock().await.write_group(&mut vec![unit], writer::Order::Any).await;
        answered.await.map_err(|_| gone())?
    }

    /// A connection for reading; each statement sees what was committed before it.
    pub async fn read(&self) -> Result<Tx> {
        let conn = match &self.readers {
            Readers::Sqlite(store) => Conn::SqliteReader(store.reader()?),
            Readers::Postgres(lenders) => Conn::PostgresReader(lenders.few.lend().await?),
        };
        Ok(Tx::new(conn, Arc::clone(&self.home)))
    }

    /// Reads what may take long, without keeping the threads, or the connections, that everybody works in.
    /// What takes too long ends with [`codes::TIMEOUT`].
    pub async fn read_much<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        if let Readers::Postgres(lenders) = &self.readers {
            let conn = Conn::PostgresReader(lenders.much.lend().await?);
            return work(&mut Tx::new(conn, Arc::clone(&self.home))).await;
        }
        let mut tx = self.read().await?;
        let Conn::SqliteReader(reader) = &tx.conn else { return work(&mut tx).await };
        let interrupt = reader.connection().get_interrupt_handle();
        let runtime = tokio::runtime::Handle::current();
        // The connection comes back with the outcome: nobody else has it while it may be interrupted.
        let mut read = tokio::task::spawn_blocking(move || {
            let outcome = runtime.block_on(work(&mut tx));
            (outcome, tx)
        });
        let mut limit = READ;
        let ended = loop {
            match tokio::time::timeout(limit, &mut read).await {
                Ok(ended) => break ended,
                // Again and again, for it interrupts only the statement at hand.
                Err(_) => interrupt.interrupt(),
            }
            limit = Duration::from_millis(50);
        };
        match ended {
            Ok((outcome, _tx)) => outcome,
            Err(_) => Err(codes::INTERNAL.because("reading panicked; see the log")),
        }
    }

    /// What other controllers tell, from now on; `None` when there can be no others.
    pub(crate) fn notices_of_others(&self) -> Option<mpsc::Receiver<Heard>> {
        match &self.readers {
            Readers::Sqlite(_) => None,
            Readers::Postgres(lenders) => Some(lenders.few.listen()),
        }
    }
}

fn gone() -> ErrorCode {
    codes::DATABASE.because("the metadata database does not take writes; see the log")
}

/// The unit with the way to its answer.
fn answering<T, F>(unit: F) -> (Unit, oneshot::Receiver<Result<T>>)
where
    T: Send + 'static,
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let unit: Unit = Box::new(move |tx| {
        Box::pin(async move {
            let outcome = AssertUnwindSafe(unit(tx)).catch_unwind().await;
            let outcome =
                outcome.unwrap_or_else(|_| Err(codes::INTERNAL.because("a database unit panicked")));
            let keep = outcome.is_ok();
            let verdict: Verdict = Box::new(move |committed| {
                let _ = answer.send(committed.and(outcome));
            });
            (keep, verdict)
        })
    });
    (unit, answered)
}

impl Tx {
    fn new(conn: Conn, home: Home) -> Tx {
        Tx { conn, after: Vec::new(), notices: Vec::new(), home }
    }

    /// Runs `done` once the transaction is on disk; never when it is rolled back.
    pub fn after_commit(&mut self, done: impl FnOnce() + Send + 'static) {
        self.after.push(Box::new(done));
    }

    /// Tells all controllers, this one too, once the transaction is on disk.
    pub(crate) fn notify(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    /// The engine whose database this is.
    pub fn engine(&self) -> Engine {
        let home = self.home.get().and_then(WeakEngine::upgrade);
        home.expect("units run while their engine lives")
    }

    /// The database's clock: milliseconds since 1970. All controllers agree on it.
    pub async fn clock(&mut self) -> Result<i64> {
        let sql = match self.conn {
            Conn::Sqlite(_) | Conn::SqliteReader(_) => sqlite::CLOCK,
            Conn::Postgres(_) | Conn::PostgresReader(_) => postgres::CLOCK,
        };
        self.number(sql, Vec::new()).await
    }

    /// What stands around units, without values.
    async fn bracket(&mut self, sql: &'static str) -> Result<()> {
        match &mut self.conn {
            Conn::Sqlite(conn) => Ok(conn.execute_batch(sql)?),
            Conn::Postgres(conn) => sqlx::raw_sql(sql).execute(conn).await.map(|_| ()).map_err(explain),
            Conn::SqliteReader(_) | Conn::PostgresReader(_) => unreachable!("readers write nothing"),
        }
    }

    /// The number of rows changed.
    pub async fn exec(&mut self, sql: &'static str, args: Vec<Value>) -> Result<u64> {
        let conn = match &mut self.conn {
            Conn::Sqlite(conn) => return sqlite::exec(conn, sql, &args),
            Conn::Postgres(conn) => conn,
            Conn::SqliteReader(_) | Conn::PostgresReader(_) => {
                return Err(codes::INTERNAL.because(format!("who only reads changes nothing: {sql}")));
            }
        };
        let done = sqlx::query_with(sql, value::for_postgres(args)).execute(conn).await;
        Ok(done.map_err(explain)?.rows_affected())
    }

    pub async fn all<R: Row>(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<R>> {
        self.rows(sql.into_sql_str(), args, usize::MAX).await
    }

    pub async fn opt<R: Row>(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Option<R>> {
        Ok(self.rows(sql.into_sql_str(), args, 1).await?.pop())
    }

    /// The one row there must be.
    pub async fn one<R: Row>(&mut self, sql: &'static str, args: Vec<Value>) -> Result<R> {
        let found = self.opt(sql, args).await?;
        found.ok_or_else(|| codes::INTERNAL.because(format!("a statement yields no row: {sql}")))
    }

    /// The integer that the statement yields.
    pub async fn number(&mut self, sql: &'static str, args: Vec<Value>) -> Result<i64> {
        Ok(self.one::<(i64,)>(sql, args).await?.0)
    }

    /// Rows of a statement that asks for `IN ($*)`: any of `values`, of which there may be none. More than
    /// a statement can take are asked for in parts.
    pub async fn all_of<R: Row>(&mut self, sql: &'static str, mut values: Vec<Value>) -> Result<Vec<R>> {
        let mut found = Vec::new();
        while values.len() > MOST_VALUES {
            let rest = values.split_off(MOST_VALUES);
            found.extend(self.some_of(sql, std::mem::replace(&mut values, rest)).await?);
        }
        found.extend(self.some_of(sql, values).await?);
        Ok(found)
    }

    async fn some_of<R: Row>(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<R>> {
        let marks: Vec<_> = (1..=values.len()).map(|n| format!("${n}")).collect();
        let marks = if marks.is_empty() { "NULL".to_owned() } else { marks.join(", ") };
        self.composed(sql.replace("$*", &marks), values).await
    }

    /// Rows of a statement that was composed of declared names only ([`crate::query`]).
    pub(crate) async fn composed<R: Row>(&mut self, sql: String, args: Vec<Value>) -> Result<Vec<R>> {
        self.rows(sqlx::AssertSqlSafe(sql).into_sql_str(), args, usize::MAX).await
    }

    /// At most so many of the rows.
    async fn rows<R: Row>(&mut self, sql: SqlStr, args: Vec<Value>, most: usize) -> Result<Vec<R>> {
        let rows = match &mut self.conn {
            Conn::Sqlite(conn) => return sqlite::rows(conn, sql.as_str(), &args, most),
            Conn::SqliteReader(reader) => {
                // Nothing here waits: without this a task that reads much would keep its thread from all others.
                tokio::task::consume_budget().await;
                return sqlite::rows(reader.connection(), sql.as_str(), &args, most);
            }
            Conn::Postgres(conn) => postgres::rows(conn, sql, args, most).await.map_err(explain)?,
            Conn::PostgresReader(reader) => reader.rows(sql, args, most).await.map_err(explain_reading)?,
        };
        let places = Places::default();
        let read = rows.iter().map(|row| R::read(&Cells::of(Given::Postgres(row), &places)));
        Ok(read.collect::<Result<_, _>>()?)
    }
}

/// What PostgreSQL said of a statement, or that it said nothing.
fn explain(error: sqlx::Error) -> ErrorCode {
    match error.as_database_error().map(sqlx::error::DatabaseError::kind) {
        Some(sqlx::error::ErrorKind::UniqueViolation) => {
            codes::INVALID_ARGUMENT.because(format!("there is one already: {error}"))
        }
        Some(sqlx::error::ErrorKind::ForeignKeyViolation) => referred(),
        _ => error.into(),
    }
}

/// Who only reads knows that nothing has happened.
fn explain_reading(error: sqlx::Error) -> ErrorCode {
    let cancelled = error.as_database_error().is_some_and(|said| said.code().as_deref() == Some("57014"));
    if cancelled { too_long() } else { explain(error) }
}

fn too_long() -> ErrorCode {
    codes::TIMEOUT.because(format!(
        "reading took longer than {} s: ask for less, or by a field that is indexed (uuid, name, state)",
        READ.as_secs()
    ))
}

fn referred() -> ErrorCode {
    codes::STATE.because("something else still refers to it, or what it refers to is gone")
}

impl From<sqlx::Error> for ErrorCode {
    fn from(error: sqlx::Error) -> Self {
        let wrong = matches!(&error, sqlx::Error::Database(said) if !is_away(said.code().as_deref()));
        if wrong || matches!(&error, sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. }) {
            tracing::error!(%error, "a statement is wrong");
            return codes::INTERNAL.because(format!("the metadata database refuses a statement: {error}"));
        }
        codes::DATABASE.because(format!("the metadata database failed: {error}"))
    }
}

/// Whether a code says that the database cannot work now, rather than that the statement is wrong:
/// connections lost, resources, shutdown, timeouts.
fn is_away(code: Option<&str>) -> bool {
    let code = code.unwrap_or_default();
    ["08", "53", "57", "58", "40"].iter().any(|class| code.starts_with(class)) || code == "25P03"
}
