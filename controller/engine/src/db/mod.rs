//! The metadata database: the only place that knows which one it is.
//!
//! Every write is a *unit*: a closure over a [`Tx`] that commits wholly or not at all. Units that wait at
//! the same time share one transaction and one fsync (group commit), each in its own savepoint, so a
//! failing unit disturbs no other. A unit is answered only after its commit is on disk.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Connection, FromRow};
use tokio::sync::{mpsc, oneshot};

use crate::engine::{Engine, WeakEngine};
use crate::error::{ErrorCode, Result, codes};

/// At most this many units share a transaction.
const GROUP: usize = 128;

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Db {
    units: mpsc::Sender<Unit>,
    readers: SqlitePool,
    home: Home,
}

/// The engine that a database belongs to, once there is one.
type Home = Arc<OnceLock<WeakEngine>>;

/// An open connection: within a unit part of its transaction, otherwise for reading.
pub struct Tx {
    conn: Conn,
    after: Vec<Box<dyn FnOnce() + Send>>,
    home: Home,
}

enum Conn {
    Writer(SqliteConnection),
    Reader(PoolConnection<sqlx::Sqlite>),
}

/// What a statement is given.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Text(String),
    Int(i64),
    Bool(bool),
}

/// A row type of any statement: `#[derive(sqlx::FromRow)]`.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}
impl<R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin> Row for R {}

type Verdict = Box<dyn FnOnce(Result<()>) + Send>;
type Unit = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, (bool, Verdict)> + Send>;

/// `args![uuid, name, 5]`: the values of `$1`, `$2`, …
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::Value::from($value)),*] };
}

impl Db {
    /// Opens `sqlite:<path>` (made when absent) and brings its tables up to date.
    pub async fn open(url: &str, migrator: &sqlx::migrate::Migrator) -> Result<Db> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|e| codes::INVALID_ARGUMENT.because(format!("database.url \"{url}\": {e}")))?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(std::time::Duration::from_secs(5));
        if let Some(parent) = options.get_filename().parent().filter(|p| *p != Path::new("")) {
            std::fs::create_dir_all(parent)
                .map_err(|e| codes::IO.because(format!("cannot make {}: {e}", parent.display())))?;
        }
        let mut writer = SqliteConnection::connect_with(&options).await?;
        migrator
            .run(&mut writer)
            .await
            .map_err(|e| codes::INTERNAL.because(format!("cannot bring \"{url}\" up to date: {e}")))?;
        let readers = SqlitePoolOptions::new().max_connections(8).connect_lazy_with(options.read_only(true));
        let (units, queue) = mpsc::channel(4096);
        let home = Home::default();
        let tx = Tx { conn: Conn::Writer(writer), after: Vec::new(), home: Arc::clone(&home) };
        tokio::spawn(write_units(tx, queue));
        Ok(Db { units, readers, home })
    }

    pub(crate) fn belongs_to(&self, engine: WeakEngine) {
        let _ = self.home.set(engine);
    }

    /// Runs `unit` in a transaction; when it fails, nothing of it is kept.
    pub async fn write<T, F>(&self, unit: F) -> Result<T>
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
        let gone = || codes::INTERNAL.because("the metadata database does not take writes; see the log");
        self.units.send(unit).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// A connection for reading; each statement sees what was committed before it.
    pub async fn read(&self) -> Result<Tx> {
        let conn = Conn::Reader(self.readers.acquire().await?);
        Ok(Tx { conn, after: Vec::new(), home: Arc::clone(&self.home) })
    }
}

async fn write_units(mut tx: Tx, mut queue: mpsc::Receiver<Unit>) {
    let mut group = Vec::with_capacity(GROUP);
    while queue.recv_many(&mut group, GROUP).await > 0 {
        let mut verdicts = Vec::with_capacity(group.len());
        let outcome = run_group(&mut tx, group.drain(..), &mut verdicts).await;
        if outcome.is_err() {
            let _ = tx.exec("ROLLBACK", args![]).await;
            tx.after.clear();
        }
        for done in std::mem::take(&mut tx.after) {
            done();
        }
        for verdict in verdicts {
            verdict(outcome.clone());
        }
    }
}

