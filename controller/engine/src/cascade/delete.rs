//! The flows that run a plan.

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AFTER_ACT, Action, BEFORE_ACT, DeleteMode, Planned, Root};
use crate::db::Tx;
use crate::error::{Result, codes};
use crate::flow::{Cx, Flow, Steps};
use crate::id::{Any, Id};
use crate::tag;

/// So often a deletion looks again for children that appeared while it ran.
const ROUNDS: usize = 8;
/// A data centre may take long.
const DESCENDANTS: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Deletes a resource and all that depends on it.
///
/// What was shown in a preview is what is done: its hash is compared, and what cannot be settled refuses
/// all of it, in the transaction that marks the root. What is put below the root after that goes with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delete {
    root: Root,
    #[serde(default)]
    mode: DeleteMode,
    /// The hash of the plan that was agreed to.
    #[serde(default)]
    agreed: Option<String>,
}

/// Settles one resource of a plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settle {
    planned: Planned,
}

impl Planned {
    async fn begin(&self, tx: &mut Tx) -> Result<()> {
        tx.engine().graph().kind(&self.kind)?.begin(tx, self.how, self.id).await
    }

    async fn revert(&self, tx: &mut Tx) -> Result<()> {
        tx.engine().graph().kind(&self.kind)?.revert(tx, self.how, self.id).await
    }

    async fn act(&self, cx: &Cx) -> Result<()> {
        BEFORE_ACT.run(cx, self).await?;
        cx.engine().graph().kind(&self.kind)?.act(cx, self.how, self.id).await?;
        AFTER_ACT.run(cx, self).await
    }

    async fn record(&self, tx: &mut Tx) -> Result<()> {
        tx.engine().graph().kind(&self.kind)?.record(tx, self.how, self.id).await?;
        tag::forget_if_gone(tx, &self.kind, self.id).await
    }
}

impl Delete {
    pub fn new(root: Root) -> Self {
        Delete { root, mode: DeleteMode::default(), agreed: None }
    }

    #[must_use]
    pub fn mode(self, mode: Option<DeleteMode>) -> Self {
        Delete { mode: mode.unwrap_or_default(), ..self }
    }

    /// Only if the plan is still the one of this hash.
    #[must_use]
    pub fn agreed(self, hash: Option<String>) -> Self {
        Delete { agreed: hash, ..self }
    }

    pub(crate) fn root(&self) -> (&Root, DeleteMode) {
        (&self.root, self.mode)
    }

    fn planned(&self) -> Planned {
        self.root.planned(self.mode)
    }

    async fn check(&mut self, tx: &mut Tx) -> Result<()> {
        let engine = tx.engine();
        let plan = engine.graph().plan(tx, &self.root, self.mode).await?;
        if self.agreed.as_ref().is_some_and(|agreed| *agreed != plan.hash()) {
            return Err(self.moved());
        }
        engine.graph().refuse_blocked(tx, &plan).await
    }

    pub(crate) fn moved(&self) -> crate::ErrorCode {
        let Root { kind, name, .. } = &self.root;
        let details =
            format!("what depends on {kind} \"{name}\" has changed since the preview: look at it again");
        codes::MOVED.because(details)
    }

    async fn begin(&mut self, tx: &mut Tx) -> Result<()> {
        self.planned().begin(tx).await
    }

    async fn revert(&mut self, tx: &mut Tx) -> Result<()> {
        self.planned().revert(tx).await
    }

    async fn descendants(&mut self, cx: &Cx) -> Result<()> {
        let (graph, root) = (cx.engine().graph(), &self.root);
        for round in 0..ROUNDS {
            let groups = graph.plan(&mut cx.read().await?, root, self.mode).await?.settled_singly(graph)?;
            if groups.is_empty() {
                return Ok(());
            }
            for group in groups {
                try_join_all(group.into_iter().map(|planned| settle(cx, round, planned))).await?;
            }
        }
        let details =
            format!("{} \"{}\" keeps getting new dependants: disable it first", root.kind, root.name);
        Err(codes::STATE.because(details))
    }

    async fn act(&mut self, cx: &Cx) -> Result<()> {
        self.planned().act(cx).await
    }

    async fn record(&mut self, tx: &mut Tx) -> Result<()> {
        self.planned().record(tx).await
    }
}

impl Flow for Delete {
    const NAME: &'static str = "cascade.delete";

    fn resource(&self) -> Id<Any> {
        self.root.id
    }

    fn title(&self) -> String {
        format!("delete {} \"{}\"", self.root.kind, self.root.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("check", Self::check)
            .record_undo("begin", Self::begin, Self::revert)
            .act("descendants", Self::descendants)
            .limit(DESCENDANTS)
            .act("act", Self::act)
            .onward()
            .record("record", Self::record)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        let engine = tx.engine();
        engine.graph().kind(&self.root.kind)?.answer(tx, self.root.shown).await
    }
}

async fn settle(cx: &Cx, round: usize, planned: Planned) -> Result<()> {
    let (kind, name) = (planned.kind.clone(), planned.name.clone());
    let label = format!("{round} {kind} {}", planned.id);
    cx.sub(&label, Settle { planned }).await.map(|_| ()).map_err(|cause| {
        let details = format!("{kind} \"{name}\" could not be settled: {}", cause.details());
        codes::OPERATION.because(details).caused_by(cause)
    })
}

impl Settle {
    async fn begin(&mut self, tx: &mut Tx) -> Result<()> {
        self.planned.begin(tx).await
    }

    async fn act(&mut self, cx: &Cx) -> Result<()> {
        self.planned.act(cx).await
    }

    async fn record(&mut self, tx: &mut Tx) -> Result<()> {
        self.planned.record(tx).await
    }
}

impl Flow for Settle {
    const NAME: &'static str = "cascade.settle";

    fn resource(&self) -> Id<Any> {
        self.planned.id
    }

    fn title(&self) -> String {
        let Planned { how, kind, name, .. } = &self.planned;
        format!("{} {kind} \"{name}\"", if how.action == Action::Delete { "delete" } else { "stop" })
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("begin", Self::begin)
            .act("act", Self::act)
            .onward()
            .record("record", Self::record)
    }
}
