//! What a resource adds to the controller, as data: the wiring is a list of these.

use std::fmt::Write;
use std::sync::Arc;

use crate::api::{Api, Ask, Entry};
use crate::cascade::{Action, Edge, Kind};
use crate::driver::Family;
use crate::error::Result;
use crate::flow::{Flow, FlowType};
use crate::hook::{Declared, Kind as Moment, Observer, Order, Point};
use crate::inventory::Inventory;
use crate::listener::Listener;
use crate::query::Entity;
use crate::quota::Quota;
use crate::scope::Scope;
use crate::setting::AnySetting;
use crate::sweep::Sweep;
use crate::tag::SystemTag;

/// One resource's contribution.
pub struct Module {
    pub name: &'static str,
    category: &'static str,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) flows: Vec<FlowType>,
    pub(crate) kinds: Vec<&'static dyn Kind>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) settings: Vec<AnySetting>,
    pub(crate) sweeps: Vec<Sweep>,
    pub(crate) events: Vec<(&'static str, &'static str)>,
    pub(crate) quotas: Vec<&'static Quota>,
    /// Inventories that conditions lead to and that have no list of their own.
    pub(crate) related: Vec<Entity>,
    pub(crate) tags: Vec<SystemTag>,
    pub(crate) points: Vec<Declared>,
    pub(crate) observers: Vec<Observer>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) drivers: Vec<Driver>,
    /// Statements that count for quotas of others.
    pub(crate) claims: Vec<(&'static str, &'static str)>,
    /// Kinds of drivers that are its own, and the types of each, for the wiring's print.
    families: Vec<(&'static str, Types)>,
}

type Types = Box<dyn Fn() -> Vec<&'static str> + Send + Sync>;

/// A driver for a family of another module.
pub(crate) struct Driver {
    family: &'static str,
    name: &'static str,
    pub add: Box<dyn FnOnce() -> Result<()> + Send + Sync>,
}

impl Module {
    pub fn new(name: &'static str) -> Self {
        Module {
            name,
            category: name,
            entries: Vec::new(),
            flows: Vec::new(),
            kinds: Vec::new(),
            edges: Vec::new(),
            settings: Vec::new(),
            sweeps: Vec::new(),
            events: Vec::new(),
            quotas: Vec::new(),
            related: Vec::new(),
            tags: Vec::new(),
            points: Vec::new(),
            observers: Vec::new(),
            listeners: Vec::new(),
            drivers: Vec::new(),
            claims: Vec::new(),
            families: Vec::new(),
        }
    }

    /// What policies call it, where ZStack has a word of its own; first of all, for it marks what is added
    /// after it.
    pub fn category(self, category: &'static str) -> Self {
        Module { category, ..self }
    }

    /// Its calls so far are the administrator's alone; who sees what its queries list, those say themselves.
    pub fn admin(mut self) -> Self {
        for entry in self.entries.iter_mut().filter_map(Arc::get_mut) {
            entry.route.admin |= entry.scope().is_none() && !entry.is_open();
        }
        self
    }

    /// A call that changes something.
    pub fn api<A: Api>(self) -> Self {
        self.entry(Entry::job::<A>())
    }

    /// A call that is answered at once.
    pub fn ask<A: Ask>(self) -> Self {
        self.entry(Entry::ask::<A>())
    }

    /// `GET path` and `GET path/{uuid}` over an inventory.
    pub fn query<I: Inventory>(self, name: &'static str, path: &'static str) -> Self {
        self.entry(Entry::query::<I>(name, path))
    }

    /// An inventory without a list of its own, for conditions and ZQL.
    pub fn related<I: Inventory>(mut self) -> Self {
        self.related.push(Entity::of::<I>());
        self
    }

    pub fn flow<F: Flow>(mut self) -> Self {
        self.flows.push(FlowType::of::<F>());
        self
    }

    /// How the resource takes part in cascades, and under which parents.
    pub fn cascade(mut self, kind: &'static dyn Kind, edges: &[Edge]) -> Self {
        self.kinds.push(kind);
        self.edges.extend_from_slice(edges);
        self
    }

    pub fn settings(mut self, settings: &[AnySetting]) -> Self {
        self.settings.extend_from_slice(settings);
        self
    }

    /// What it tells the world, by name, and what each means.
    pub fn events(mut self, events: &[(&'static str, &'static str)]) -> Self {
        self.events.extend_from_slice(events);
        self
    }

    /// System tags that this module's code reads or writes.
    pub fn tags(mut self, tags: &[SystemTag]) -> Self {
        self.tags.extend_from_slice(tags);
        self
    }

    pub fn sweep(mut self, sweep: Sweep) -> Self {
        self.sweeps.push(sweep);
        self
    }

