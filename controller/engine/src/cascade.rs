//! Cascades: an operation on one resource spreads to those that depend on it.
//!
//! Each kind of resource contributes edges: "when a `parent` goes, my `child`ren found by this statement
//! are deleted, or stopped". The edges form a graph without circles. A deletion is planned first, from the
//! root to the leaves, as plain data; then it runs from the leaves to the root, so that the root is touched
//! only after everything below it is settled. What appeared meanwhile is planned and settled again; the
//! foreign keys of the database make sure that no root goes before its children.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::args;
use crate::db::Tx;
use crate::error::{Result, codes};
use crate::flow::{Cx, Flow, Steps};
use crate::id::{Any, Id};
use crate::tag;

/// So often a deletion looks again for children that appeared while it ran.
const ROUNDS: usize = 8;

/// What happens to a child of what is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Stop,
    Delete,
}

/// When a `parent` is deleted, the children that `find` yields (uuid, name; `$1` is the parent's uuid)
/// are acted upon.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub parent: &'static str,
    pub child: &'static str,
    pub action: Action,
    pub find: &'static str,
}

/// How one kind of resource takes part. `act` changes the world outside, `record` the rows; both succeed
/// when there is nothing left to do. Once `act` has begun there is no way back: what fails is tried again.
#[async_trait]
pub trait Kind: Send + Sync {
    /// `VmInstance`
    fn name(&self) -> &'static str;

    /// Marks the rows before anything happens (`Destroying`); refuses what may not be.
    async fn begin(&self, _tx: &mut Tx, _action: Action, _id: Id<Any>) -> Result<()> {
        Ok(())
    }

    /// Takes the marks away when what depends on it could not be settled.
    async fn revert(&self, _tx: &mut Tx, _action: Action, _id: Id<Any>) -> Result<()> {
        Ok(())
    }

    async fn act(&self, _cx: &Cx, _action: Action, _id: Id<Any>) -> Result<()> {
        Ok(())
    }

    async fn record(&self, tx: &mut Tx, action: Action, id: Id<Any>) -> Result<()>;
}

/// One resource of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub kind: String,
    pub id: Id<Any>,
    pub name: String,
    pub action: Action,
}

/// All kinds and edges of this controller.
#[derive(Default)]
pub(crate) struct Graph {
    edges: Vec<Edge>,
    kinds: HashMap<&'static str, &'static dyn Kind>,
    /// Parents before children.
    order: Vec<&'static str>,
}

impl Graph {
    pub(crate) fn new(kinds: Vec<&'static dyn Kind>, edges: Vec<Edge>) -> Graph {
        let kinds: HashMap<_, _> = kinds.into_iter().map(|kind| (kind.name(), kind)).collect();
        let order = order(&kinds, &edges);
        Graph { edges, kinds, order }
    }

    fn kind(&self, name: &str) -> Result<&'static dyn Kind> {
        let kind = self.kinds.get(name).copied();
        kind.ok_or_else(|| codes::INTERNAL.because(format!("no module says how a {name} is deleted")))
    }

    /// What deleting `root` does to others: groups of one kind, in the order in which they are to be
    /// settled. The root itself is not in it.
    pub(crate) async fn plan(&self, tx: &mut Tx, root: &str, id: Id<Any>) -> Result<Vec<Vec<Planned>>> {
        let mut found = BTreeMap::<usize, BTreeMap<Id<Any>, Planned>>::new();
        let place = |kind: &str| self.order.iter().position(|known| *known == kind).unwrap_or(usize::MAX);
        let start = place(root);
        for (at, kind) in self.order.iter().enumerate().skip(start) {
            let parents: Vec<Id<Any>> = match at == start {
                true => vec![id],
                false => deleted(found.get(&at)),
            };
            for edge in self.edges.iter().filter(|edge| edge.parent == *kind) {
                for parent in &parents {
                    let group = found.entry(place(edge.child)).or_default();
                    for (id, name) in tx.all::<(Id<Any>, String)>(edge.find, args![*parent]).await? {
                        let new = Planned { kind: edge.child.into(), id, name, action: edge.action };
                        let planned = group.entry(id).or_insert_with(|| new.clone());
                        planned.action = planned.action.max(edge.action);
                    }
                }
            }
        }
        Ok(found.into_values().rev().map(|group| group.into_values().collect()).collect())
    }
}

fn deleted(group: Option<&BTreeMap<Id<Any>, Planned>>) -> Vec<Id<Any>> {
    let all = group.into_iter().flatten();
    all.filter(|(_, planned)| planned.action == Action::Delete).map(|(id, _)| *id).collect()
}

