//! The storage agent: keeps images as a backup storage.
//!
//! A *store* is a directory on this machine that a controller connected. An image comes into it by an
//! import (from a URL, a directory of this machine, or an upload), is inspected before anyone else sees
//! it, and then never changes. Hypervisors fetch it by plain HTTP.
//!
//! ```text
//! <storage_path>/.cumulet-store         the uuid of the backup storage
//! <storage_path>/images/<uuid>/         image, meta.json: whole, inspected, durable
//! <storage_path>/incoming/<uuid>/       image, resume.json: on its way; nobody reads it
//! ```
//! An image enters `images` by one rename, and leaves it by one: a crash shows it whole or not at all.

pub mod config;
mod delivery;
mod import;
mod operations;
mod store;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use import::Imports;
use store::Stores;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wire::agent::{Agent, Machine, Routes};
use wire::tls::{Live, Role};

/// How long what an import left behind waits for its task to come back after a start.
const SWEEP_AFTER: Duration = Duration::from_secs(600);

/// What the operations work upon.
pub struct Storage {
    stores: Stores,
    imports: Imports,
}

impl Storage {
    /// Finds the stores that were connected before.
    pub async fn open(config: &Config) -> io::Result<Arc<Self>> {
        let file = config.state_dir.join("stores.json");
        let stores = Stores::open(file).await.map_err(io::Error::other)?;
        Ok(Arc::new(Storage { stores, imports: Imports::new(config.imports()) }))
    }

    /// Removes what imports left behind that nobody continues.
    async fn sweep(&self) {
        for store in self.stores.all().await {
            self.imports.sweep(&store).await;
        }
    }
}

/// Serves until `shutdown`; whatever is under way then continues at the next start.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    live: Option<Live>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let storage = Storage::open(&config).await?;
    let sweeper = storage.clone();
    let sweeping = tokio::spawn(async move {
        tokio::time::sleep(SWEEP_AFTER).await;
        sweeper.sweep().await;
    });
    if let Some(address) = config.upload_listen {
        take_uploads(address, storage.clone(), shutdown.clone()).await?;
    }
    let agent = Agent { name: "cumulet-storage-agent", state_dir: config.state_dir.clone(), again: false };
    let served = agent.serve_on(listener, live, Machine::here()?, routes(storage), shutdown).await;
    sweeping.abort();
    served
}

/// Clients have no certificates: what lets them in is the token of one upload.
async fn take_uploads(
    address: SocketAddr,
    storage: Arc<Storage>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let listener = wire::agent::bind(address).await?;
    tracing::info!(upload_listen = %listener.local_addr()?, "uploads are taken");
    let serve = axum::serve(listener, delivery::uploads(storage));
    tokio::spawn(serve.with_graceful_shutdown(shutdown.cancelled_owned()).into_future());
    Ok(())
}

fn routes(storage: Arc<Storage>) -> Routes<Storage> {
    Routes::new(storage.clone())
        .on(operations::connect)
        .on(operations::disconnect)
        .on(operations::echo)
        .on(operations::ping)
        .on(operations::download)
        .on(operations::delete)
        .on(operations::get_image_size)
        .on(operations::get_progress)
        .inventory(operations::inventory)
        .plain(&[Role::Controller, Role::Host], delivery::router(storage))
}

/// Runs what blocks off the runtime's own threads; a panic in it goes on in the caller.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that shuts down cancels; then nobody polls this any more.
            Err(_) => std::future::pending().await,
        },
    }
}
