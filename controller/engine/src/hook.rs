//! Observer plugins: points at which others act or object, and who does so, in order.
//!
//! ```text
//!  kind      where                      a failure                                 taken back by
//!  step      before there is no way     takes the flow back, and is the answer    undo, in the opposite order
//!            back in a flow
//!  onward    behind that                is tried again until it is none           nothing
//!  check     before anything happens    refuses, and is the answer                nothing: it changes nothing
//! ```
//!
//! A point is declared by the module whose moment it is, and observed by others ([`Module::hook`]). Who comes
//! when is settled when the modules are put together: in the order of modules, unless
//! [`before`](Module::before) and [`after`](Module::after) say otherwise. What is wrong there stops the
//! controller at its start.
//!
//! Hooks that act are parts of a flow: they run again after a crash, with the same task ids, so that agents do
//! nothing twice. Where nobody observes a point nothing is done, nor written down.

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;

use crate::boxed;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::{Ask, Asked, Route};
use crate::error::{ErrorCode, Result, codes};
use crate::flow::Cx;
use crate::module::Module;

/// What a failure at a point does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Step,
    Onward,
    Check,
}

/// A moment. `H` is the trait of those who observe it.
pub struct Point<H: ?Sized + 'static> {
    /// `before vm create`: no other point is called so.
    pub name: &'static str,
    pub kind: Kind,
    /// What has happened by then, for people.
    pub help: &'static str,
    of: PhantomData<fn(&H)>,
}

/// Acts at a point of a flow. It may run again after a crash.
#[boxed]
pub trait Hook<T: Sync>: Sync {
    async fn run(&self, cx: &Cx, about: &T) -> Result<()>;

    /// Takes back what was done, half done, or never begun.
    async fn undo(&self, _cx: &Cx, _about: &T) -> Result<()> {
        Ok(())
    }
}

/// When a hook has its turn among those of its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Before(&'static str),
    After(&'static str),
}

/// A point as a module declares it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declared {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

/// A hook as a module brings it.
pub(crate) struct Observer {
    pub point: &'static str,
    pub name: &'static str,
    pub order: Vec<Order>,
    /// A `&'static H`.
    pub hook: Box<dyn Any + Send + Sync>,
}

/// A point, whose it is, and its observers in order.
struct Seats {
    of: &'static str,
    point: Declared,
    observers: Vec<(&'static str, Observer)>,
}

/// All points of this controller and who observes them.
#[derive(Default)]
pub struct Hooks {
    points: Vec<Seats>,
    by_name: HashMap<&'static str, usize>,
}

impl<H: ?Sized + Sync> Point<H> {
    /// One at which something may be refused, and nothing changed.
    pub const fn check(name: &'static str, help: &'static str) -> Self {
        Point { name, kind: Kind::Check, help, of: PhantomData }
    }

    pub(crate) fn declared(&self) -> Declared {
        Declared { name: self.name, kind: self.kind, help: self.help }
    }
}

impl<T: Sync + 'static> Point<dyn Hook<T>> {
    /// One whose hooks are undone when the flow turns back.
    pub const fn step(name: &'static str, help: &'static str) -> Self {
        Point { name, kind: Kind::Step, help, of: PhantomData }
    }

    /// One behind which there is no way back.
    pub const fn onward(name: &'static str, help: &'static str) -> Self {
        Point { name, kind: Kind::Onward, help, of: PhantomData }
    }

    /// Has everybody act, in order.
    pub async fn run(&self, cx: &Cx, about: &T) -> Result<()> {
        for (name, hook) in cx.engine().hooks().of(self) {
            hook.run(&cx.within(name), about).await?;
        }
        Ok(())
    }

    /// Has everybody take it back, in the opposite order.
    pub async fn undo(&self, cx: &Cx, about: &T) -> Result<()> {
        for (name, hook) in cx.engine().hooks().of(self).rev() {
            hook.undo(&cx.within(name), about).await?;
        }
        Ok(())
    }
}