/// Parents before children; a circle is a mistake in the code and stops the controller at start.
fn order(kinds: &HashMap<&'static str, &'static dyn Kind>, edges: &[Edge]) -> Vec<&'static str> {
    let mut left: Vec<&'static str> = kinds.keys().copied().collect();
    left.sort_unstable();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |kind: &str| edges.iter().any(|e| e.child == kind && left.contains(&e.parent));
        let (later, free): (Vec<_>, Vec<_>) = left.iter().copied().partition(|kind| waits(kind));
        assert!(!free.is_empty(), "the cascade edges of {later:?} form a circle");
        order.extend(free);
        left = later;
    }
    order
}

/// Deletes a resource and all that depends on it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Delete {
    root: Planned,
}

/// Settles one resource of a plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settle {
    planned: Planned,
}

impl Planned {
    async fn begin(&self, tx: &mut Tx) -> Result<()> {
        tx.engine().graph().kind(&self.kind)?.begin(tx, self.action, self.id).await
    }

    async fn revert(&self, tx: &mut Tx) -> Result<()> {
        tx.engine().graph().kind(&self.kind)?.revert(tx, self.action, self.id).await
    }

    async fn act(&self, cx: &Cx) -> Result<()> {
        cx.engine().graph().kind(&self.kind)?.act(cx, self.action, self.id).await
    }

    async fn record(&self, tx: &mut Tx) -> Result<()> {
        tx.engine().graph().kind(&self.kind)?.record(tx, self.action, self.id).await?;
        tag::forget_if_gone(tx, &self.kind, self.id).await
    }
}

impl Delete {
    pub fn new(kind: &str, id: Id<Any>, name: &str) -> Self {
        Delete { root: Planned { kind: kind.into(), id, name: name.into(), action: Action::Delete } }
    }

    async fn begin(&mut self, tx: &mut Tx) -> Result<()> {
        self.root.begin(tx).await
    }

    async fn revert(&mut self, tx: &mut Tx) -> Result<()> {
        self.root.revert(tx).await
    }

    async fn descendants(&mut self, cx: &Cx) -> Result<()> {
        let root = &self.root;
        for round in 0..ROUNDS {
            let plan = cx.engine().graph().plan(&mut cx.read().await?, &root.kind, root.id).await?;
            if plan.iter().all(Vec::is_empty) {
                return Ok(());
            }
            for group in plan {
                try_join_all(group.into_iter().map(|planned| settle(cx, round, planned))).await?;
            }
        }
        let details =
            format!("{} \"{}\" keeps getting new dependants: disable it first", root.kind, root.name);
        Err(codes::STATE.because(details))
    }

    async fn act(&mut self, cx: &Cx) -> Result<()> {
        self.root.act(cx).await
    }

    async fn record(&mut self, tx: &mut Tx) -> Result<()> {
        self.root.record(tx).await
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
            .record_undo("begin", Self::begin, Self::revert)
            .act("descendants", Self::descendants)
            .act("act", Self::act)
            .onward()
            .record("record", Self::record)
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
        let Planned { action, kind, name, .. } = &self.planned;
        format!("{} {kind} \"{name}\"", if *action == Action::Delete { "delete" } else { "stop" })
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("begin", Self::begin)
            .act("act", Self::act)
            .onward()
            .record("record", Self::record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(&'static str);

    #[async_trait]
    impl Kind for Thing {
        fn name(&self) -> &'static str {
            self.0
        }
        async fn record(&self, _: &mut Tx, _: Action, _: Id<Any>) -> Result<()> {
            Ok(())
        }
    }

    fn edge(parent: &'static str, child: &'static str) -> Edge {
        Edge { parent, child, action: Action::Delete, find: "" }
    }

    #[test]
    fn parents_come_before_children_whatever_the_order_of_modules() {
        let kinds: Vec<&'static dyn Kind> = vec![&Thing("Vm"), &Thing("Zone"), &Thing("Host")];
        let graph = Graph::new(kinds, vec![edge("Host", "Vm"), edge("Zone", "Host"), edge("Zone", "Vm")]);
        assert_eq!(graph.order, ["Zone", "Host", "Vm"]);
    }

    #[test]
    #[should_panic(expected = "circle")]
    fn a_circle_stops_the_controller_at_start() {
        Graph::new(vec![&Thing("A"), &Thing("B")], vec![edge("A", "B"), edge("B", "A")]);
    }
}