    /// What it counts of an account.
    pub fn quotas(mut self, quotas: &[&'static Quota]) -> Self {
        self.quotas.extend_from_slice(quotas);
        self
    }

    /// What it has counts for a quota of another module too: `used` yields what the account `$1` has.
    pub fn claims(mut self, quota: &'static Quota, used: &'static str) -> Self {
        self.claims.push((quota.name, used));
        self
    }

    /// Its kind of drivers.
    pub fn family<D: ?Sized + Sync>(mut self, family: &'static Family<D>) -> Self {
        self.families.push((family.kind, Box::new(|| family.types())));
        self
    }

    /// A driver for a family of another module: the type `name`.
    pub fn driver<D: ?Sized + Sync>(
        mut self,
        family: &'static Family<D>,
        name: &'static str,
        driver: &'static D,
    ) -> Self {
        let by = self.name;
        let add = Box::new(move || family.add(by, name, driver));
        self.drivers.push(Driver { family: family.kind, name, add });
        self
    }

    /// A moment of its own, which others may observe.
    pub fn point<H: ?Sized + Sync>(mut self, point: &'static Point<H>) -> Self {
        self.points.push(point.declared());
        self
    }

    /// Observes a point as `name`, behind those of the modules before this one.
    pub fn hook<H: ?Sized + Sync>(
        mut self,
        point: &'static Point<H>,
        name: &'static str,
        hook: &'static H,
    ) -> Self {
        self.observers.push(Observer { point: point.name, name, order: Vec::new(), hook: Box::new(hook) });
        self
    }

    /// Hears what has happened.
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// The hook just added has its turn before `other`.
    pub fn before(self, other: &'static str) -> Self {
        self.ordered(Order::Before(other))
    }

    /// The hook just added has its turn after `other`.
    pub fn after(self, other: &'static str) -> Self {
        self.ordered(Order::After(other))
    }

    fn ordered(mut self, order: Order) -> Self {
        if let Some(last) = self.observers.last_mut() {
            last.order.push(order);
        }
        self
    }

    /// The calls that it adds.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(Arc::as_ref)
    }

    /// What conditions may lead over, from here and back.
    fn paths(&self) -> Vec<String> {
        let listed = self.entries.iter().filter_map(|entry| entry.entity());
        let mut lines: Vec<_> =
            listed.chain(self.related.iter()).flat_map(|entity| entity.paths().into_iter()).collect();
        let mut seen = std::collections::HashSet::new();
        lines.retain(|line| seen.insert(line.clone()));
        lines
    }

    fn entry(mut self, entry: Entry) -> Self {
        let entry = Entry { category: self.category, ..entry };
        self.entries.push(Arc::new(entry));
        self
    }

    fn describe(&self) -> String {
        let mut text = format!("{}\n", self.name);
        for entry in &self.entries {
            let route = entry.route;
            let who = whom(entry);
            let _ = writeln!(text, "  {:6} {} → {}{who}", route.method, route.path, route.name);
        }
        for line in self.paths() {
            let _ = writeln!(text, "  path   {line}");
        }
        for flow in &self.flows {
            let _ = writeln!(text, "  flow   {} v{}: {}", flow.name, flow.version, flow.steps.join(" → "));
        }
        for edge in &self.edges {
            let verb = if edge.action == Action::Delete { "deletes" } else { "stops" };
            let _ = writeln!(text, "  edge   deleting {} {verb} {}", edge.parent, edge.child);
        }
        for setting in &self.settings {
            let _ = writeln!(text, "  set    {}.{} = {}", setting.category, setting.name, setting.default);
        }
        for (name, meaning) in &self.events {
            let _ = writeln!(text, "  event  {name}: {meaning}");
        }
        for quota in &self.quotas {
            let _ = writeln!(text, "  quota  {} = {}", quota.name, quota.default);
        }
        for tag in &self.tags {
            let _ = writeln!(text, "  tag    {} {}: {}", tag.resource, tag.pattern, tag.help);
        }
        for sweep in &self.sweeps {
            let _ = writeln!(text, "  sweep  {}", sweep.name);
        }
        self.describe_extensions(&mut text);
        text
    }

    fn describe_extensions(&self, text: &mut String) {
        for (kind, types) in &self.families {
            let _ = writeln!(text, "  types  {kind}: {}", types().join(", "));
        }
        for driver in &self.drivers {
            let _ = writeln!(text, "  driver {} {}", driver.family, driver.name);
        }
        for (quota, _) in &self.claims {
            let _ = writeln!(text, "  claims {quota}");
        }
        for Declared { name, kind, help } in &self.points {
            let may = match kind {
                Moment::Step => "may fail, is undone",
                Moment::Onward => "is tried again",
                Moment::Check => "may refuse",
            };
            let _ = writeln!(text, "  point  {name} ({may}): {help}");
        }
        for observer in &self.observers {
            let _ = writeln!(text, "  hook   {} at {}", observer.name, observer.point);
        }
        for listener in &self.listeners {
            let _ = writeln!(text, "  hears  {} as {}", listener.events, listener.name);
        }
    }
}

/// What the modules are together: each by itself, and who observes what in which order.
pub fn describe(mut modules: Vec<Module>) -> Result<String> {
    let mut text: String = modules.iter().map(Module::describe).collect();
    let _ = write!(text, "order of hooks\n{}", crate::hook::Hooks::of_modules(&mut modules)?.describe());
    Ok(text)
}

/// Who may make a call, or sees what it lists.
fn whom(entry: &Entry) -> String {
    match entry.scope() {
        _ if entry.is_open() => " (open)".into(),
        _ if entry.route.admin => " (admin)".into(),
        Some(Scope::Everyone) => " (everyone)".into(),
        Some(Scope::Owned(by)) => format!(" (by owner of {by})"),
        Some(Scope::Accounts(by)) => format!(" (by {})", by.join(", ")),
        _ => String::new(),
    }
}
