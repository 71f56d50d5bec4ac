//! Durable workflows: work that survives any crash.
//!
//! A flow is a serialisable struct with a table of steps. A **record** step changes rows; it commits
//! together with the journal that says it is done. An **act** step changes the world outside, by commands
//! whose task ids are derived from (flow, step, direction), so that repeating it repeats nothing. Each may
//! have an undo. Consecutive record steps share one transaction, also with the end of the act before them;
//! an act with nothing to do ([`Steps::unless`]) is passed over in it.
//!
//! ```text
//!            every step done
//!  Forward ───────────────────▶ done
//!     │ a step failed: new epoch
//!     ▼      every undo done
//!   Undo ─────────────────────▶ undone
//!     │ ▲
//!     ▼ │ backoff, or an operator's retry
//!   parked (visible, with its reason) ──▶ abandoned, by an operator: what is left behind is named
//! ```
//!
//! What cannot be taken back has no way back: from an [onward](Steps::onward) act on, a flow that fails is
//! parked as it stands and goes on forward. Whoever called is told of the failure at once.
//!
//! Invariants: a step is in the row before its first command leaves; every write of a flow is conditional
//! on (owner, epoch); the act that failed is undone too; at most one live flow owns a resource; a flow
//! that fails its guard forgets itself, for another controller goes on with it.

mod cx;
mod drive;
pub mod fault;
mod log;
pub(crate) mod store;
mod waiters;
mod wish;

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use cx::explain;
pub use cx::{Agent, Cx, Held};
pub(crate) use store::Guard;
use store::{Begun, Claim, FlowRow};
pub use store::{FlowView, OwnedBy};
pub(crate) use waiters::{Alive, Waiters};
use wish::{AbandonFlow, CancelFlow, RetryFlow};

use crate::bus::Begin;
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{Result, codes};
use crate::hook::{Hook, Hooks, Point};
use crate::id::{Any, Id};
use crate::module::Module;
use crate::node::{self, Era, Node};
use crate::queue::Turn;

/// How long an act may take before its outcome counts as unknown, unless the step says otherwise.
pub const ACT_LIMIT: Duration = Duration::from_secs(600);
/// Who waits for a resource that another controller's flow has looks so often.
const HOLD_AGAIN: Duration = Duration::from_millis(500);
/// Who waits for a flow looks at its row so often, should no notice come.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A workflow. Its fields are its memory: they are saved with every step.
pub trait Flow: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// `vm.create`: stands in the journal, so it never changes its meaning.
    const NAME: &'static str;
    /// Raised when the steps or fields change; older versions in the journal must still be understood.
    const VERSION: i64 = 1;

    /// What this flow owns while it lives.
    fn resource(&self) -> Id<Any>;

    /// For people: `create vm "web"`.
    fn title(&self) -> String;

    fn steps() -> Steps<Self>;

    /// What the API answers when all is done.
    fn answer(&self, _tx: &mut Tx) -> impl Future<Output = Result<Value>> + Send {
        std::future::ready(Ok(serde_json::json!({})))
    }
}

pub(crate) type Record<F> =
    Box<dyn for<'a> Fn(&'a mut F, &'a mut Tx) -> BoxFuture<'a, Result<()>> + Send + Sync>;
pub(crate) type Idle<F> = fn(&F) -> bool;
pub(crate) type Act<F> = Box<dyn for<'a> Fn(&'a mut F, &'a Cx) -> BoxFuture<'a, Result<()>> + Send + Sync>;

/// The table of steps, built in order.
pub struct Steps<F> {
    pub(crate) list: Vec<Step<F>>,
    /// From this step on there is no way back.
    onward: usize,
}

pub(crate) struct Step<F> {
    pub name: &'static str,
    pub work: Work<F>,
    pub limit: Duration,
    /// The point at which others act here, when it is such a step.
    pub point: Option<&'static str>,
}

pub(crate) enum Work<F> {
    Record { run: Record<F>, undo: Option<Record<F>> },
    Act { run: Act<F>, undo: Option<Act<F>>, idle: Option<Idle<F>> },
}

