//! What a deletion does to others, as data: planned before anything happens, shown to whoever asks.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::{Action, DeleteMode, Graph, How};
use crate::db::Tx;
use crate::error::{Result, codes};
use crate::flow::store;
use crate::id::{Any, Id};

/// So many parents are asked for their children at once.
const AT_ONCE: usize = 500;
/// So many blockers an error names.
const NAMED: usize = 5;

/// What is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    pub kind: String,
    pub id: Id<Any>,
    pub name: String,
    /// Whether its dependants go with it.
    spreads: bool,
    /// What the answer is about, when it is not the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shown: Option<Id<Any>>,
}

/// One resource of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub kind: String,
    pub id: Id<Any>,
    pub name: String,
    #[serde(flatten)]
    pub how: How,
    /// The one that takes it along; the first of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id<Any>>,
}

/// The root, and what becomes of the others: groups of one kind, in the order in which they are settled.
#[derive(Debug)]
pub struct Plan {
    pub root: Planned,
    pub groups: Vec<Vec<Planned>>,
}

/// Why a resource cannot be settled.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blocker {
    kind: String,
    uuid: Id<Any>,
    name: String,
    reason: String,
}

impl Root {
    pub fn new(kind: &str, id: Id<Any>, name: &str) -> Self {
        Root { kind: kind.into(), id, name: name.into(), spreads: true, shown: None }
    }

    /// Nothing else is touched.
    #[must_use]
    pub fn alone(self) -> Self {
        Root { spreads: false, ..self }
    }

    /// The answer shows `shown`, which stays.
    #[must_use]
    pub fn showing(self, shown: Id<Any>) -> Self {
        Root { shown: Some(shown), ..self }
    }

    pub(super) fn planned(&self, mode: DeleteMode) -> Planned {
        let how = How { action: Action::Delete, mode };
        Planned { kind: self.kind.clone(), id: self.id, name: self.name.clone(), how, parent: None }
    }
}

impl Graph {
    /// What deleting `root` does.
    pub(crate) async fn plan(&self, tx: &mut Tx, root: &Root, mode: DeleteMode) -> Result<Plan> {
        let mut found = BTreeMap::<usize, BTreeMap<Id<Any>, Planned>>::new();
        let place = |kind: &str| self.order.iter().position(|known| *known == kind).unwrap_or(usize::MAX);
        let start = place(&root.kind);
        let kinds = if root.spreads { self.order.as_slice() } else { &[] };
        for (at, kind) in kinds.iter().enumerate().skip(start) {
            let parents: Vec<Id<Any>> = match at == start {
                true => vec![root.id],
                false => deleted(found.get(&at)),
            };
            for edge in self.edges.iter().filter(|edge| edge.parent == *kind) {
                let group = found.entry(place(edge.child)).or_default();
                for (id, name, parent) in children(tx, edge.find, &parents).await? {
                    let how = How { action: edge.action, mode };
                    let new = || Planned { kind: edge.child.into(), id, name, how, parent: Some(parent) };
                    let planned = group.entry(id).or_insert_with(new);
                    planned.how.action = planned.how.action.max(edge.action);
                }
            }
        }
        let groups = found.into_values().rev().map(|group| group.into_values().collect()).collect();
        Ok(Plan { root: root.planned(mode), groups })
    }

    /// Refuses a plan of which something cannot be settled.
    pub(super) async fn refuse_blocked(&self, tx: &mut Tx, plan: &Plan) -> Result<()> {
        let blockers = self.blockers(tx, plan).await?;
        if blockers.is_empty() {
            return Ok(());
        }
        let told = |b: &Blocker| format!("{} \"{}\": {}", b.kind, b.name, b.reason);
        let named: Vec<_> = blockers.iter().take(NAMED).map(told).collect();
        let more = match blockers.len().saturating_sub(NAMED) {
            0 => String::new(),
            n => format!("; and {n} more"),
        };
        let (kind, name) = (&plan.root.kind, &plan.root.name);
        let details = format!("{kind} \"{name}\" cannot be deleted: {}{more}", named.join("; "));
        Err(codes::STATE.because(details))
    }

    async fn blockers(&self, tx: &mut Tx, plan: &Plan) -> Result<Vec<Blocker>> {
        let mut found = Vec::new();
        for (kind, how, members) in plan.by_kind() {
            for ids in chunks(&members) {
                let mut reasons = self.kind(kind)?.blockers(tx, how, &ids).await?;
                reasons.extend(store::parked_on(tx, &ids).await?.into_iter().map(|(id, title)| {
                    (id, format!("\"{title}\" is parked on it: retry or abandon that flow first"))
                }));
                for (uuid, reason) in reasons {
                    let name = members.iter().find(|planned| planned.id == uuid).map(|p| p.name.clone());
                    found.push(Blocker {
                        kind: kind.to_owned(),
                        uuid,
                        name: name.unwrap_or_default(),
                        reason,
                    });
                }
            }
        }
        Ok(found)
    }

