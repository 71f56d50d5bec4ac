//! What an agent serves: commands by the path of their type, the inventory, and plain HTTP routes.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use serde::Serialize;

use super::Cx;
use super::runner::Runner;
use super::task::Task;
use crate::call::{Call, Effect, Fault, Mode, STALE, to_body};
use crate::calls::inventory::{List, Listed};
use crate::tls::Role;

/// Something on this machine that carries Cumulet's mark.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
pub struct Owned {
    /// `domain`, `bridge`, `tap`, `namespace`, `volume`, `image`, …
    pub kind: String,
    pub name: String,
    /// The uuid it is marked with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// The table of everything that an agent answers.
///
/// ```ignore
/// Routes::new(state).on(vm::start).on(vm::stop).inventory(inventory::list)
/// ```
pub struct Routes<S> {
    state: Arc<S>,
    pub(super) table: Table,
}

/// [`Routes`] without the type of its state.
pub(super) struct Table {
    pub calls: HashMap<&'static str, Arc<Route>>,
    pub inventory: Inventory,
    /// And who may use it.
    pub plain: Vec<(&'static [Role], Router)>,
    /// Whether the other agents of this machine may send commands.
    pub neighbours: bool,
}

pub(super) struct Route {
    pub path: &'static str,
    pub mode: Mode,
    pub effect: Effect,
    parse: Parse,
}

type Parse = Box<dyn Fn(&[u8]) -> Result<Run, Fault> + Send + Sync>;
/// A parsed command that waits to be run.
pub(super) type Run = Box<dyn FnOnce(Arc<Task>, Arc<Runner>) -> Running + Send>;
pub(super) type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;
type Listing = Pin<Box<dyn Future<Output = Result<Vec<Owned>, Fault>> + Send>>;
type Inventory = Box<dyn Fn() -> Listing + Send + Sync>;

const DONE: &str = r#"{"success":true}"#;

/// How a command ended.
pub(super) struct Ended {
    /// The JSON object that is reported.
    pub body: Bytes,
    /// It never started, or has stopped and left nothing behind: it may be begun anew.
    pub refused: bool,
    pub success: bool,
}

impl<S: Send + Sync + 'static> Routes<S> {
    pub fn new(state: Arc<S>) -> Self {
        let inventory: Inventory = Box::new(|| Box::pin(async { Ok(Vec::new()) }));
        Routes {
            state,
            table: Table { calls: HashMap::new(), inventory, plain: Vec::new(), neighbours: false },
        }
    }

    /// Serves the command that is the second argument's type.
    ///
    /// # Panics
    /// When two operations serve the same path: a mistake in the program, found at its first start.
    #[must_use]
    pub fn on<C, F, Fut>(mut self, operation: F) -> Self
    where
        C: Call,
        F: Fn(Cx<S>, C) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C::Reply, Fault>> + Send + 'static,
    {
        let (state, operation) = (self.state.clone(), Arc::new(operation));
        let parse = move |body: &[u8]| -> Result<Run, Fault> {
            let command: C = parse(body)?;
            let (state, operation) = (state.clone(), operation.clone());
            Ok(Box::new(move |task, runner| {
                // Inside, so that a panic of the operation's first part is caught with the rest.
                Box::pin(async move { Ended::of(&operation(Cx::new(state, task, runner), command).await) })
            }))
        };
        let route = Route { path: C::PATH, mode: C::MODE, effect: C::EFFECT, parse: Box::new(parse) };
        let before = self.table.calls.insert(C::PATH, Arc::new(route));
        assert!(before.is_none(), "two operations serve {}", C::PATH);
        self
    }

    /// Lists all that this agent made: the whole at `GET /inventory`, and by [`List`] to those who know
    /// what it was before.
    #[must_use]
    pub fn inventory<F, Fut>(mut self, list: F) -> Self
    where
        F: Fn(Arc<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Owned>, Fault>> + Send + 'static,
    {
        let (state, list) = (self.state.clone(), Arc::new(list));
        let whole = Arc::clone(&list);
        self.table.inventory = Box::new(move || Box::pin(whole(state.clone())));
        self.on(move |cx: Cx<S>, asked: List| {
            let listing = list(Arc::clone(cx.state()));
            async move { Ok(Listed::unless_known(listing.await?, &asked.known)) }
        })
    }

    /// Takes commands from the other agents of this machine too, which hand on what controllers have sent them.
    /// Not for an agent that may do more than they: who steals their key has its powers.
    #[must_use]
    pub fn from_neighbours(mut self) -> Self {
        self.table.neighbours = true;
        self
    }

    /// The paths of the commands that are served, in order.
    pub fn paths(&self) -> Vec<&'static str> {
        let mut paths: Vec<_> = self.table.calls.keys().copied().collect();
        paths.sort_unstable();
        paths
    }

    /// Serves other HTTP beside the commands, such as downloads and WebSockets, to peers in one of `roles`
    /// (to anybody at a plain door). May be called several times.
    ///
    /// # Panics
    /// When two routers have the same path, or this one has a fallback: that is the commands' place.
    #[must_use]
    pub fn plain(mut self, roles: &'static [Role], router: Router) -> Self {
        self.table.plain.push((roles, router));
        self
    }
}

impl Table {
    /// The route at `path`, with or without a trailing slash.
    pub fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.calls.get(path).or_else(|| self.calls.get(path.strip_suffix('/')?))
    }
}

impl Route {
    pub fn parse(&self, body: &[u8]) -> Result<Run, Fault> {
        (self.parse)(body)
    }
}

impl Ended {
    pub fn of<R: Serialize>(outcome: &Result<R, Fault>) -> Self {
        let body = to_body(outcome).to_string();
        // By far the commonest outcome needs no memory of its own.
        let body = if body == DONE { Bytes::from_static(DONE.as_bytes()) } else { body.into() };
        let refused = outcome.as_ref().is_err_and(|fault| fault.is(STALE));
        Ended { body, refused, success: outcome.is_ok() }
    }

    pub fn failed(fault: Fault) -> Self {
        Ended::of::<()>(&Err(fault))
    }
}

/// An empty body is an empty object. The error names the member that is wrong.
fn parse<C: Call>(body: &[u8]) -> Result<C, Fault> {
    let body = if body.is_empty() { b"{}" } else { body };
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Fault::new("malformed command: not a JSON object"));
    }
    serde_json::from_slice(body).or_else(|_| {
        let mut json = serde_json::Deserializer::from_slice(body);
        let parsed = serde_path_to_error::deserialize(&mut json);
        let command: C = parsed.map_err(|e| malformed(&e.path().to_string(), e.inner()))?;
        json.end().map_err(|e| malformed(".", &e))?;
        Ok(command)
    })
}

fn malformed(member: &str, error: &serde_json::Error) -> Fault {
    match member {
        "." => Fault::new(format!("malformed command: {error}")),
        member => Fault::new(format!("malformed command: member {member:?}: {error}")),
    }
}
