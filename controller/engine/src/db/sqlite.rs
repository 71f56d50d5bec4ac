//! SQLite: embedded, one controller.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::Connection;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};

use super::{CONNECT, Opener, Readers};
use crate::error::{ErrorCode, Result, codes};

pub const CLOCK: &str = "SELECT CAST(unixepoch('subsec') * 1000 AS BIGINT)";

pub(super) async fn open(url: &str, migrator: &Migrator) -> Result<(Opener, Readers)> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|e| codes::INVALID_ARGUMENT.because(format!("database.url \"{url}\": {e}")))?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5));
    if let Some(parent) = options.get_filename().parent().filter(|p| *p != Path::new("")) {
        std::fs::create_dir_all(parent).map_err(|e| io("make", parent, &e))?;
    }
    let mut writer = connect(&options).await?;
    migrator
        .run(&mut writer)
        .await
        .map_err(|e| codes::INTERNAL.because(format!("cannot bring \"{url}\" up to date: {e}")))?;
    let reading = options.clone().read_only(true);
    let readers = SqlitePoolOptions::new()
        .max_connections(8)
        .acquire_timeout(CONNECT)
        .test_before_acquire(false)
        .connect_lazy_with(reading);
    Ok((Opener::Sqlite(options), Readers::Sqlite(readers)))
}

pub(super) async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection> {
    Ok(SqliteConnection::connect_with(options).await?)
}

fn io(verb: &str, path: &Path, error: &std::io::Error) -> ErrorCode {
    codes::IO.because(format!("cannot {verb} {}: {error}", path.display()))
}
