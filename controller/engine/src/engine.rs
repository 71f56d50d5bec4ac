//! The engine: one per controller process, shared by everything that works.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use wire::caller::{Caller, Outcome};
use wire::metrics::{Ends, Metrics};
use wire::{Call, TaskId};

use crate::api::at_work::AtWork;
use crate::api::job::{self, Job, Settled};
use crate::api::{Credentials, Entry, EntryKind, Gate, Session};
use crate::bus::Bus;
use crate::cascade::{Delete, Graph, Settle};
use crate::db::Db;
use crate::db::Heard;
use crate::error::{Result, codes};
use crate::event::{Event, Listeners};
use crate::flow::fault::Faults;
use crate::flow::{self, Agent, FlowType, Waiters};
use crate::hook::Hooks;
use crate::id::Id;
use crate::listener::{self, Listener};
use crate::module::Module;
use crate::node::{self, Eras, Membership, Node};
use crate::notice::Notice;
use crate::query::{Entity, Schema, Sight};
use crate::queue::Queues;
use crate::quota::Quota;
use crate::setting::{AnySetting, Values};
use crate::sweep::{self, By, Sweep};
use crate::tag::{self, SystemTag, Wanted};

/// In place of a secret, wherever a call is recorded.
const HIDDEN: &str = "*****";

/// A handle on the engine; clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

/// A handle that does not keep the engine alive.
#[derive(Clone)]
pub(crate) struct WeakEngine(Weak<Inner>);

struct Inner {
    db: Db,
    /// Marks what this process tells the others.
    process: Id<Node>,
    eras: Eras,
    bus: Bus,
    stop: CancellationToken,
    /// Somebody has to look for work that nobody does.
    recovery: Notify,
    queues: Queues,
    caller: Caller,
    http: reqwest::Client,
    entries: Vec<Arc<Entry>>,
    jobs: HashMap<&'static str, Arc<Entry>>,
    flows: HashMap<&'static str, FlowType>,
    graph: Graph,
    schema: Schema,
    tags: Vec<SystemTag>,
    settings: Vec<AnySetting>,
    event_names: Vec<&'static str>,
    quotas: Vec<&'static Quota>,
    claims: Vec<(&'static str, &'static str)>,
    hooks: Hooks,
    values: Values,
    waiters: Waiters,
    watched_jobs: job::Watched,
    jobs_at_work: Arc<AtWork>,
    listeners: Listeners,
    metrics: Metrics,
    ends: Ends,
    gate: Gate,
    faults: Option<Arc<dyn Faults>>,
    config: Box<dyn std::any::Any + Send + Sync>,
}

/// What an engine is started with.
pub struct Setup {
    pub db: Db,
    pub modules: Vec<Module>,
    pub gate: Gate,
    /// Which rows each may see.
    pub sight: Sight,
    /// How agents and other controllers are called, and where agents report.
    pub caller: Caller,
    pub membership: Membership,
    /// Cancelled when the process shall end.
    pub stop: CancellationToken,
    /// What a test lets happen to flows.
    pub faults: Option<Arc<dyn Faults>>,
}

/// A configuration of several values, each found again by its own type.
#[derive(Default)]
pub struct Parts(Vec<Box<dyn std::any::Any + Send + Sync>>);

impl Parts {
    #[must_use]
    pub fn with<C: Send + Sync + 'static>(mut self, part: C) -> Self {
        self.0.push(Box::new(part));
        self
    }
}

/// How often flows and jobs that nobody does are looked for, beside the moments at which there are some.
const RECOVERY: Duration = Duration::from_secs(1);
/// How long the journal of ended flows, and the outbox, are kept.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

impl WeakEngine {
    pub(crate) fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(Engine)
    }
}

