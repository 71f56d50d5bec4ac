//! Cumulet's controller: keeps the metadata of the cloud and drives the agents.
//!
//! One resource, one directory; [`modules`] lists them. What is common to all resources stands in the
//! `engine` crate, which names none.

pub mod config;
mod docs;
mod home;
pub mod modules;
mod program;
mod proxied;
#[cfg(test)]
#[path = "query/tests.rs"]
mod query_tests;
#[cfg(test)]
#[path = "query/tests/reads.rs"]
mod read_tests;
#[cfg(test)]
#[path = "query/tests/tags.rs"]
mod tag_tests;
#[cfg(test)]
mod testing;
mod unsolicited;
mod validate;

pub mod account;
pub mod affinity_group;
pub mod backup_storage;
mod candidate;
pub mod capacity;
pub mod certificate;
pub mod cluster;
pub mod console;
pub mod directory;
pub mod disk_offering;
pub mod event;
pub mod ha;
pub mod host;
pub mod image;
pub mod l2;
pub mod l3;
pub mod long_job;
pub mod machine;
pub mod management;
pub mod nic;
pub mod offering;
pub mod primary_storage;
pub mod service;
pub mod setting;
pub mod snapshot;
pub mod ssh_key_pair;
pub mod sweep;
pub mod tag;
pub mod task;
pub mod template;
pub mod vm;
pub mod volume;
pub mod zone;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use engine::api::catalogue;
use engine::db::{Db, Migrations};
use engine::engine::{Parts, Setup};
use engine::flow::fault::Faults;
use engine::module::Module;
use engine::{Engine, Result, codes};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::caller::Caller;
use wire::tls::{Guest, Guests, Role, TlsListener};

use config::{AgentsMode, Config};
use home::Home;
use host::Heartbeats;
use machine::Agents;
pub use program::program;

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// The tables of both kinds of database.
pub const MIGRATIONS: Migrations = Migrations { sqlite: &SQLITE, postgres: &POSTGRES };

/// ZStack's API: facts of its public sources.
const CATALOGUE: &str = include_str!("../catalogue.tsv");

/// How long open requests may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(10);

/// A controller that serves.
pub struct Controller {
    pub engine: Engine,
    pub address: SocketAddr,
    /// Where agents report and machines enrol; the same as `address` in the plain.
    pub agents: SocketAddr,
    _home: Home,
    serving: Vec<JoinHandle<()>>,
}

/// What a controller has besides what is in the tree.
#[derive(Default)]
pub struct Extra {
    /// Modules of other crates.
    pub plugins: Vec<Module>,
    /// What a test lets happen to its flows.
    pub faults: Option<Arc<dyn Faults>>,
}

impl Controller {
    /// Opens the database, takes over unfinished work, and serves until `stop` is cancelled.
    pub async fn start(config: Config, stop: CancellationToken) -> Result<Controller> {
        Controller::start_with(config, stop, Extra::default()).await
    }

    /// As [`Controller::start`], with more than what is in the tree.
    pub async fn start_with(config: Config, stop: CancellationToken, extra: Extra) -> Result<Controller> {
        let (listener, address) = listen(config.listen).await?;
        let home = Home::open(&config.state_dir)?;
        let db = Db::open(&config.database_url(), MIGRATIONS).await?;
        let office = Office::open(&config, &db, address).await?;
        let agents = office.address;
        let callback_url = config.callback_url(agents)?;
        let heartbeats = Heartbeats::open(&db, agents, &callback_url, &stop).await?;
        let caller = Caller::certified(callback_url, office.ways.live().cloned());
        let caller = caller.patient(config.patience);
        // Calls of others are told too.
        let document = (!extra.plugins.is_empty()).then(|| modules::openapi(&extra.plugins));
        let setup = Setup {
            db,
            modules: modules::all().into_iter().chain(extra.plugins).collect(),
            gate: account::gate,
            sight: engine::scope::sight,
            caller,
            membership: config.membership(agents, home.id().to_owned())?,
            stop: stop.clone(),
            faults: extra.faults,
        };
        let (admin_password, state_dir) = (config.admin_password.clone(), config.state_dir.clone());
        let parts = Parts::default().with(config.ports).with(config.console).with(office.ways.clone());
        let parts = parts.with(heartbeats).with(event::broker::Broker::new(config.broker.clone()));
        let engine = Engine::start(setup, parts).await?;
        account::ensure_admin(&engine, admin_password, &state_dir).await?;
        let mut serving = Vec::new();
        serving.extend(office.serve(&engine, &stop)?);
        let app = proxied::believing(router(&engine, document), &config.trusted_proxies);
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let serve = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
        serving.push(tokio::spawn(to_the_end(serve.into_future(), stop)));
        Ok(Controller { engine, address, agents, _home: home, serving })
    }