impl Hooks {
    /// Puts in order what the modules bring.
    pub(crate) fn of_modules(modules: &mut [Module]) -> Result<Hooks> {
        let mut hooks = Hooks::default();
        for module in modules.iter() {
            for point in &module.points {
                hooks.declare(module.name, *point)?;
            }
        }
        for module in modules {
            for observer in module.observers.drain(..) {
                hooks.seat(module.name, observer)?;
            }
        }
        hooks.points.iter_mut().try_for_each(Seats::arrange)?;
        Ok(hooks)
    }

    /// Those who observe the point, in order.
    pub fn of<H: ?Sized + Sync>(
        &self,
        point: &Point<H>,
    ) -> impl DoubleEndedIterator<Item = (&'static str, &'static H)> {
        let seats = self.by_name.get(point.name).map_or(&[][..], |at| &self.points[*at].observers);
        seats.iter().filter_map(|(_, one)| Some((one.name, *one.hook.downcast_ref::<&'static H>()?)))
    }

    pub(crate) fn is_observed(&self, point: &str) -> bool {
        self.by_name.get(point).is_some_and(|at| !self.points[*at].observers.is_empty())
    }

    /// `before vm create: gre tunnel → billing`, a line for each that somebody observes.
    pub(crate) fn describe(&self) -> String {
        let observed = self.points.iter().filter(|seats| !seats.observers.is_empty());
        let names = |seats: &Seats| seats.observers.iter().map(|(_, one)| one.name).collect::<Vec<_>>();
        observed.map(|seats| format!("  {}: {}\n", seats.point.name, names(seats).join(" → "))).collect()
    }

    fn declare(&mut self, of: &'static str, point: Declared) -> Result<()> {
        if self.by_name.insert(point.name, self.points.len()).is_some() {
            return Err(wrong(of, format!("declares the point \"{}\" once more", point.name)));
        }
        self.points.push(Seats { of, point, observers: Vec::new() });
        Ok(())
    }

    fn seat(&mut self, by: &'static str, observer: Observer) -> Result<()> {
        let (point, name) = (observer.point, observer.name);
        let Some(at) = self.by_name.get(point) else {
            let known: Vec<_> = self.points.iter().map(|seats| seats.point.name).collect();
            let told = format!("observes \"{point}\", which is no point; there are {}", known.join(", "));
            return Err(wrong(by, told));
        };
        let seats = &mut self.points[*at];
        if seats.observers.iter().any(|(_, known)| known.name == name) {
            return Err(wrong(by, format!("brings a second hook \"{name}\" to \"{point}\"")));
        }
        seats.observers.push((by, observer));
        Ok(())
    }
}

impl Seats {
    /// Takes the first of those that nobody left must come before, until none is left.
    fn arrange(&mut self) -> Result<()> {
        self.check_names()?;
        let mut left = std::mem::take(&mut self.observers);
        while !left.is_empty() {
            let free =
                left.iter().position(|(_, one)| left.iter().all(|(_, other)| !comes_before(other, one)));
            let Some(free) = free else {
                let names: Vec<_> = left.iter().map(|(_, one)| one.name).collect();
                let told =
                    format!("hooks at \"{}\" wait for each other: {}", self.point.name, names.join(", "));
                return Err(codes::INVALID_ARGUMENT.because(told));
            };
            self.observers.push(left.remove(free));
        }
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        for (by, one) in &self.observers {
            for Order::Before(name) | Order::After(name) in &one.order {
                if name == &one.name || !self.observers.iter().any(|(_, other)| other.name == *name) {
                    let told = format!("\"{}\" at \"{}\" names \"{name}\"", one.name, self.point.name);
                    return Err(wrong(
                        by,
                        format!("has a hook out of order: {told}, which is no other hook there"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn view(&self) -> ExtensionPoint {
        let Declared { name, kind, help } = self.point;
        let seen = |(module, one): &(&'static str, Observer)| Observing { name: one.name, module };
        ExtensionPoint {
            name,
            module: self.of,
            moment: help,
            kind: format!("{kind:?}"),
            may_veto: kind != Kind::Onward,
            observers: self.observers.iter().map(seen).collect(),
        }
    }
}

fn comes_before(one: &Observer, other: &Observer) -> bool {
    one.order.contains(&Order::Before(other.name)) || other.order.contains(&Order::After(one.name))
}

fn wrong(module: &str, what: String) -> ErrorCode {
    codes::INVALID_ARGUMENT.because(format!("module \"{module}\" {what}"))
}

crate::api! {
    /// All points, and who observes each, in order.
    GetExtensionPoints: GET "/extension-points" {}
}

/// A moment at which others act or object, and who does, in order.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ExtensionPoint {
    name: &'static str,
    module: &'static str,
    moment: &'static str,
    kind: String,
    may_veto: bool,
    observers: Vec<Observing>,
}

#[derive(Serialize, JsonSchema)]
struct Observing {
    name: &'static str,
    module: &'static str,
}

#[derive(Serialize, JsonSchema)]
pub struct Points {
    inventories: Vec<ExtensionPoint>,
}

impl Ask for GetExtensionPoints {
    const ROUTE: Route = GetExtensionPoints::ROUTE;
    type Reply = Points;

    async fn answer(self, asked: Asked) -> Result<Points> {
        Ok(Points { inventories: asked.engine.hooks().points.iter().map(Seats::view).collect() })
    }
}

/// The engine's own points.
pub fn module() -> Module {
    Module::new("extension point")
        .ask::<GetExtensionPoints>()
        .point(&crate::api::CALLS)
        .point(&crate::cascade::DELETIONS)
        .point(&crate::cascade::BEFORE_ACT)
        .point(&crate::cascade::AFTER_ACT)
        .admin()
}

#[cfg(test)]
mod tests {
    use super::*;

    trait Guest: Sync {}
    struct Anybody;
    impl Guest for Anybody {}

    static DINNER: Point<dyn Guest> = Point::check("dinner", "it is served");

    fn host() -> Module {
        Module::new("host").point(&DINNER).hook(&DINNER, "host", &Anybody)
    }

    fn seated(modules: Vec<Module>) -> Result<Vec<&'static str>> {
        let mut modules = modules;
        let hooks = Hooks::of_modules(&mut modules)?;
        Ok(hooks.of(&DINNER).map(|(name, _)| name).collect())
    }

    #[test]
    fn hooks_come_in_the_order_of_modules_unless_they_say_otherwise() {
        let late = Module::new("late").hook(&DINNER, "late", &Anybody);
        assert_eq!(seated(vec![late, host()]).unwrap(), ["late", "host"]);
        let early = Module::new("early").hook(&DINNER, "early", &Anybody).before("host");
        let last = Module::new("last").hook(&DINNER, "last", &Anybody).after("host");
        assert_eq!(seated(vec![last, host(), early]).unwrap(), ["early", "host", "last"]);
    }

    #[test]
    fn what_cannot_be_put_in_order_stops_the_controller_at_start() {
        let refused = |more: Module| seated(vec![host(), more]).unwrap_err().details().to_owned();
        let hook = || Module::new("x").hook(&DINNER, "x", &Anybody);
        assert!(refused(hook().after("nobody")).contains("\"nobody\""));
        assert!(refused(hook().after("host").before("host")).contains("wait for each other"));
        assert!(refused(host()).contains("once more"));
        assert!(refused(Module::new("x").hook(&DINNER, "host", &Anybody)).contains("second hook"));
        let elsewhere = seated(vec![hook()]).unwrap_err();
        assert!(elsewhere.details().contains("which is no point"), "{elsewhere}");
    }
}