impl Engine {
    /// Wires the modules together, joins the other controllers, takes over what is left unfinished and
    /// starts the sweeps. `config` is what drivers find again by [`Engine::of`].
    pub async fn start<C: Send + Sync + 'static>(setup: Setup, config: C) -> Result<Engine> {
        let Setup { db, modules, gate, sight, caller, membership, stop, faults } = setup;
        let values = Values::load(&mut db.read().await?).await?;
        let bus = Bus::of(&db).await?;
        let mut wired = Wired::of(modules)?;
        let schema = wired.schema(sight)?;
        tag::check_declared(&schema, &wired.tags)?;
        let mut metrics = Metrics::default();
        let ends = metrics.ends("cumulet_jobs", "Jobs that were worked on, by their API");
        let sweeps = std::mem::take(&mut wired.sweeps);
        let hearing = std::mem::take(&mut wired.hearing);
        let engine = Engine(Arc::new_cyclic(|this: &Weak<Inner>| Inner {
            process: Id::random(),
            eras: Eras::default(),
            bus,
            stop,
            recovery: Notify::new(),
            queues: Queues::default(),
            caller: caller
                .only_while(permission(this.clone()))
                .among(others(this.clone()), passing(this.clone())),
            http: http_client().expect("the TLS library can be set up"),
            jobs: wired.jobs(),
            entries: wired.entries,
            flows: wired.flows.into_iter().map(|flow| (flow.name, flow)).collect(),
            graph: Graph::new(wired.kinds, wired.edges),
            schema,
            tags: wired.tags,
            settings: wired.settings,
            event_names: wired.event_names,
            quotas: wired.quotas,
            claims: wired.claims,
            hooks: wired.hooks,
            values,
            waiters: Waiters::default(),
            watched_jobs: job::Watched::default(),
            jobs_at_work: Arc::default(),
            listeners: Listeners::default(),
            metrics,
            ends,
            gate,
            faults,
            config: Box::new(config),
            db,
        }));
        engine.db().belongs_to(engine.weak());
        engine.listeners().begin(&engine);
        engine.hear_others();
        node::beat(&engine, membership).await?;
        tracing::info!(node = %engine.era()?.id, "engine started");
        engine.spawn_recovery();
        engine.spawn_sweeps(sweeps);
        hearing.into_iter().for_each(|one| drop(tokio::spawn(listener::run(engine.weak(), one))));
        Ok(engine)
    }

    fn spawn_sweeps(&self, mut sweeps: Vec<Sweep>) {
        sweeps.push(Sweep {
            name: "expiry",
            every: |_| Duration::from_secs(600),
            by: By::One,
            pass: |engine| {
                Box::pin(async move {
                    job::expire(&engine).await?;
                    flow::expire(&engine, KEPT).await?;
                    crate::event::expire(&engine, KEPT).await
                })
            },
        });
        for sweep in sweeps {
            let weak = self.weak();
            tokio::spawn(async move { sweep::run(weak, &sweep).await });
        }
    }

    /// Looks for work that nobody does, now.
    pub(crate) fn recover(&self) {
        self.0.recovery.notify_one();
    }

    fn spawn_recovery(&self) {
        let weak = self.weak();
        tokio::spawn(async move {
            while let Some(engine) = weak.upgrade() {
                if let Err(error) = recover(&engine).await {
                    tracing::warn!(%error, "abandoned work was not looked for");
                }
                let _ = tokio::time::timeout(RECOVERY, engine.0.recovery.notified()).await;
            }
        });
    }

    /// The work of an era that is over is nobody's here.
    pub(crate) fn forget_work(&self) {
        self.waiters().forget();
    }

    fn hear_others(&self) {
        let Some(heard) = self.db().notices_of_others() else { return };
        tokio::spawn(hear(self.weak(), heard));
    }

    /// Looks at what a notice names.
    pub(crate) fn heed(&self, notice: Notice) {
        match notice {
            Notice::Flow(flow) => self.waiters().tell(flow),
            Notice::Wish(flow) => self.waiters().wish(flow),
            Notice::Event => self.listeners().wake(),
            Notice::Setting => {
                let engine = self.clone();
                tokio::spawn(async move { engine.reload_settings().await });
            }
        }
    }

    pub(crate) fn weak(&self) -> WeakEngine {
        WeakEngine(Arc::downgrade(&self.0))
    }

    pub(crate) fn process(&self) -> Id<Node> {
        self.0.process
    }

    pub(crate) fn eras(&self) -> &Eras {
        &self.0.eras
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.0.bus
    }

    pub(crate) fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    pub fn db(&self) -> &Db {
        &self.0.db
    }

    pub fn queues(&self) -> &Queues {
        &self.0.queues
    }

    /// The caller half of the wire, whose callback route the process must serve.
    pub fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// For everything outside that is no agent.
    pub fn http(&self) -> &reqwest::Client {
        &self.0.http
    }

    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.0.entries
    }

    /// The events that there are.
    pub fn event_names(&self) -> &[&'static str] {
        &self.0.event_names
    }

    pub fn settings(&self) -> &[AnySetting] {
        &self.0.settings
    }

    /// Does `work` in the background, as long as this controller may act.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        node::spawn(&self.era()?, work);
        Ok(())
    }

    pub fn quotas(&self) -> &[&'static Quota] {
        &self.0.quotas
    }

    /// What other modules have that counts for this quota.
    pub(crate) fn claims(&self, quota: &str) -> impl Iterator<Item = &'static str> {
        self.0.claims.iter().filter(move |(name, _)| *name == quota).map(|(_, used)| *used)
    }

    /// Who observes what.
    pub fn hooks(&self) -> &Hooks {
        &self.0.hooks
    }

    /// What happens from now on, in this process.
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<Event> {
        self.0.listeners.listen()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn ends(&self) -> &Ends {
        &self.0.ends
    }

    /// What can be asked.
    pub fn schema(&self) -> &Schema {
        &self.0.schema
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.0.graph
    }

    pub(crate) fn jobs_at_work(&self) -> &Arc<AtWork> {
        &self.0.jobs_at_work
    }

    pub(crate) fn watched_jobs(&self) -> &job::Watched {
        &self.0.watched_jobs
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.0.waiters
    }

    pub(crate) fn listeners(&self) -> &Listeners {
        &self.0.listeners
    }

    pub(crate) fn values(&self) -> &Values {
        &self.0.values
    }

    pub(crate) fn faults(&self) -> Option<&Arc<dyn Faults>> {
        self.0.faults.as_ref()
    }

    /// The registry of flows.
    pub fn flow_types(&self) -> impl Iterator<Item = &FlowType> {
        self.0.flows.values()
    }

    pub(crate) fn flow_type(&self, name: &str) -> Option<&FlowType> {
        self.0.flows.get(name)
    }

    pub(crate) fn job_name(&self, api: &str) -> Option<&'static str> {
        self.0.jobs.get(api).map(|entry| entry.route.name)
    }

    /// The kind of resource that a call makes.
    pub(crate) fn makes(&self, api: &str) -> Option<&'static str> {
        match self.0.jobs.get(api)?.kind {
            EntryKind::Job { makes, .. } => makes,
            _ => None,
        }
    }

    /// All patterns of system tags.
    pub fn system_tags(&self) -> &[SystemTag] {
        &self.0.tags
    }

    pub(crate) fn start_job(
        &self,
        api: &str,
        mut params: Value,
        job: Job,
    ) -> Result<BoxFuture<'static, Result<Settled>>> {
        let tags = Wanted::take(&mut params)?;
        match self.0.jobs.get(api).map(|entry| &entry.kind) {
            Some(EntryKind::Job { run, .. }) => run(params, job.tagged(tags)),
            _ => Err(codes::UNKNOWN_MESSAGE.because(format!("there is no call {api}"))),
        }
    }

    pub(crate) fn without_secrets(&self, api: &str, mut params: Value) -> Value {
        let [secrets, unread] =
            self.0.jobs.get(api).map_or([&[][..]; 2], |entry| [entry.route.secrets, entry.route.unread]);
        for secret in secrets.iter().chain(unread) {
            if let Some(value) = params.get_mut(secret).filter(|value| !value.is_null()) {
                *value = HIDDEN.into();
            }
        }
        params
    }

    /// Which secret of a call as it was recorded is not known any more.
    pub(crate) fn lost_secret(&self, api: &str, recorded: &Value) -> Option<&'static str> {
        let secrets = self.0.jobs.get(api).map_or(&[][..], |entry| entry.route.secrets);
        secrets.iter().copied().find(|secret| recorded[secret] == HIDDEN)
    }

    /// Whose session the credentials prove.
    pub async fn authenticate(&self, credentials: Credentials) -> Result<Session> {
        (self.0.gate)(self.clone(), credentials).await
    }

    /// Asks an agent something outside any flow: only calls without effect.
    pub async fn ask<C: Call>(&self, agent: &Agent, command: &C, limit: Duration) -> Result<C::Reply> {
        let deadline = tokio::time::Instant::now() + limit;
        let reply = self.caller().call(&agent.url, &TaskId::random(), None, deadline, command).await;
        reply.map_err(|error| flow::explain(agent, C::PATH, error))
    }

    /// The configuration that the process gave at start, or that of its [`Parts`] which is a `C`.
    pub fn of<C: 'static>(&self) -> &C {
        let config = &*self.0.config;
        let part = || config.downcast_ref::<Parts>()?.0.iter().find_map(|part| part.downcast_ref());
        config.downcast_ref().or_else(part).expect("asked for as it was given")
    }

    /// Runs a flow that no job waits for, to its end.
    pub async fn run<F: flow::Flow>(&self, flow: F) -> Result<Value> {
        flow::run(self, flow, flow::Start { id: Id::random(), job: None, parent: None }).await
    }
}

