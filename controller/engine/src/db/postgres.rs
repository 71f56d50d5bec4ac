//! PostgreSQL: for several controllers.

use std::str::FromStr;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Manager, Metrics, PoolError, RecycleResult, TimeoutType};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Connection, SqlStr};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{CONNECT, Opener, Readers, Value, value};
use crate::error::{ErrorCode, Result, codes};

pub const CLOCK: &str = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// Every group of units holds the lock until it is committed. The number is "cumulet" in ASCII.
pub(super) const BEGIN_ALONE: &str = "BEGIN; SELECT pg_advisory_xact_lock(28003374930424180); SAVEPOINT unit";

/// A controller that stops in the middle of a transaction is thrown out of it, for it holds up all others.
const IDLE_IN_TRANSACTION: &str = "1500ms";
const STATEMENT: &str = "10s";

/// After so long without a notice the connection is tried.
const QUIET: Duration = Duration::from_secs(5);

/// A notice is no longer than the server allows.
const LONGEST_NOTICE: usize = 7900;

/// So many read at a time, a few rows or many.
const READERS: usize = 8;
/// A connection that was idle for longer is tried before it is lent.
const IDLE: Duration = Duration::from_secs(1);

/// Who asks for much keeps no flow waiting.
#[derive(Clone)]
pub(super) struct Lenders {
    pub few: Lender,
    pub much: Lender,
}

/// Lends connections for reading. sqlx's own pool asks the server at every return whether it is still there,
/// which makes two ways to it of each.
#[derive(Clone)]
pub(super) struct Lender(managed::Pool<Maker>);

pub(super) struct Maker(PgConnectOptions);

/// A connection for reading.
pub(super) struct Reader {
    connection: PgConnection,
    /// Not in the middle of a statement, and not lost.
    sound: bool,
}

pub(super) type Lent = managed::Object<Maker>;

/// What was told by a controller, perhaps by this one.
pub(crate) enum Heard {
    Notices(String),
    /// Something may have been missed: look at everything.
    Again,
}

pub(super) async fn open(url: &str, migrator: &Migrator) -> Result<(Opener, Readers)> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|e| codes::INVALID_ARGUMENT.because(format!("database.url: {e}")))?
        .application_name("cumulet-controller")
        .log_statements(tracing::log::LevelFilter::Trace)
        .options([
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
            ("statement_timeout", STATEMENT),
            ("default_transaction_isolation", "read committed"),
            ("standard_conforming_strings", "on"),
        ]);
    // What flows write and read are rows by their keys; planning it anew costs more than doing it.
    let keyed = options.clone().options([("plan_cache_mode", "force_generic_plan")]);
    let mut writer = connect(&keyed).await?;
    migrator
        .run(&mut writer)
        .await
        .map_err(|e| codes::INTERNAL.because(format!("cannot bring the database up to date: {e}")))?;
    let lenders = Lenders { few: Lender::new(keyed.clone())?, much: Lender::new(options)? };
    Ok((Opener::Postgres(Box::new(keyed)), Readers::Postgres(lenders)))
}

impl Lender {
    fn new(options: PgConnectOptions) -> Result<Lender> {
        let pool = managed::Pool::builder(Maker(options))
            .max_size(READERS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT))
            .recycle_timeout(Some(IDLE))
            .build();
        pool.map(Lender).map_err(|error| codes::INTERNAL.because(error.to_string()))
    }

    pub async fn lend(&self) -> Result<Lent> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait) => codes::DATABASE
                .because(format!("{READERS} readers wait for the database already: it is slow, or away")),
            other => codes::DATABASE.because(format!("no connection to the database: {other}")),
        })
    }

    /// Hears what controllers tell each other; after every gap it says so.
    pub fn listen(&self) -> mpsc::Receiver<Heard> {
        let options = self.0.manager().0.clone();
        listen(PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT).connect_lazy_with(options))
    }
}

