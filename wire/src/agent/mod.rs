//! The agent half: serves commands, remembers them in a journal, reports their outcomes.
//!
//! An agent names its operations in [`Routes`] and serves them with [`Agent::serve`]. What the contract
//! asks is done here, so that an operation is a function from a command to a reply; it must be
//! idempotent, since after a crash of the agent it runs again.

mod cx;
mod headers;
mod http;
mod journal;
mod ledger;
mod machine;
#[cfg(feature = "model")]
pub mod memory;
mod record;
mod replay;
mod report;
mod routes;
mod runner;
mod signals;
mod store;
mod task;
mod texts;
mod turns;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub use cx::Cx;
pub use machine::{Disk, Machine};
pub use routes::{Owned, Routes};
pub use task::Task;

use self::http::Server;
use self::journal::Journal;
use self::report::Reporter;
use self::runner::Runner;
use crate::tls::{Door, Guest, Guests, Live, TlsListener};

/// How long running tasks and open connections may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(10);

/// An agent: what it is called and where it remembers.
#[derive(Clone, Debug)]
pub struct Agent {
    pub name: &'static str,
    /// Holds the task journal; one agent at a time.
    pub state_dir: PathBuf,
    /// Runs a finished task again when it is sent again without a fence, as ZStack's agents do.
    pub again: bool,
}

impl Agent {
    /// Serves until `shutdown`; then ends within some seconds, and what has not ended is resumed at the
    /// next start.
    ///
    /// # Errors
    /// When the address is taken, the state directory is in use, or the journal in it is unreadable.
    pub async fn serve<S: Send + Sync + 'static>(
        self,
        door: &Door,
        routes: Routes<S>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let listener = bind(door.address()).await?;
        self.serve_on(listener, door.live().cloned(), Machine::here()?, routes, shutdown).await
    }

    /// Like [`Agent::serve`], on a listener and a machine of the caller's choice; plain without an identity.
    pub async fn serve_on<S: Send + Sync + 'static>(
        self,
        listener: TcpListener,
        live: Option<Live>,
        machine: Machine,
        routes: Routes<S>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let runner = Arc::new(self.open(machine, live.clone()).await?);
        // Also when this future is dropped.
        let _stopping = runner.stopping.clone().drop_guard();
        runner.resume(&routes.table);
        tracing::info!(agent = self.name, address = %listener.local_addr()?, "listening");
        let router = http::router(Server { runner: runner.clone(), table: routes.table }, live.as_ref());
        let served = listen(listener, live, router, shutdown).await;
        runner.stop(GRACE).await;
        tracing::info!(agent = self.name, "stopped");
        served
    }

    async fn open(&self, machine: Machine, live: Option<Live>) -> io::Result<Runner> {
        let (dir, Machine { boot_id, disk }) = (self.state_dir.clone(), machine);
        let opened = tokio::task::spawn_blocking(move || Journal::open(&dir, disk)).await;
        let (journal, ledger) = opened.map_err(io::Error::other)??;
        let reporter = Reporter::new(live).map_err(io::Error::other)?;
        Ok(Runner::new(journal, ledger, reporter, boot_id, self.again))
    }
}

/// # Errors
/// When the address is taken or is none of this machine's.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let about =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen at {address}: {error}"));
    TcpListener::bind(address).await.map_err(about)
}

/// Serves until `shutdown`, then until the open requests are answered or [`GRACE`] is over.
async fn listen(
    listener: TcpListener,
    live: Option<Live>,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    match live {
        Some(live) => {
            let listener = TlsListener::new(listener, live, Guests::Certified)?;
            let router = router.into_make_service_with_connect_info::<Guest>();
            let serve =
                axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
            until(serve.into_future(), shutdown).await
        }
        None => {
            let serve = axum::serve(without_delay(listener), router);
            let serve = serve.with_graceful_shutdown(shutdown.clone().cancelled_owned());
            until(serve.into_future(), shutdown).await
        }
    }
}

fn without_delay(listener: TcpListener) -> impl Listener<Io = TcpStream, Addr = SocketAddr> {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    })
}

async fn until(serve: impl Future<Output = io::Result<()>>, shutdown: CancellationToken) -> io::Result<()> {
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serve => served,
        () = late => Ok(()),
    }
}

/// Sends logs to stderr; `RUST_LOG` chooses, `info` when it is absent.
pub fn main_setup() {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::IsTerminal::is_terminal(&io::stderr());
    fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).init();
}

/// Cancelled at SIGINT or SIGTERM.
pub fn shutdown_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! { _ = terminate.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot listen for SIGTERM");
                let _ = tokio::signal::ctrl_c().await;
            }
        }
        cancel.cancel();
    });
    token
}
