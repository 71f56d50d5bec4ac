//! The API as declarations: what a call is named, where it stands, what it takes, what it does.
//!
//! * A [`Job`](Api) changes something: answered 202 at once, durable from then on, polled.
//! * An [`Ask`] is answered at once (login, version).
//! * A query lists an inventory ([`crate::query`]).

pub(crate) mod job;
mod measure;
mod portal;
mod request;

use std::future::Future;

use axum::http::Method;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use job::{Job, Settled};
pub use measure::metrics;
pub use portal::portal;

use crate::engine::Engine;
use crate::error::Result;
use crate::id::{Any, Id};
use crate::inventory::Inventory;
use crate::query::Entity;

/// A call that changes something. Made by [`api!`](crate::api!).
pub trait Api: DeserializeOwned + Send + 'static {
    const ROUTE: Route;
    /// The kind of resource that it makes, which may come with tags: the job is settled by a unit that answers
    /// its `inventory`, or by a flow whose resource it is and whose first step writes its row.
    const MAKES: Option<&'static str> = None;

    /// Does it, and settles the job: by one unit ([`Job::write`]) or by a flow ([`Job::flow`]). It may run
    /// again after a crash until the job is settled.
    fn run(self, job: Job) -> impl Future<Output = Result<Settled>> + Send;
}

/// A call that is answered at once.
pub trait Ask: DeserializeOwned + Send + 'static {
    const ROUTE: Route;
    /// Whether it may be asked without a session.
    const OPEN: bool = false;

    fn answer(self, asked: Asked) -> impl Future<Output = Result<Value>> + Send;
}

/// Where a call stands.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub name: &'static str,
    pub method: &'static str,
    /// Below `/zstack/v1`; `{uuid}` and the like are parameters of the call.
    pub path: &'static str,
    /// The member of the body that holds the parameters; it also tells apart the calls of one path.
    pub body: Option<&'static str>,
    /// Parameters that are neither stored nor logged.
    pub secrets: &'static [&'static str],
}

impl Route {
    pub fn method(&self) -> Method {
        Method::from_bytes(self.method.as_bytes()).expect("routes are written with proper methods")
    }
}

/// Who asks, and of whom.
pub struct Asked {
    pub engine: Engine,
    pub session: Option<Session>,
}

/// Whose session a call carries.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub uuid: Id<Any>,
    pub account: Id<Any>,
}

/// Finds the session that the `Authorization` header names; contributed by the module of accounts.
pub type Gate = fn(Engine, String) -> BoxFuture<'static, Result<Session>>;

/// `api! { /// docs  CreateZone: POST "/zones" "params" { name: String, … } }`: the struct of a call's
/// parameters, and its route. Unknown parameters are refused.
#[macro_export]
macro_rules! api {
    ($(#[$meta:meta])* $name:ident: $method:ident $path:literal $($body:literal)? $(secret [$($secret:literal),*])?
        { $($(#[$fmeta:meta])* $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }

        impl $name {
            pub const ROUTE: $crate::api::Route = $crate::api::Route {
                name: stringify!($name),
                method: stringify!($method),
                path: $path,
                body: $crate::api!(@body $($body)?),
                secrets: &[$($($secret),*)?],
            };
        }
    };
    (@body) => { None };
    (@body $body:literal) => { Some($body) };
}

type RunJob = Box<dyn Fn(Value, Job) -> Result<BoxFuture<'static, Result<Settled>>> + Send + Sync>;
type RunAsk = Box<dyn Fn(Value, Asked) -> Result<BoxFuture<'static, Result<Value>>> + Send + Sync>;

/// A call as the portal keeps it.
pub struct Entry {
    pub route: Route,
    pub(crate) kind: EntryKind,
}

pub(crate) enum EntryKind {
    /// `check` only reads the parameters, so that what is malformed is refused before a job exists.
    Job {
        check: fn(Value) -> Result<()>,
        run: RunJob,
        makes: Option<&'static str>,
    },
    Ask {
        open: bool,
        run: RunAsk,
    },
    Query(Entity),
}

impl Entry {
    pub fn job<A: Api>() -> Self {
        let run: RunJob = Box::new(|params, job| {
            let call: A = request::read(A::ROUTE.name, params)?;
            Ok(Box::pin(call.run(job)))
        });
        let check = |params| request::read::<A>(A::ROUTE.name, params).map(|_| ());
        Entry { route: A::ROUTE, kind: EntryKind::Job { check, run, makes: A::MAKES } }
    }

    pub fn ask<A: Ask>() -> Self {
        let run: RunAsk = Box::new(|params, asked| {
            let call: A = request::read(A::ROUTE.name, params)?;
            Ok(Box::pin(call.answer(asked)))
        });
        Entry { route: A::ROUTE, kind: EntryKind::Ask { open: A::OPEN, run } }
    }

    /// The inventory that it lists.
    pub(crate) fn entity(&self) -> Option<&Entity> {
        match &self.kind {
            EntryKind::Query(entity) => Some(entity),
            _ => None,
        }
    }

    /// `GET path` and `GET path/{uuid}`.
    pub fn query<I: Inventory>(name: &'static str, path: &'static str) -> Self {
        let route = Route { name, method: "GET", path, body: None, secrets: &[] };
        Entry { route, kind: EntryKind::Query(Entity::of::<I>()) }
    }
}
