//! The engine: one per controller process, shared by everything that works.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use wire::caller::Caller;
use wire::metrics::{Ends, Metrics};
use wire::{Call, TaskId};

use crate::api::job::{self, Job, Settled};
use crate::api::{Entry, EntryKind, Gate, Session};
use crate::cascade::{Delete, Graph, Settle};
use crate::db::Db;
use crate::error::{Result, codes};
use crate::event::{Event, Listeners};
use crate::flow::{self, Agent, FlowType, FlowView, Waiters};
use crate::id::Id;
use crate::module::Module;
use crate::node::Node;
use crate::queue::Queues;
use crate::setting::{AnySetting, Values};
use crate::sweep::{self, Sweep};

/// A handle on the engine; clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

/// A handle that does not keep the engine alive.
#[derive(Clone)]
pub(crate) struct WeakEngine(Weak<Inner>);

struct Inner {
    db: Db,
    node: Id<Node>,
    queues: Queues,
    caller: Caller,
    http: reqwest::Client,
    entries: Vec<Arc<Entry>>,
    jobs: HashMap<&'static str, Arc<Entry>>,
    flows: HashMap<&'static str, FlowType>,
    graph: Graph,
    settings: Vec<AnySetting>,
    values: Values,
    waiters: Waiters,
    listeners: Listeners,
    metrics: Metrics,
    ends: Ends,
    gate: Gate,
    config: Box<dyn std::any::Any + Send + Sync>,
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

/// How often flows and jobs that nobody drives are looked for.
const RECOVERY: Duration = Duration::from_secs(10);

impl WeakEngine {
    pub(crate) fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(Engine)
    }
}

impl Engine {
    /// Wires the modules together, takes over what a crash left unfinished and starts the sweeps.
    /// `caller` is how agents are called, and where they report; `config` is what drivers find again by [`Engine::of`].
    pub async fn start<C: Send + Sync + 'static>(
        db: Db,
        modules: Vec<Module>,
        gate: Gate,
        caller: impl Into<Caller>,
        config: C,
    ) -> Result<Engine> {
        let values = Values::load(&mut db.read().await?).await?;
        let mut wired = Wired::default();
        modules.into_iter().for_each(|module| wired.add(module));
        wired.flows.push(FlowType::of::<Delete>());
        wired.flows.push(FlowType::of::<Settle>());
        wired.entries.push(Arc::new(Entry::query::<FlowView>("QueryFlow", "/flows")));
        let mut metrics = Metrics::default();
        let ends = metrics.ends("cumulet_jobs", "Jobs that were worked on, by their API");
        let engine = Engine(Arc::new(Inner {
            node: Id::random(),
            queues: Queues::default(),
            caller: caller.into(),
            http: http_client()?,
            jobs: wired.jobs(),
            entries: wired.entries,
            flows: wired.flows.into_iter().map(|flow| (flow.name, flow)).collect(),
            graph: Graph::new(wired.kinds, wired.edges),
            settings: wired.settings,
            values,
            waiters: Waiters::default(),
            listeners: Listeners::default(),
            metrics,
            ends,
            gate,
            config: Box::new(config),
            db,
        }));
        engine.db().belongs_to(WeakEngine(Arc::downgrade(&engine.0)));
        let adopted = flow::adopt_all(&engine).await?;
        tracing::info!(node = %engine.node(), adopted, "engine started");
        job::resume(&engine).await?;
        engine.spawn_sweeps(wired.sweeps);
        Ok(engine)
    }

    fn spawn_sweeps(&self, mut sweeps: Vec<Sweep>) {
        sweeps.push(Sweep {
            name: "flow recovery",
            every: |_| RECOVERY,
            pass: |engine| Box::pin(async move { flow::adopt_all(&engine).await.map(|_| ()) }),
        });
        sweeps.push(Sweep {
            name: "job expiry",
            every: |_| Duration::from_secs(600),
            pass: |engine| Box::pin(async move { job::expire(&engine).await }),
        });
        for sweep in sweeps {
            let engine = self.clone();
            tokio::spawn(async move { sweep::run(engine, &sweep).await });
        }
    }

    pub fn db(&self) -> &Db {
        &self.0.db
    }

    pub fn node(&self) -> Id<Node> {
        self.0.node
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

    pub fn settings(&self) -> &[AnySetting] {
        &self.0.settings
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

    pub(crate) fn graph(&self) -> &Graph {
        &self.0.graph
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

    pub(crate) fn flow_type(&self, name: &str) -> Option<&FlowType> {
        self.0.flows.get(name)
    }

    pub(crate) fn job_name(&self, api: &str) -> Option<&'static str> {
        self.0.jobs.get(api).map(|entry| entry.route.name)
    }

    pub(crate) fn start_job(
        &self,
        api: &str,
        params: Value,
        job: Job,
    ) -> Result<BoxFuture<'static, Result<Settled>>> {
        match self.0.jobs.get(api).map(|entry| &entry.kind) {
            Some(EntryKind::Job { run, .. }) => run(params, job),
            _ => Err(codes::UNKNOWN_MESSAGE.because(format!("there is no call {api}"))),
        }
    }

    pub(crate) fn without_secrets(&self, api: &str, mut params: Value) -> Value {
        let secrets = self.0.jobs.get(api).map_or(&[][..], |entry| entry.route.secrets);
        for secret in secrets {
            if let Some(value) = params.get_mut(secret) {
                *value = "*****".into();
            }
        }
        params
    }

    pub(crate) async fn authenticate(&self, header: &str) -> Result<Session> {
        (self.0.gate)(self.clone(), header.to_owned()).await
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
        flow::run(self, flow, flow::Start { id: Id::random(), job: None }).await
    }
}

#[derive(Default)]
struct Wired {
    entries: Vec<Arc<Entry>>,
    flows: Vec<FlowType>,
    kinds: Vec<&'static dyn crate::cascade::Kind>,
    edges: Vec<crate::cascade::Edge>,
    settings: Vec<AnySetting>,
    sweeps: Vec<Sweep>,
}

impl Wired {
    fn add(&mut self, module: Module) {
        self.entries.extend(module.entries);
        self.flows.extend(module.flows);
        self.kinds.extend(module.kinds);
        self.edges.extend(module.edges);
        self.settings.extend(module.settings);
        self.sweeps.extend(module.sweeps);
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