    async fn sizes(&self, tx: &mut Tx, plan: &Plan) -> Result<HashMap<Id<Any>, i64>> {
        let mut sizes = HashMap::new();
        for (kind, how, members) in plan.by_kind() {
            for ids in chunks(&members) {
                if how.deletes() {
                    sizes.extend(self.kind(kind)?.sizes(tx, &ids).await?);
                }
            }
        }
        Ok(sizes)
    }

    /// The plan as the API shows it.
    pub(crate) async fn preview(&self, tx: &mut Tx, root: &Root, mode: DeleteMode) -> Result<Value> {
        let plan = self.plan(tx, root, mode).await?;
        let sizes = self.sizes(tx, &plan).await?;
        let blockers = self.blockers(tx, &plan).await?;
        Ok(json!({ "preview": {
            "planHash": plan.hash(),
            "counts": plan.counts(&sizes),
            "blockers": blockers,
            "tree": plan.tree(&sizes),
        }}))
    }
}

impl Plan {
    /// Tells apart plans that do different things. Names may change meanwhile.
    pub fn hash(&self) -> String {
        let mut text = String::new();
        for Planned { kind, id, how, .. } in self.members() {
            text.push_str(&format!("{kind} {id} {:?}\n", how.action));
        }
        format!("{:032x}", xxh3_128(text.as_bytes()))
    }

    pub fn is_done(&self) -> bool {
        self.groups.iter().all(Vec::is_empty)
    }

    fn members(&self) -> impl Iterator<Item = &Planned> {
        self.groups.iter().flatten().chain([&self.root])
    }

    /// All that are acted upon in one way.
    fn by_kind(&self) -> Vec<(&str, How, Vec<&Planned>)> {
        let mut groups = Vec::<(&str, How, Vec<&Planned>)>::new();
        for planned in self.members() {
            let same = |(kind, how, _): &&mut (&str, How, _)| *kind == planned.kind && *how == planned.how;
            match groups.iter_mut().find(same) {
                Some((_, _, members)) => members.push(planned),
                None => groups.push((&planned.kind, planned.how, vec![planned])),
            }
        }
        groups
    }

    fn counts(&self, sizes: &HashMap<Id<Any>, i64>) -> Vec<Value> {
        let count = |(kind, how, members): (&str, How, Vec<&Planned>)| {
            let size: i64 = members.iter().filter_map(|planned| sizes.get(&planned.id)).sum();
            json!({ "kind": kind, "action": how.action, "count": members.len(), "size": size })
        };
        self.by_kind().into_iter().map(count).collect()
    }

    /// The root with those that it takes along below it, and so on.
    fn tree(&self, sizes: &HashMap<Id<Any>, i64>) -> Value {
        let mut below = HashMap::<Id<Any>, Vec<Value>>::new();
        let mut root = Value::Null;
        for planned in self.members() {
            let children = below.remove(&planned.id).unwrap_or_default();
            let node = planned.node(sizes.get(&planned.id), children);
            match planned.parent {
                Some(parent) => below.entry(parent).or_default().push(node),
                None => root = node,
            }
        }
        root
    }
}

impl Planned {
    fn node(&self, size: Option<&i64>, children: Vec<Value>) -> Value {
        let mut node =
            json!({ "kind": self.kind, "uuid": self.id, "name": self.name, "action": self.how.action });
        if let Some(size) = size {
            node["size"] = (*size).into();
        }
        if !children.is_empty() {
            node["children"] = children.into();
        }
        node
    }
}

fn deleted(group: Option<&BTreeMap<Id<Any>, Planned>>) -> Vec<Id<Any>> {
    let all = group.into_iter().flatten();
    all.filter(|(_, planned)| planned.how.deletes()).map(|(id, _)| *id).collect()
}

async fn children(
    tx: &mut Tx,
    find: &'static str,
    parents: &[Id<Any>],
) -> Result<Vec<(Id<Any>, String, Id<Any>)>> {
    let mut found = Vec::new();
    for some in parents.chunks(AT_ONCE) {
        found.extend(tx.all_of(find, some.iter().map(|id| (*id).into()).collect()).await?);
    }
    Ok(found)
}

fn chunks(members: &[&Planned]) -> Vec<Vec<Id<Any>>> {
    members.chunks(AT_ONCE).map(|some| some.iter().map(|planned| planned.id).collect()).collect()
}