/// Commands leave only while the era's lease holds.
fn permission(engine: Weak<Inner>) -> impl Fn() -> bool + Send + Sync + 'static {
    move || engine.upgrade().is_some_and(|inner| inner.eras.now().is_ok())
}

/// Agents are told the other controllers' addresses too.
fn others(engine: Weak<Inner>) -> impl Fn() -> Option<String> + Send + Sync + 'static {
    move || Engine(engine.upgrade()?).other_ears()
}

fn passing(engine: Weak<Inner>) -> impl Fn(Outcome) + Send + Sync + 'static {
    move |outcome| {
        if let Some(inner) = engine.upgrade() {
            Engine(inner).pass_on(outcome);
        }
    }
}

async fn recover(engine: &Engine) -> Result<()> {
    let Ok(era) = engine.era() else { return Ok(()) };
    flow::recover(engine, &era).await?;
    job::recover(engine, &era).await
}

/// Heeds what other controllers tell; after a gap, everything that they may have told.
async fn hear(weak: WeakEngine, mut heard: mpsc::Receiver<Heard>) {
    while let Some(heard) = heard.recv().await {
        let Some(engine) = weak.upgrade() else { return };
        match heard {
            Heard::Notices(text) => {
                let (process, notices) = text.split_once('\n').unwrap_or_default();
                if process != engine.process().to_string() {
                    notices.lines().filter_map(|line| line.parse().ok()).for_each(|one| engine.heed(one));
                }
            }
            Heard::Again => {
                engine.waiters().tell_all();
                engine.heed(Notice::Setting);
                engine.heed(Notice::Event);
                engine.recover();
            }
        }
    }
}

