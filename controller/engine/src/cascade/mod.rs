//! Cascades: an operation on one resource spreads to those that depend on it.
//!
//! Each kind of resource contributes edges: "when a `parent` goes, my `child`ren found by this statement
//! are deleted, or stopped". The edges form a graph without circles. A deletion is planned first, from the
//! root to the leaves, as plain data that can be looked at ([`Plan`]); then it runs from the leaves to the
//! root, so that the root is touched only after everything below it is settled. What appeared meanwhile is
//! planned and settled again; the foreign keys of the database make sure that no root goes before its
//! children.
//!
//! An attachment (a storage to a cluster) is a resource of its own kind here: detaching deletes it.

mod delete;
mod plan;

use std::collections::HashMap;

use crate::boxed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::db::Tx;
use crate::error::{Result, codes};
use crate::flow::Cx;
use crate::hook::{Hook, Point};
use crate::id::{Any, Id};

pub use delete::Delete;
pub(crate) use delete::Settle;
pub use plan::{Plan, Planned, Preview, Root};

/// What happens to a child of what is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Stop,
    Delete,
}

/// `deleteMode` of every deletion. ZStack's words; both spread to dependants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeleteMode {
    /// Refused when something cannot be settled.
    #[default]
    Permissive,
    /// Goes on past what cannot be reached; what stays behind there is found by the sweep when it comes back.
    Enforcing,
}

/// In which way a resource is acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct How {
    pub action: Action,
    #[serde(default)]
    pub mode: DeleteMode,
}

impl How {
    pub fn deletes(self) -> bool {
        self.action == Action::Delete
    }

    pub fn enforces(self) -> bool {
        self.mode == DeleteMode::Enforcing
    }
}

/// When any of several `parent`s is deleted, the children that `find` yields are acted upon: uuid, name and
/// the parent's uuid, for the parents `IN ($*)`. An edge from a kind to itself yields all descendants, and is
/// only for a kind that [goes along](Kind::goes_along).
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub parent: &'static str,
    pub child: &'static str,
    pub action: Action,
    pub find: &'static str,
}

/// How one kind of resource takes part. `act` changes the world outside, `record` the rows; both succeed
/// when there is nothing left to do. Once `act` has begun there is no way back: what fails is tried again.
#[boxed]
pub trait Kind: Send + Sync {
    /// `VmInstance`
    fn name(&self) -> &'static str;

    /// Whether what it is found below takes it along in its own act and record: then it is shown and counted,
    /// and only as a root settled by itself.
    fn goes_along(&self) -> bool {
        false
    }

    /// Which of `ids` cannot be settled, and why: told by previews, and before anything happens.
    async fn blockers(&self, _tx: &mut Tx, _how: How, _ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, String)>> {
        Ok(Vec::new())
    }

    /// The bytes that go with those of `ids` that hold any.
    async fn sizes(&self, _tx: &mut Tx, _ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, i64)>> {
        Ok(Vec::new())
    }

    /// Marks the rows before anything happens (`Destroying`); refuses what may not be.
    async fn begin(&self, _tx: &mut Tx, _how: How, _id: Id<Any>) -> Result<()> {
        Ok(())
    }

    /// Takes the marks away when what depends on it could not be settled.
    async fn revert(&self, _tx: &mut Tx, _how: How, _id: Id<Any>) -> Result<()> {
        Ok(())
    }

    async fn act(&self, _cx: &Cx, _how: How, _id: Id<Any>) -> Result<()> {
        Ok(())
    }

    async fn record(&self, tx: &mut Tx, how: How, id: Id<Any>) -> Result<()>;

    /// The API's answer once it is deleted; `shown` is what the root [shows](Root::showing).
    async fn answer(&self, _tx: &mut Tx, _shown: Option<Id<Any>>) -> Result<Value> {
        Ok(json!({}))
    }
}

/// Who may be against a deletion; its preview tells so.
#[boxed]
pub trait Objection: Sync {
    /// Which of `ids`, all of one kind (`VmInstance`), must not be settled so, and why.
    async fn blockers(
        &self,
        tx: &mut Tx,
        kind: &str,
        how: How,
        ids: &[Id<Any>],
    ) -> Result<Vec<(Id<Any>, String)>>;
}

pub static DELETIONS: Point<dyn Objection> =
    Point::check("deletion", "a deletion is planned, or about to begin; the preview names who is against it");
pub static BEFORE_ACT: Point<dyn Hook<Planned>> = Point::onward(
    "before settle",
    "a resource that is deleted, or stopped by a deletion, is marked so; what it has outside is still there",
);
pub static AFTER_ACT: Point<dyn Hook<Planned>> =
    Point::onward("after settle", "what the resource had outside is gone, its row is still there");

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
}

/// Parents before children; a circle is a mistake in the code and stops the controller at start.
fn order(kinds: &HashMap<&'static str, &'static dyn Kind>, edges: &[Edge]) -> Vec<&'static str> {
    let mut left: Vec<&'static str> = kinds.keys().copied().collect();
    left.sort_unstable();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let above = |e: &&Edge| e.parent != e.child && left.contains(&e.parent);
        let waits = |kind: &str| edges.iter().filter(above).any(|e| e.child == kind);
        let (later, free): (Vec<_>, Vec<_>) = left.iter().copied().partition(|kind| waits(kind));
        assert!(!free.is_empty(), "the cascade edges of {later:?} form a circle");
        order.extend(free);
        left = later;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(&'static str);

    #[boxed]
    impl Kind for Thing {
        fn name(&self) -> &'static str {
            self.0
        }
        async fn record(&self, _: &mut Tx, _: How, _: Id<Any>) -> Result<()> {
            Ok(())
        }
    }

    fn edge(parent: &'static str, child: &'static str) -> Edge {
        Edge { parent, child, action: Action::Delete, find: "" }
    }

    #[test]
    fn parents_come_before_children_whatever_the_order_of_modules() {
        let kinds: Vec<&'static dyn Kind> = vec![&Thing("Vm"), &Thing("Zone"), &Thing("Host")];
        let edges = vec![edge("Host", "Vm"), edge("Zone", "Host"), edge("Zone", "Vm"), edge("Vm", "Vm")];
        let graph = Graph::new(kinds, edges);
        assert_eq!(graph.order, ["Zone", "Host", "Vm"]);
    }

    #[test]
    #[should_panic(expected = "circle")]
    fn a_circle_stops_the_controller_at_start() {
        Graph::new(vec![&Thing("A"), &Thing("B")], vec![edge("A", "B"), edge("B", "A")]);
    }
}
