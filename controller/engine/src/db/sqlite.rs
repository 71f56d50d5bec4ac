//! SQLite: embedded, one controller.
//!
//! Statements are calls of the library in the thread at hand: one takes microseconds, handing it to another
//! thread and waiting takes many times as long (ADR 0011). Only the writer waits for the disk, in a thread
//! of its own; who reads very much leaves the threads of the runtime first ([`super::Db::read_much`]).
//!
//! How large the tables are, and what stands in them, is not found out (no ANALYZE): how a statement is run
//! follows from the indexes alone, in an empty cloud as with a million VMs, so it can be tested
//! (`tests/store.rs`).

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags, ffi};
use sqlx::ConnectOptions;
use sqlx::Connection as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use super::row::{Cells, Given, Places, Row};
use super::value::Value;
use crate::error::{ErrorCode, Result, codes};

pub const CLOCK: &str = "SELECT CAST(unixepoch('subsec') * 1000 AS BIGINT)";

/// Another process that looks into the database is waited for so long.
const BUSY: Duration = Duration::from_secs(5);
/// So many statements of a connection are kept ready.
const STATEMENTS: usize = 512;
/// So many connections for reading are kept open.
const READERS: usize = 16;

/// The file, and the connections for reading that are not in use.
#[derive(Clone)]
pub(super) struct Store {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// A connection for reading, given back when it is dropped.
pub(super) struct Reader {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// Makes the database when it is absent and brings its tables up to date.
pub(super) async fn open(url: &str, migrator: &Migrator) -> Result<Store> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|e| codes::INVALID_ARGUMENT.because(format!("database.url \"{url}\": {e}")))?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(BUSY);
    let path = options.get_filename().to_owned();
    if let Some(parent) = path.parent().filter(|p| *p != Path::new("")) {
        std::fs::create_dir_all(parent).map_err(|e| io("make", parent, &e))?;
    }
    let mut connection = options.connect().await?;
    migrator
        .run(&mut connection)
        .await
        .map_err(|e| codes::INTERNAL.because(format!("cannot bring \"{url}\" up to date: {e}")))?;
    connection.close().await?;
    Ok(Store::at(path))
}

impl Store {
    pub fn at(path: PathBuf) -> Store {
        Store { path, idle: Arc::default() }
    }

    pub fn writer(&self) -> Result<Connection> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(connection)
    }

    pub fn reader(&self) -> Result<Reader> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        Ok(Reader { connection: Some(connection), idle: Arc::clone(&self.idle) })
    }

    fn connect(&self, access: OpenFlags) -> Result<Connection> {
        let connection = Connection::open_with_flags(&self.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Otherwise, once somebody has had the tables counted, a statement is prepared anew for every value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    }
}

impl Reader {
    pub fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it is given back only when it is dropped")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = self.connection.take().filter(|_| idle.len() < READERS) {
            idle.push(connection);
        }
    }
}

/// The number of rows changed.
pub(super) fn exec(connection: &Connection, sql: &str, values: &[Value]) -> Result<u64> {
    let mut statement = bound(connection, sql, values)?;
    Ok(u64::try_from(statement.raw_execute()?).unwrap_or(0))
}

/// At most so many of the rows.
pub(super) fn rows<R: Row>(
    connection: &Connection,
    sql: &str,
    values: &[Value],
    most: usize,
) -> Result<Vec<R>> {
    let mut statement = bound(connection, sql, values)?;
    let (mut rows, mut read) = (statement.raw_query(), Vec::new());
    let places = Places::default();
    while read.len() < most {
        let Some(row) = rows.next()? else { break };
        read.push(R::read(&Cells::of(Given::Sqlite(row), &places))?);
    }
    Ok(read)
}

/// The statement with the first value for `$1`, the second for `$2`, wherever they stand in it.
fn bound<'c>(connection: &'c Connection, sql: &str, values: &[Value]) -> Result<CachedStatement<'c>> {
    let mut statement = connection.prepare_cached(sql)?;
    for at in 1..=statement.parameter_count() {
        let number = statement.parameter_name(at).and_then(|name| name.get(1..)?.parse::<usize>().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?)).ok_or_else(|| {
            codes::INTERNAL.because(format!("a statement is given {} values only: {sql}", values.len()))
        })?;
        statement.raw_bind_parameter(at, value)?;
    }
    Ok(statement)
}

impl From<rusqlite::Error> for ErrorCode {
    fn from(error: rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error().map(|error| error.extended_code) else {
            return refused(&error);
        };
        match code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
                codes::INVALID_ARGUMENT.because(format!("there is one already: {error}"))
            }
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => super::referred(),
            ffi::SQLITE_INTERRUPT => super::too_long(),
            _ if is_away(code) => codes::DATABASE.because(format!("the metadata database failed: {error}")),
            _ => refused(&error),
        }
    }
}

fn refused(error: &rusqlite::Error) -> ErrorCode {
    tracing::error!(%error, "a statement is wrong");
    codes::INTERNAL.because(format!("the metadata database refuses a statement: {error}"))
}

/// Whether a code says that the database cannot work now, rather than that the statement is wrong.
fn is_away(code: i32) -> bool {
    let away = [
        ffi::SQLITE_BUSY,
        ffi::SQLITE_LOCKED,
        ffi::SQLITE_NOMEM,
        ffi::SQLITE_READONLY,
        ffi::SQLITE_IOERR,
        ffi::SQLITE_CORRUPT,
        ffi::SQLITE_FULL,
        ffi::SQLITE_CANTOPEN,
        ffi::SQLITE_NOTADB,
    ];
    away.contains(&(code & 0xff))
}

fn io(verb: &str, path: &Path, error: &std::io::Error) -> ErrorCode {
    codes::IO.because(format!("cannot {verb} {}: {error}", path.display()))
}