    /// Waits until it has stopped serving.
    pub async fn ended(self) {
        for serving in self.serving {
            let _ = serving.await;
        }
    }
}

/// Where agents come to.
struct Office {
    ways: Agents,
    address: SocketAddr,
    /// None in the plain: they come to the API's.
    listener: Option<TcpListener>,
}

impl Office {
    async fn open(config: &Config, db: &Db, api: SocketAddr) -> Result<Office> {
        if config.agents == AgentsMode::Plain {
            tracing::warn!(
                "AGENTS ARE SPOKEN WITH WITHOUT TLS AND WITHOUT AUTHENTICATION, as agents = \"plain\" asks: \
                 whoever reaches {api} may tell outcomes, and whoever answers at a host's address is believed"
            );
            return Ok(Office { ways: Agents::Plain, address: api, listener: None });
        }
        let (listener, address) = listen(config.agents_listen).await?;
        let ways = Agents::Certified(machine::open(db).await?);
        Ok(Office { ways, address, listener: Some(listener) })
    }

    fn serve(self, engine: &Engine, stop: &CancellationToken) -> Result<Option<JoinHandle<()>>> {
        let (Some(live), Some(listener)) = (self.ways.live(), self.listener) else { return Ok(None) };
        let others = wire::tls::demand(engine::bus::router(engine), live, &[Role::Controller]);
        let router = machine::door(engine, live, for_agents(engine)).merge(others);
        let router = router.into_make_service_with_connect_info::<Guest>();
        let listener = TlsListener::new(listener, live.clone(), Guests::Anybody);
        let listener = listener.map_err(|e| codes::IO.because(e.to_string()))?;
        let serve = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        Ok(Some(tokio::spawn(to_the_end(serve.into_future(), stop.clone()))))
    }
}

async fn listen(at: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener = wire::agent::bind(at).await.map_err(|e| codes::IO.because(e.to_string()))?;
    let address = listener.local_addr().map_err(|e| codes::IO.because(e.to_string()))?;
    Ok((listener, address))
}

/// Whoever stays connected and says nothing does not hold up the end.
async fn to_the_end(serve: impl Future<Output = std::io::Result<()>>, stop: CancellationToken) {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serve => if let Err(error) = served {
            tracing::error!(%error, "a listener stopped serving");
        },
        () = late => {}
    }
}

/// What people and their programs may say; agents too when they are spoken with in the plain.
fn router(engine: &Engine, document: Option<String>) -> Router {
    let api = engine::api::portal(engine, catalogue::read(CATALOGUE)).merge(engine::api::metrics(engine));
    let api = api.merge(docs::router(document)).merge(service::router(engine));
    let all = match engine.of::<Agents>() {
        Agents::Plain => api.merge(for_agents(engine)).merge(engine::bus::router(engine)),
        Agents::Certified(_) => api,
    };
    all.layer(DefaultBodyLimit::max(8 << 20))
}

/// What agents may say.
fn for_agents(engine: &Engine) -> Router {
    let callbacks = engine.caller().router();
    Router::new().nest("/zstack", callbacks.clone().merge(unsolicited::router(engine))).merge(callbacks)
}