impl<F> Work<F> {
    fn has_undo(&self) -> bool {
        matches!(self, Work::Record { undo: Some(_), .. } | Work::Act { undo: Some(_), .. })
    }

    /// Whether it is an act that has nothing to do.
    fn is_idle(&self, flow: &F) -> bool {
        matches!(self, Work::Act { idle: Some(idle), .. } if idle(flow))
    }
}

/// An `async fn(&mut Flow, A) -> Result<()>`, whatever its future is called.
pub trait StepFn<'a, F: 'a, A>: Send + Sync {
    type Fut: Future<Output = Result<()>> + Send + 'a;
    fn begin(&self, flow: &'a mut F, with: A) -> Self::Fut;
}

impl<'a, F: 'a, A, Fun, Fut> StepFn<'a, F, A> for Fun
where
    Fun: Fn(&'a mut F, A) -> Fut + Send + Sync,
    Fut: Future<Output = Result<()>> + Send + 'a,
{
    type Fut = Fut;
    fn begin(&self, flow: &'a mut F, with: A) -> Fut {
        self(flow, with)
    }
}

impl<F: Flow> Steps<F> {
    #[expect(clippy::new_without_default, reason = "a table is written out, never defaulted")]
    pub fn new() -> Self {
        Steps { list: Vec::new(), onward: usize::MAX }
    }

    /// A step that changes rows.
    pub fn record(self, name: &'static str, run: impl for<'a> StepFn<'a, F, &'a mut Tx> + 'static) -> Self {
        self.push(
            name,
            Work::Record { run: Box::new(move |flow, tx| Box::pin(run.begin(flow, tx))), undo: None },
        )
    }

    /// A record step with its undo.
    pub fn record_undo(
        self,
        name: &'static str,
        run: impl for<'a> StepFn<'a, F, &'a mut Tx> + 'static,
        undo: impl for<'a> StepFn<'a, F, &'a mut Tx> + 'static,
    ) -> Self {
        let run: Record<F> = Box::new(move |flow, tx| Box::pin(run.begin(flow, tx)));
        let undo: Record<F> = Box::new(move |flow, tx| Box::pin(undo.begin(flow, tx)));
        self.push(name, Work::Record { run, undo: Some(undo) })
    }

    /// A step that changes the world outside. It may run again after a crash: its commands are the same.
    pub fn act(self, name: &'static str, run: impl for<'a> StepFn<'a, F, &'a Cx> + 'static) -> Self {
        self.push(
            name,
            Work::Act {
                run: Box::new(move |flow, cx| Box::pin(run.begin(flow, cx))),
                undo: None,
                idle: None,
            },
        )
    }

    /// An act step with its undo, which must also settle an act that has half or never happened.
    pub fn act_undo(
        self,
        name: &'static str,
        run: impl for<'a> StepFn<'a, F, &'a Cx> + 'static,
        undo: impl for<'a> StepFn<'a, F, &'a Cx> + 'static,
    ) -> Self {
        let run: Act<F> = Box::new(move |flow, cx| Box::pin(run.begin(flow, cx)));
        let undo: Act<F> = Box::new(move |flow, cx| Box::pin(undo.begin(flow, cx)));
        self.push(name, Work::Act { run, undo: Some(undo), idle: None })
    }

    /// A step at which others act: see [`crate::hook`]. `about` tells them of what.
    pub fn point<T: Send + Sync + 'static>(
        self,
        point: &'static Point<dyn Hook<T>>,
        about: impl for<'a> Fn(&'a F, &'a Cx) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
    ) -> Self {
        let (about, undone) = (Arc::new(about), point.kind == crate::hook::Kind::Step);
        let told = Arc::clone(&about);
        let run: Act<F> = Box::new(move |flow, cx| {
            let about = Arc::clone(&about);
            Box::pin(async move { point.run(cx, &about(flow, cx).await?).await })
        });
        let undo: Act<F> = Box::new(move |flow, cx| {
            let about = Arc::clone(&told);
            Box::pin(async move { point.undo(cx, &about(flow, cx).await?).await })
        });
        let mut steps = self.push(point.name, Work::Act { run, undo: undone.then_some(undo), idle: None });
        steps.list.last_mut().expect("just pushed").point = Some(point.name);
        steps
    }

    /// As it is where these hooks are: what nobody observes is passed over.
    fn among(mut self, hooks: &Hooks) -> Self {
        for step in &mut self.list {
            if let Work::Act { idle, .. } = &mut step.work
                && step.point.is_some_and(|point| !hooks.is_observed(point))
            {
                *idle = Some(|_| true);
            }
        }
        self
    }

    /// The step just added may take this long.
    pub fn limit(mut self, limit: Duration) -> Self {
        if let Some(step) = self.list.last_mut() {
            step.limit = limit;
        }
        self
    }

    /// The act just added, and its undo, have nothing to do when the flow's memory says so: it is not even
    /// written down that the flow came by.
    pub fn unless(mut self, nothing_to_do: Idle<F>) -> Self {
        if let Some(Step { work: Work::Act { idle, .. }, .. }) = self.list.last_mut() {
            *idle = Some(nothing_to_do);
        }
        self
    }

    /// The act just added, which must be one that may be repeated, cannot be taken back, and neither can
    /// what follows: a failure is not undone, it is tried again.
    pub fn onward(mut self) -> Self {
        self.onward = self.onward.min(self.list.len().saturating_sub(1));
        self
    }

    fn push(mut self, name: &'static str, work: Work<F>) -> Self {
        self.list.push(Step { name, work, limit: ACT_LIMIT, point: None });
        self
    }
}

/// What operators see of flows and can do with them.
pub fn module() -> Module {
    Module::new("flow")
        .query::<FlowView>("QueryFlow", "/flows")
        .api::<CancelFlow>()
        .api::<RetryFlow>()
        .api::<AbandonFlow>()
        .admin()
}

/// A type of flow as the engine keeps it.
pub struct FlowType {
    pub name: &'static str,
    pub version: i64,
    /// Step names in order, for the wiring's print and for operators.
    pub steps: Vec<&'static str>,
    /// Whether each has an undo.
    pub undone: Vec<bool>,
    /// Whether each is passed over, as a point that nobody observes.
    pub idle: Vec<bool>,
    points: Vec<Option<&'static str>>,
    pub(crate) begin: BeginFn,
    pub(crate) drive: DriveFn,
}

type BeginFn = Box<dyn Fn(Engine, Id<Node>, Begin) -> BoxFuture<'static, Result<Begun>> + Send + Sync>;
type DriveFn = Box<dyn Fn(Engine, Arc<Era>, FlowRow, Turn) -> BoxFuture<'static, ()> + Send + Sync>;

impl FlowType {
    pub fn of<F: Flow>() -> Self {
        FlowType {
            name: F::NAME,
            version: F::VERSION,
            steps: F::steps().list.iter().map(|step| step.name).collect(),
            undone: F::steps().list.iter().map(|step| step.work.has_undo()).collect(),
            idle: F::steps().list.iter().map(|step| step.point.is_some()).collect(),
            points: F::steps().list.iter().map(|step| step.point).collect(),
            begin: Box::new(|engine, owner, message| Box::pin(store_new::<F>(engine, owner, message))),
            drive: Box::new(|engine, era, row, turn| Box::pin(drive::drive::<F>(engine, era, row, turn))),
        }
    }