async fn run_group(
    tx: &mut Tx,
    units: impl Iterator<Item = Unit>,
    verdicts: &mut Vec<Verdict>,
) -> Result<()> {
    tx.exec("BEGIN IMMEDIATE", args![]).await?;
    let mut failed = None;
    for unit in units {
        if let Err(error) = tx.exec("SAVEPOINT unit", args![]).await {
            failed.get_or_insert(error);
        }
        let hooks = tx.after.len();
        let (keep, verdict) = unit(tx).await;
        verdicts.push(verdict);
        if !keep {
            tx.after.truncate(hooks);
            if let Err(error) = tx.exec("ROLLBACK TO unit", args![]).await {
                failed.get_or_insert(error);
            }
        }
        if let Err(error) = tx.exec("RELEASE unit", args![]).await {
            failed.get_or_insert(error);
        }
    }
    match failed {
        Some(error) => Err(error),
        None => tx.exec("COMMIT", args![]).await.map(|_| ()),
    }
}

impl Tx {
    /// Runs `done` once the transaction is on disk; never when it is rolled back.
    pub fn after_commit(&mut self, done: impl FnOnce() + Send + 'static) {
        self.after.push(Box::new(done));
    }

    /// The engine whose database this is.
    pub fn engine(&self) -> Engine {
        let home = self.home.get().and_then(WeakEngine::upgrade);
        home.expect("units run while their engine lives")
    }

    fn conn(&mut self) -> &mut SqliteConnection {
        match &mut self.conn {
            Conn::Writer(conn) => conn,
            Conn::Reader(conn) => conn,
        }
    }

    /// The number of rows changed.
    pub async fn exec(&mut self, sql: &'static str, args: Vec<Value>) -> Result<u64> {
        let done = sqlx::query_with(sql, bind(args)).execute(self.conn()).await;
        Ok(done.map_err(explain)?.rows_affected())
    }

    pub async fn all<R: Row>(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<R>> {
        sqlx::query_as_with(sql, bind(args)).fetch_all(self.conn()).await.map_err(explain)
    }

    pub async fn opt<R: Row>(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Option<R>> {
        sqlx::query_as_with(sql, bind(args)).fetch_optional(self.conn()).await.map_err(explain)
    }

    /// The one row there must be.
    pub async fn one<R: Row>(&mut self, sql: &'static str, args: Vec<Value>) -> Result<R> {
        sqlx::query_as_with(sql, bind(args)).fetch_one(self.conn()).await.map_err(explain)
    }

    /// The integer that the statement yields.
    pub async fn number(&mut self, sql: &'static str, args: Vec<Value>) -> Result<i64> {
        Ok(self.one::<(i64,)>(sql, args).await?.0)
    }

    /// Rows of a statement that asks for `IN ($*)`: any of `values`, of which there may be none.
    pub async fn all_of<R: Row>(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<R>> {
        let marks: Vec<_> = (1..=values.len()).map(|n| format!("${n}")).collect();
        let marks = if marks.is_empty() { "NULL".to_owned() } else { marks.join(", ") };
        self.composed(sql.replace("$*", &marks), values).await
    }

    /// Rows of a statement that was composed of declared names only ([`crate::query`]).
    pub(crate) async fn composed<R: Row>(&mut self, sql: String, args: Vec<Value>) -> Result<Vec<R>> {
        sqlx::query_as_with(sqlx::AssertSqlSafe(sql), bind(args))
            .fetch_all(self.conn())
            .await
            .map_err(explain)
    }
}

fn bind(args: Vec<Value>) -> SqliteArguments {
    use sqlx::Arguments;
    let mut bound = SqliteArguments::default();
    for value in args {
        let added = match value {
            Value::Null => bound.add(None::<String>),
            Value::Text(text) => bound.add(text),
            Value::Int(number) => bound.add(number),
            Value::Bool(truth) => bound.add(truth),
        };
        added.expect("texts, integers and truths always encode");
    }
    bound
}

fn explain(error: sqlx::Error) -> ErrorCode {
    let kind = error.as_database_error().map(sqlx::error::DatabaseError::kind);
    match kind {
        Some(sqlx::error::ErrorKind::UniqueViolation) => {
            codes::INVALID_ARGUMENT.because(format!("there is one already: {error}"))
        }
        Some(sqlx::error::ErrorKind::ForeignKeyViolation) => {
            codes::STATE.because("something else still refers to it, or what it refers to is gone")
        }
        _ => error.into(),
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}
impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Value::Text(text.clone())
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}
impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Int(number.into())
    }
}
impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}
impl From<crate::Stamp> for Value {
    fn from(stamp: crate::Stamp) -> Self {
        Value::Int(stamp.0)
    }
}
impl<T: ?Sized> From<crate::Id<T>> for Value {
    fn from(id: crate::Id<T>) -> Self {
        Value::Text(id.to_string())
    }
}
impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Self {
        Value::Text(json.to_string())
    }
}
impl<V: Into<Value>> From<Option<V>> for Value {
    fn from(value: Option<V>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