#[derive(Default)]
struct Wired {
    entries: Vec<Arc<Entry>>,
    flows: Vec<FlowType>,
    kinds: Vec<&'static dyn crate::cascade::Kind>,
    edges: Vec<crate::cascade::Edge>,
    settings: Vec<AnySetting>,
    event_names: Vec<&'static str>,
    sweeps: Vec<Sweep>,
    quotas: Vec<&'static Quota>,
    related: Vec<Entity>,
    tags: Vec<SystemTag>,
    claims: Vec<(&'static str, &'static str)>,
    hearing: Vec<Listener>,
    hooks: Hooks,
}

impl Wired {
    /// What these modules and the engine's own are together; what does not fit together is refused.
    fn of(mut modules: Vec<Module>) -> Result<Wired> {
        modules.extend(crate::own_modules());
        let mut wired = Wired { hooks: Hooks::of_modules(&mut modules)?, ..Wired::default() };
        for mut module in modules {
            module.drivers.drain(..).try_for_each(|driver| (driver.add)())?;
            wired.add(module);
        }
        wired.flows.push(FlowType::of::<Delete>());
        wired.flows.push(FlowType::of::<Settle>());
        wired.flows.iter_mut().for_each(|flow| flow.settle(&wired.hooks));
        Ok(wired)
    }

    fn add(&mut self, module: Module) {
        self.entries.extend(module.entries);
        self.flows.extend(module.flows);
        self.kinds.extend(module.kinds);
        self.edges.extend(module.edges);
        self.settings.extend(module.settings);
        self.event_names.extend(module.events.iter().map(|(name, _)| *name));
        self.sweeps.extend(module.sweeps);
        self.quotas.extend(module.quotas);
        self.related.extend(module.related);
        self.tags.extend(module.tags);
        self.claims.extend(module.claims);
        self.hearing.extend(module.listeners);
    }

    fn schema(&self, sight: Sight) -> Result<Schema> {
        let listed = self.entries.iter().filter_map(|entry| entry.entity());
        Schema::new(listed.chain(self.related.iter()).copied().collect(), sight)
    }

    fn jobs(&self) -> HashMap<&'static str, Arc<Entry>> {
        let jobs = self.entries.iter().filter(|entry| matches!(entry.kind, EntryKind::Job { .. }));
        jobs.map(|entry| (entry.route.name, Arc::clone(entry))).collect()
    }
}

fn http_client() -> Result<reqwest::Client> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
    client.build().map_err(|e| codes::INTERNAL.because(format!("no HTTP client: {e}")))
}
