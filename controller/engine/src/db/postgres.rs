//! PostgreSQL: for several controllers.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{CONNECT, Opener, Readers};
use crate::error::{Result, codes};

pub const CLOCK: &str = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// Every group of units holds the lock until it is committed. The number is "cumulet" in ASCII.
pub(super) const BEGIN_ALONE: &str = "BEGIN; SELECT pg_advisory_xact_lock(28003374930424180)";
pub(super) const NOTIFY: &str = "SELECT 1::BIGINT FROM pg_notify('cumulet', $1)";

/// A controller that stops in the middle of a transaction is thrown out of it, for it holds up all others.
const IDLE_IN_TRANSACTION: &str = "1500ms";
const STATEMENT: &str = "10s";

/// After so long without a notice the connection is tried.
const QUIET: Duration = Duration::from_secs(5);

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
        ]);
    let mut writer = connect(&options).await?;
    migrator
        .run(&mut writer)
        .await
        .map_err(|e| codes::INTERNAL.because(format!("cannot bring the database up to date: {e}")))?;
    let readers = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(CONNECT)
        .test_before_acquire(false)
        .connect_lazy_with(options.clone());
    Ok((Opener::Postgres(Box::new(options)), Readers::Postgres(readers)))
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

/// Hears what controllers tell each other; after every gap it says so.
pub(super) fn listen(pool: PgPool) -> mpsc::Receiver<Heard> {
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
