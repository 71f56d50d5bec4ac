//! What a deletion does to others, as data: planned before anything happens, shown to whoever asks.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::{Action, DELETIONS, DeleteMode, Graph, How};
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
    /// The root can be recovered afterwards.
    recoverable: bool,
}

/// What a deletion would do, as the API shows it; what touches nothing has neither a hash nor a tree.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_hash: Option<String>,
    counts: Vec<Count>,
    blockers: Vec<Blocker>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tree: Option<Node>,
}

/// All of one kind to which the same happens.
#[derive(Debug, Serialize, JsonSchema)]
struct Count {
    kind: String,
    action: Verb,
    count: usize,
    /// Bytes that become free.
    size: i64,
}

/// A resource, with those that it takes along below it.
#[derive(Debug, Serialize, JsonSchema)]
struct Node {
    kind: String,
    uuid: Id<Any>,
    name: String,
    action: Verb,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    children: Vec<Node>,
}

/// What a preview says of a resource.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Stop,
    Delete,
    /// Out of use; it can be recovered until it is expunged.
    Destroy,
}

/// Why a resource cannot be settled.
#[derive(Debug, Serialize, JsonSchema)]
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

    /// It can be recovered: nothing else is touched.
    #[must_use]
    pub fn recoverable(self) -> Self {
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
        Ok(Plan { root: root.planned(mode), groups, recoverable: !root.spreads })
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
                for (_, objection) in tx.engine().hooks().of(&DELETIONS) {
                    reasons.extend(objection.blockers(tx, kind, how, &ids).await?);
                }
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
    pub(crate) async fn preview(&self, tx: &mut Tx, root: &Root, mode: DeleteMode) -> Result<Preview> {
        let plan = self.plan(tx, root, mode).await?;
        let sizes = self.sizes(tx, &plan).await?;
        let blockers = self.blockers(tx, &plan).await?;
        let (counts, tree) = (plan.counts(&sizes), plan.tree(&sizes));
        Ok(Preview { plan_hash: Some(plan.hash()), counts, blockers, tree })
    }
}

impl Plan {
    /// Tells apart plans that do different things. Names may change meanwhile.
    pub fn hash(&self) -> String {
        let mut text = String::from(if self.recoverable { "recoverable\n" } else { "" });
        for Planned { kind, id, how, .. } in self.members() {
            text.push_str(&format!("{kind} {id} {:?}\n", how.action));
        }
        format!("{:032x}", xxh3_128(text.as_bytes()))
    }

    /// Those that are settled one by one: nothing but the root is left when there are none.
    pub(super) fn settled_singly(self, graph: &Graph) -> Result<Vec<Vec<Planned>>> {
        let mut groups = Vec::new();
        for group in self.groups {
            if let Some(first) = group.first()
                && !graph.kind(&first.kind)?.goes_along()
            {
                groups.push(group);
            }
        }
        Ok(groups)
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

    fn counts(&self, sizes: &HashMap<Id<Any>, i64>) -> Vec<Count> {
        let count = |(kind, how, members): (&str, How, Vec<&Planned>)| {
            let size = members.iter().filter_map(|planned| sizes.get(&planned.id)).sum();
            Count { kind: kind.to_owned(), action: self.verb(how), count: members.len(), size }
        };
        self.by_kind().into_iter().map(count).collect()
    }

    /// The root with those that it takes along below it, and so on.
    fn tree(&self, sizes: &HashMap<Id<Any>, i64>) -> Option<Node> {
        let mut below = HashMap::<Id<Any>, Vec<Node>>::new();
        let mut root = None;
        for planned in self.members() {
            let children = below.remove(&planned.id).unwrap_or_default();
            let node = planned.node(self.verb(planned.how), sizes.get(&planned.id).copied(), children);
            match planned.parent {
                Some(parent) => below.entry(parent).or_default().push(node),
                None => root = Some(node),
            }
        }
        root
    }

    fn verb(&self, how: How) -> Verb {
        match how.action {
            Action::Stop => Verb::Stop,
            Action::Delete if self.recoverable => Verb::Destroy,
            Action::Delete => Verb::Delete,
        }
    }
}

impl Planned {
    fn node(&self, action: Verb, size: Option<i64>, children: Vec<Node>) -> Node {
        Node { kind: self.kind.clone(), uuid: self.id, name: self.name.clone(), action, size, children }
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
