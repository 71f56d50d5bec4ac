//! Durable workflows: work that survives any crash.
//!
//! A flow is a serialisable struct with a table of steps. A **record** step changes rows; it commits
//! together with the journal that says it is done. An **act** step changes the world outside, by commands
//! whose task ids are derived from (flow, step, direction), so that repeating it repeats nothing. Each may
//! have an undo. Consecutive record steps share one transaction, also with the end of the act before them.
//!
//! ```text
//!            every step done
//!  Forward ───────────────────▶ done
//!     │ a step failed: new epoch
//!     ▼      every undo done
//!   Undo ─────────────────────▶ undone
//!     │ ▲
//!     ▼ │ backoff, or an operator's retry
//!   parked (visible, with its reason)
//! ```
//!
//! Invariants: a step is in the row before its first command leaves; every write of a flow is conditional
//! on (owner, epoch); the act that failed is undone too; at most one live flow owns a resource; a flow
//! that fails its guard forgets itself, for another controller goes on with it.

mod cx;
mod drive;
pub(crate) mod store;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::oneshot;

pub(crate) use cx::explain;
pub use cx::{Agent, Cx};
pub use store::{FlowView, OwnedBy};

use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{Result, codes};
use crate::id::{Any, Id};
use crate::queue::Turn;

/// How long an act may take before its outcome counts as unknown, unless the step says otherwise.
pub const ACT_LIMIT: Duration = Duration::from_secs(600);

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
pub(crate) type Act<F> = Box<dyn for<'a> Fn(&'a mut F, &'a Cx) -> BoxFuture<'a, Result<()>> + Send + Sync>;

/// The table of steps, built in order.
pub struct Steps<F> {
    pub(crate) list: Vec<Step<F>>,
}

pub(crate) struct Step<F> {
    pub name: &'static str,
    pub work: Work<F>,
    pub limit: Duration,
}

pub(crate) enum Work<F> {
    Record { run: Record<F>, undo: Option<Record<F>> },
    Act { run: Act<F>, undo: Option<Act<F>> },
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
        Steps { list: Vec::new() }
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
            Work::Act { run: Box::new(move |flow, cx| Box::pin(run.begin(flow, cx))), undo: None },
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
        self.push(name, Work::Act { run, undo: Some(undo) })
    }

    /// The step just added may take this long.
    pub fn limit(mut self, limit: Duration) -> Self {
        if let Some(step) = self.list.last_mut() {
            step.limit = limit;
        }
        self
    }

    fn push(mut self, name: &'static str, work: Work<F>) -> Self {
        self.list.push(Step { name, work, limit: ACT_LIMIT });
        self
    }
}

/// A type of flow as the engine keeps it.
pub struct FlowType {
    pub name: &'static str,
    pub version: i64,
    /// Step names in order, for the wiring's print and for operators.
    pub steps: Vec<&'static str>,
    pub(crate) adopt: Box<dyn Fn(Engine, store::FlowRow, Turn) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl FlowType {
    pub fn of<F: Flow>() -> Self {
        FlowType {
            name: F::NAME,
            version: F::VERSION,
            steps: F::steps().list.iter().map(|step| step.name).collect(),
            adopt: Box::new(|engine, row, turn| Box::pin(drive::drive::<F>(engine, row, turn))),
        }
    }
}

/// Which flows this controller drives, and who waits for their end.
#[derive(Default)]
pub(crate) struct Waiters {
    told: Mutex<HashMap<Id<FlowView>, Vec<oneshot::Sender<()>>>>,
    driven: Mutex<HashSet<Id<FlowView>>>,
}

/// A flow is driven as long as this lives.
pub(crate) struct Alive<'w>(&'w Waiters, Id<FlowView>);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.driven.lock().expect("never poisoned").remove(&self.1);
    }
}

impl Waiters {
    fn alive(&self, flow: Id<FlowView>) -> Alive<'_> {
        self.driven.lock().expect("never poisoned").insert(flow);
        Alive(self, flow)
    }

    fn drives(&self, flow: Id<FlowView>) -> bool {
        self.driven.lock().expect("never poisoned").contains(&flow)
    }

    fn wait(&self, flow: Id<FlowView>) -> oneshot::Receiver<()> {
        let (told, wait) = oneshot::channel();
        self.told.lock().expect("never poisoned").entry(flow).or_default().push(told);
        wait
    }

    fn tell(&self, flow: Id<FlowView>) {
        for told in self.told.lock().expect("never poisoned").remove(&flow).unwrap_or_default() {
            let _ = told.send(());
        }
    }
}

/// What a flow is started with.
pub(crate) struct Start {
    pub id: Id<FlowView>,
    pub job: Option<Id<Any>>,
}

/// Starts `flow` once its resource is free and waits for its end.
pub(crate) async fn run<F: Flow>(engine: &Engine, flow: F, start: Start) -> Result<Value> {
    let id = start.id;
    if store::find(&mut engine.db().read().await?, id).await?.is_none() {
        let turn = engine.queues().enter(&flow.resource().to_string(), 1, &flow.title()).await;
        let node = engine.node();
        let begun =
            engine.db().write(move |tx| Box::pin(async move { store::begin(tx, flow, start, node).await }));
        if let Some(row) = begun.await? {
            tokio::spawn(drive::drive::<F>(engine.clone(), row, turn));
        }
    }
    ended(engine, id).await
}

/// Waits until the flow has ended or was parked, and tells how.
pub(crate) async fn ended(engine: &Engine, id: Id<FlowView>) -> Result<Value> {
    loop {
        let told = engine.waiters().wait(id);
        let row = store::find(&mut engine.db().read().await?, id).await?;
        let row = row.ok_or_else(|| codes::INTERNAL.because(format!("there is no flow {id}")))?;
        if let Some(outcome) = row.outcome()? {
            return outcome;
        }
        let _ = told.await;
    }
}

/// How many flows are at work, and how many are parked.
pub(crate) async fn count(engine: &Engine) -> Result<[(&'static str, usize); 2]> {
    let rows = store::unfinished(&mut engine.db().read().await?).await?;
    let parked = rows.iter().filter(|row| row.state == "parked").count();
    Ok([("running", rows.len() - parked), ("parked", parked)])
}

/// Takes over every unfinished flow that nobody drives: at start all of them, later those that a failing
/// database left standing. One flow that cannot be taken over does not stop the rest.
pub(crate) async fn adopt_all(engine: &Engine) -> Result<usize> {
    let mut rows = store::unfinished(&mut engine.db().read().await?).await?;
    rows.retain(|row| !engine.waiters().drives(row.uuid));
    let count = rows.len();
    for row in rows {
        let Some(flow_type) = engine.flow_type(&row.name) else {
            tracing::error!(flow = %row.uuid, name = row.name, "this controller does not know this flow; left as it is");
            continue;
        };
        let turn = engine.queues().enter(&row.resource.to_string(), 1, &row.title).await;
        let (node, id) = (engine.node(), row.uuid);
        let adopted = engine.db().write(move |tx| Box::pin(store::adopt(tx, id, node))).await?;
        if let Some(row) = adopted {
            tracing::info!(flow = %row.uuid, name = row.name, step = row.step, "adopted");
            tokio::spawn((flow_type.adopt)(engine.clone(), row, turn));
        }
    }
    Ok(count)
}
