//! Cumulet's controller: keeps the metadata of the cloud and drives the agents.
//!
//! One resource, one directory; [`modules`] lists them. What is common to all resources stands in the
//! `engine` crate, which names none.

pub mod config;
mod home;
pub mod modules;
#[cfg(test)]
mod testing;
mod unsolicited;
mod validate;

pub mod account;
pub mod backup_storage;
pub mod cluster;
pub mod console;
pub mod host;
pub mod image;
pub mod l2;
pub mod l3;
pub mod nic;
pub mod offering;
pub mod primary_storage;
pub mod setting;
pub mod vm;
pub mod volume;
pub mod zone;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use engine::db::{Db, Migrations};
use engine::engine::{Parts, Setup};
use engine::flow::fault::Faults;
use engine::{Engine, Result, codes};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use config::Config;
use home::Home;

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// The tables of both kinds of database.
pub const MIGRATIONS: Migrations = Migrations { sqlite: &SQLITE, postgres: &POSTGRES };

/// A controller that serves.
pub struct Controller {
    pub engine: Engine,
    pub address: SocketAddr,
    _home: Home,
    serving: tokio::task::JoinHandle<()>,
}

impl Controller {
    /// Opens the database, takes over unfinished work, and serves until `stop` is cancelled.
    pub async fn start(config: Config, stop: CancellationToken) -> Result<Controller> {
        Controller::start_with(config, stop, None).await
    }

    /// As [`Controller::start`], with faults in its flows.
    pub async fn start_with(
        config: Config,
        stop: CancellationToken,
        faults: Option<Arc<dyn Faults>>,
    ) -> Result<Controller> {
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|e| codes::IO.because(format!("cannot listen on {}: {e}", config.listen)))?;
        let address = listener.local_addr().map_err(|e| codes::IO.because(e.to_string()))?;
        let home = Home::open(&config.state_dir)?;
        let db = Db::open(&config.database_url(), MIGRATIONS).await?;
        let setup = Setup {
            db,
            modules: modules::all(),
            gate: account::gate,
            callback_url: config.callback_url(address),
            membership: config.node.membership(address, home.id().to_owned()),
            stop: stop.clone(),
            faults,
        };
        let (admin_password, state_dir) = (config.admin_password.clone(), config.state_dir.clone());
        let parts = Parts::default().with(config.ports).with(config.console);
        let engine = Engine::start(setup, parts).await?;
        account::ensure_admin(&engine, admin_password, &state_dir).await?;
        let app = router(&engine);
        let serving = tokio::spawn(async move {
            let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the API stopped serving");
            }
        });
        Ok(Controller { engine, address, _home: home, serving })
    }

    /// Waits until it has stopped serving.
    pub async fn ended(self) {
        let _ = self.serving.await;
    }
}

fn router(engine: &Engine) -> Router {
    let callbacks = engine.caller().router();
    engine::api::portal(engine)
        .nest("/zstack", callbacks.clone().merge(unsolicited::router(engine)))
        .merge(callbacks)
        .merge(engine::api::metrics(engine))
        .merge(engine::bus::router(engine))
        .layer(DefaultBodyLimit::max(8 << 20))
}