impl Manager for Maker {
    type Type = Reader;
    type Error = ErrorCode;

    async fn create(&self) -> Result<Reader> {
        Ok(Reader { connection: connect(&self.0).await?, sound: true })
    }

    async fn recycle(&self, reader: &mut Reader, metrics: &Metrics) -> RecycleResult<ErrorCode> {
        if reader.sound && metrics.last_used() > IDLE {
            reader.connection.ping().await.map_err(ErrorCode::from)?;
        }
        match reader.sound {
            true => Ok(()),
            false => Err(codes::DATABASE.because("it was left in the middle of a statement").into()),
        }
    }
}

impl Reader {
    /// At most so many of the rows.
    pub async fn rows(&mut self, sql: SqlStr, args: Vec<Value>, most: usize) -> sqlx::Result<Vec<PgRow>> {
        self.sound = false;
        let rows = rows(&mut self.connection, sql, args, most).await;
        self.sound = matches!(rows, Ok(_) | Err(sqlx::Error::Database(_)));
        rows
    }
}

/// At most so many of the rows.
pub(super) async fn rows(
    connection: &mut PgConnection,
    sql: SqlStr,
    args: Vec<Value>,
    most: usize,
) -> sqlx::Result<Vec<PgRow>> {
    let query = sqlx::query_with(sql, value::for_postgres(args));
    match most {
        1 => Ok(query.fetch_optional(connection).await?.into_iter().collect()),
        _ => query.fetch_all(connection).await,
    }
}

pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection> {
    match timeout(CONNECT, PgConnection::connect_with(options)).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(codes::DATABASE.because(format!(
            "the database at {}:{} does not answer",
            options.get_host(),
            options.get_port()
        ))),
    }
}

/// A commit that tells all controllers these lines, each time together with who tells them.
pub(super) fn commit(teller: &str, lines: impl Iterator<Item = String>) -> String {
    let mut commit = String::new();
    let mut text = String::new();
    for line in lines {
        if !text.is_empty() && text.len() + line.len() > LONGEST_NOTICE {
            tell(&mut commit, &std::mem::take(&mut text));
        }
        if text.is_empty() {
            text.push_str(teller);
        }
        text.push('\n');
        text.push_str(&line);
    }
    if !text.is_empty() {
        tell(&mut commit, &text);
    }
    commit + "COMMIT"
}

fn tell(commit: &mut String, text: &str) {
    commit.push_str(&format!("NOTIFY cumulet, '{}'; ", text.replace('\'', "''")));
}

fn listen(pool: PgPool) -> mpsc::Receiver<Heard> {
    let (tell, heard) = mpsc::channel(1024);
    tokio::spawn(async move {
        while !tell.is_closed() {
            if let Err(error) = pass_on(&pool, &tell).await {
                tracing::warn!(%error, "other controllers are not heard");
            }
            sleep(Duration::from_millis(500)).await;
        }
    });
    heard
}

/// Who only listens never learns that the server's machine is gone, or that another has taken its place.
async fn prove_alive(listener: &mut PgListener) -> Result<()> {
    match timeout(CONNECT, sqlx::query("SELECT 1").execute(listener)).await {
        Ok(answered) => Ok(answered.map(drop)?),
        Err(_) => Err(codes::DATABASE.because("the connection on which notices come is dead")),
    }
}

async fn pass_on(pool: &PgPool, tell: &mpsc::Sender<Heard>) -> Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("cumulet").await?;
    let _ = tell.send(Heard::Again).await;
    loop {
        let heard = match timeout(QUIET, listener.try_recv()).await {
            Ok(heard) => heard?,
            Err(_) => {
                prove_alive(&mut listener).await?;
                continue;
            }
        };
        let heard = match heard {
            Some(notification) => Heard::Notices(notification.payload().to_owned()),
            None => Heard::Again,
        };
        if tell.send(heard).await.is_err() {
            return Ok(());
        }
    }
}