    /// Which of its points somebody observes.
    pub(crate) fn settle(&mut self, hooks: &Hooks) {
        for (at, point) in self.points.iter().enumerate() {
            self.idle[at] = point.is_some_and(|point| !hooks.is_observed(point));
            self.undone[at] &= !self.idle[at];
        }
    }
}

/// What a flow is started with.
pub(crate) struct Start {
    pub id: Id<FlowView>,
    pub job: Option<Id<Any>>,
    pub parent: Option<Guard>,
}

/// A controller whom nobody reaches, though the ring still names it, is not waited for any longer.
const UNREACHED: Duration = Duration::from_secs(3);

/// Has `flow` begun by the owner of its resource, once that is free, and waits for its end.
pub(crate) async fn run<F: Flow>(engine: &Engine, flow: F, start: Start) -> Result<Value> {
    let message = Begin {
        name: F::NAME.to_owned(),
        id: start.id,
        job: start.job,
        resource: flow.resource(),
        title: flow.title(),
        body: serde_json::to_value(&flow)?,
        parent: start.parent,
    };
    let told = engine.waiters().wait(start.id);
    if begin_somewhere(engine, message).await? == Began::Now {
        let _ = tokio::time::timeout(LOOK_AGAIN, told).await;
    }
    ended(engine, start.id).await
}

/// Whether a flow began just now, as far as this controller knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Began {
    Now,
    Perhaps,
}

async fn begin_somewhere(engine: &Engine, message: Begin) -> Result<Began> {
    let (key, began) = (message.resource.to_string(), Instant::now());
    let mut changes = engine.eras().changes();
    loop {
        let (ring, here) = (engine.eras().ring(), engine.era()?.id);
        let owner = ring.owner(&key).filter(|member| member.id != here);
        let Some(owner) = owner.filter(|_| began.elapsed() < UNREACHED) else {
            return begin_here(engine, message).await;
        };
        let client = engine.caller().client();
        let answer = tokio::select! {
            answer = engine.bus().begin(&client, owner, &message) => answer,
            _ = changes.changed() => continue,
        };
        match answer {
            Ok(begun) => return begun.map(|()| Began::Perhaps),
            Err(unreachable) => tracing::warn!(flow = %message.id, reason = unreachable.0, "not begun yet"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Begins the flow in this controller, unless it has begun: once its resource is free here and no flow of
/// another controller works on it.
pub(crate) async fn begin_here(engine: &Engine, message: Begin) -> Result<Began> {
    let flow_type = engine.flow_type(&message.name).ok_or_else(|| {
        codes::UNKNOWN_MESSAGE.because(format!("this controller does not know the flow {}", message.name))
    })?;
    loop {
        let turn = engine.queues().enter(&message.resource.to_string(), 1, &message.title).await;
        let era = engine.era()?;
        fault::asked(engine, &era, flow_type.name, &message)?;
        // Of this era, although another may have begun meanwhile: who drives it belongs to this one.
        let begun = (flow_type.begin)(engine.clone(), era.id, message.clone()).await.inspect_err(|error| {
            // Perhaps it has begun, and nobody drives it.
            if error.is(codes::DATABASE) {
                engine.waiters().stalled(message.id);
            }
        });
        match begun? {
            Begun::Now(row) => {
                node::spawn(&era, (flow_type.drive)(engine.clone(), Arc::clone(&era), *row, turn));
                return Ok(Began::Now);
            }
            Begun::Over | Begun::Before => return Ok(Began::Perhaps),
            Begun::Busy(owner) if owner.state == "running" => {
                // Who owns it may be adopted here meanwhile, and needs the turn for that.
                drop(turn);
                let told = engine.waiters().wait(owner.flow);
                let _ = tokio::time::timeout(HOLD_AGAIN, told).await;
            }
            Begun::Busy(owner) => return Err(owner.refuses()),
        }
    }
}

/// Together with its first changes of rows. When these fail it begins without them, so that it is on record how it
/// fails; and when faults are tried, so that they are tried there too.
async fn store_new<F: Flow>(engine: Engine, owner: Id<Node>, message: Begin) -> Result<Begun> {
    if engine.faults().is_none() {
        let begun = enter::<F>(&engine, owner, &message, Some(F::steps().among(engine.hooks()))).await;
        let Err(error) = &begun else { return begun };
        if error.says_nothing() {
            return begun;
        }
    }
    enter::<F>(&engine, owner, &message, None).await
}

async fn enter<F: Flow>(
    engine: &Engine,
    owner: Id<Node>,
    message: &Begin,
    first: Option<Steps<F>>,
) -> Result<Begun> {
    let flow: F = serde_json::from_value(message.body.clone())?;
    let start = Start { id: message.id, job: message.job, parent: message.parent };
    let unit = engine
        .db()
        .write(move |tx| Box::pin(async move { store::begin(tx, flow, start, owner, first.as_ref()).await }));
    unit.await
}

/// Waits until the flow has ended or was parked, and tells how.
pub(crate) async fn ended(engine: &Engine, id: Id<FlowView>) -> Result<Value> {
    loop {
        let told = engine.waiters().wait(id);
        let end = async { store::end(&mut engine.db().read().await?, id).await };
        match end.await {
            Ok(Some(end)) => {
                if let Some(outcome) = end.outcome()? {
                    return outcome;
                }
            }
            Ok(None) => return Err(codes::INTERNAL.because(format!("there is no flow {id}"))),
            Err(error) => tracing::warn!(flow = %id, %error, "waiting on"),
        }
        let _ = tokio::time::timeout(LOOK_AGAIN, told).await;
    }
}

/// How many flows are at work, and how many are parked.
pub(crate) async fn count(engine: &Engine) -> Result<[(&'static str, i64); 2]> {
    let mut tx = engine.db().read().await?;
    Ok([
        ("running", store::count(&mut tx, "running").await?),
        ("parked", store::count(&mut tx, "parked").await?),
    ])
}

/// Takes over every unfinished flow that nobody drives: those that dead controllers have left to us, and
/// our own that a failing database has left standing.
pub(crate) async fn recover(engine: &Engine, era: &Arc<Era>) -> Result<()> {
    let stalled = engine.waiters().take_stalled();
    let found = claims(engine, era, &stalled).await.inspect_err(|_| {
        stalled.iter().for_each(|flow| engine.waiters().stalled(*flow));
    });
    for claim in found?.into_iter().filter(|flow| !engine.waiters().drives(flow.uuid)) {
        let Some(flow_type) = engine.flow_type(&claim.name) else {
            tracing::error!(flow = %claim.uuid, name = claim.name, "this controller does not know this flow; left as it is");
            continue;
        };
        let alive = engine.waiters().alive(claim.uuid);
        let work = adopt(engine.clone(), Arc::clone(era), flow_type.name, claim, alive);
        node::spawn(era, work);
    }
    Ok(())
}

async fn claims(engine: &Engine, era: &Era, stalled: &HashSet<Id<FlowView>>) -> Result<Vec<Claim>> {
    let mut tx = engine.db().read().await?;
    let mut found = store::abandoned(&mut tx).await?;
    found.retain(|flow| engine.owns(&flow.resource.to_string()));
    for flow in stalled {
        found.extend(store::claim_of(&mut tx, *flow, era.id).await?);
    }
    Ok(found)
}

async fn adopt(engine: Engine, era: Arc<Era>, name: &'static str, claim: Claim, alive: Alive) {
    let turn = engine.queues().enter(&claim.resource.to_string(), 1, &claim.title).await;
    let (node, uuid) = (era.id, claim.uuid);
    let adopted = engine.db().write(move |tx| Box::pin(async move { store::adopt(tx, &claim, node).await }));
    match (adopted.await, engine.flow_type(name)) {
        (Ok(Some(row)), Some(flow_type)) => {
            tracing::info!(flow = %row.uuid, name = row.name, step = row.step, "adopted");
            drop(alive);
            (flow_type.drive)(engine.clone(), era, row, turn).await;
        }
        (Err(error), _) => {
            tracing::warn!(flow = %uuid, %error, "not adopted yet");
            engine.waiters().stalled(uuid);
        }
        _ => {}
    }
}

/// Forgets flows that ended longer ago than `kept`.
pub(crate) async fn expire(engine: &Engine, kept: Duration) -> Result<()> {
    let limit = crate::id::Stamp::now().minus(kept);
    engine.db().write(move |tx| Box::pin(store::expire(tx, limit))).await
}
