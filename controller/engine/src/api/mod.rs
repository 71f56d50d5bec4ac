//! The API as declarations: what a call is named, where it stands, what it takes, what it does.
//!
//! * A [`Job`](Api) changes something: answered 202 at once, durable from then on, polled.
//! * An [`Ask`] is answered at once (login, version).
//! * A query lists an inventory ([`crate::query`]).

mod access;
pub(crate) mod at_work;
pub(crate) mod audit;
pub mod catalogue;
pub mod describe;
pub mod inner;
mod intercept;
pub(crate) mod job;
mod measure;
mod message;
mod portal;
mod request;
mod stream;

use std::future::Future;

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::Method;
use futures::future::BoxFuture;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use access::made;
pub use access::permit;
pub use intercept::{CALLS, Calling, Intercept};
pub use job::{Job, Settled};
pub use measure::metrics;
pub use portal::portal;

use crate::cascade::Delete;
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Any, Id};
use crate::inventory::Inventory;
use crate::query::Entity;
use crate::scope::{Place, Scope};
use crate::tag::Wanted;

/// A call that changes something. Made by [`api!`](crate::api!).
pub trait Api: DeserializeOwned + JsonSchema + Send + 'static {
    const ROUTE: Route;
    /// The kind of resource that it makes, which may come with tags: the job is settled by a unit that answers
    /// its `inventory`, or by a flow whose resource it is and whose first step writes its row.
    const MAKES: Option<&'static str> = None;
    /// The kind of resource whose tags may come with it though it makes none: it reads them.
    const LIKE: Option<&'static str> = None;

    /// Does it, and settles the job: by one unit ([`Job::write`]) or by a flow ([`Job::flow`]). It may run
    /// again after a crash until the job is settled.
    fn run(self, job: Job) -> impl Future<Output = Result<Settled>> + Send;

    /// What it would delete, for its preview: deletions and detachments tell.
    fn cascade(&self, _tx: &mut Tx) -> impl Future<Output = Result<Option<Delete>>> + Send {
        std::future::ready(Ok(None))
    }
}

/// A call that is answered at once.
pub trait Ask: DeserializeOwned + JsonSchema + Send + 'static {
    const ROUTE: Route;
    /// Whether it may be asked without a session.
    const OPEN: bool = false;
    /// The kind of resource whose tags may come with it: it asks what making one would bring.
    const LIKE: Option<&'static str> = None;

    type Reply: Serialize + JsonSchema;

    fn answer(self, asked: Asked) -> impl Future<Output = Result<Self::Reply>> + Send;
}

/// The reply that names what there is of something.
#[derive(Serialize, JsonSchema)]
pub struct Types {
    types: Vec<&'static str>,
}

/// The reply that says that it is done, and no more.
#[derive(Serialize, JsonSchema)]
pub struct Done {}

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
    /// Secrets that clients send and nothing is made of.
    pub unread: &'static [&'static str],
    /// Only the administrator may make the call.
    pub admin: bool,
    /// Parameters of the body that name what the call changes, beside the first one of the path and `uuid`:
    /// what is shared with an account may be used by its calls, not changed.
    pub changes: &'static [&'static str],
    pub params: &'static [Param],
}

/// A parameter of a call as it is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// snake_case.
    pub name: &'static str,
    pub kind: &'static str,
}

impl Route {
    const EMPTY: Route = Route {
        name: "",
        method: "",
        path: "",
        body: None,
        secrets: &[],
        unread: &[],
        admin: false,
        changes: &[],
        params: &[],
    };

    /// The parameters that stand in the path, in order.
    pub fn in_path(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    pub fn method(&self) -> Method {
        Method::from_bytes(self.method.as_bytes()).expect("routes are written with proper methods")
    }
}

impl FromIterator<&'static str> for Types {
    fn from_iter<T: IntoIterator<Item = &'static str>>(types: T) -> Self {
        Types { types: types.into_iter().collect() }
    }
}

/// Who asks, and of whom.
pub struct Asked {
    pub engine: Engine,
    pub session: Option<Session>,
    /// Where the question comes from, as far as this program can see.
    pub address: Option<IpAddr>,
    /// What came beside its parameters.
    pub tags: Wanted,
}

impl Asked {
    /// The account that sees only its own; none for the administrator.
    pub fn tenant(&self) -> Option<Id<Any>> {
        self.session.as_ref().filter(|session| !session.admin).map(|session| session.account)
    }
}

/// Whose session a call carries.
#[derive(Clone)]
pub struct Session {
    /// For records; nobody can log in with it.
    pub token: String,
    pub account: Id<Any>,
    /// One of the account's users; otherwise it is the account itself.
    pub user: Option<Id<Any>>,
    /// Everything may be seen and done.
    pub admin: bool,
    /// What policies and roles allow, where there are any.
    pub rights: Option<Arc<dyn Rights>>,
}

/// What a session may do, by the names of calls.
pub trait Rights: Send + Sync {
    fn allow(&self, call: &Entry) -> bool;
}

/// Who says so, and of what.
pub struct Credentials {
    pub authorization: String,
    pub method: Method,
    pub path_and_query: String,
    pub headers: axum::http::HeaderMap,
    pub body: Bytes,
}

impl Credentials {
    /// A header's text; nothing when it is not there.
    pub fn text(&self, header: &str) -> &str {
        self.headers.get(header).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Finds the session that a request proves; contributed by the module of accounts.
pub type Gate = fn(Engine, Credentials) -> BoxFuture<'static, Result<Session>>;

/// `api! { /// docs  CreateZone: POST "/zones" "params" only admin { name: String, … } }`: the struct of a
/// call's parameters, and its route. Unknown parameters are refused. Without `only admin` all accounts may
/// make the call, on what they see; what it changes must be their own ([`Route::changes`]).
#[macro_export]
macro_rules! api {
    ($(#[$meta:meta])* $name:ident: $method:ident $path:literal $($body:literal)? $(only $who:ident)?
        $(secret [$($secret:literal),*])? $(unread [$($unread:literal),*])? $(changes [$($changed:literal),*])?
        { $($(#[$fmeta:meta])* $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }

        impl $name {
            pub const ROUTE: $crate::api::Route = $crate::api::Route {
                name: stringify!($name),
                method: stringify!($method),
                path: $path,
                body: $crate::api!(@body $($body)?),
                secrets: &[$($($secret),*)?],
                unread: &[$($($unread),*)?],
                admin: $crate::api!(@only $($who)?),
                changes: &[$($($changed),*)?],
                params: &[$($crate::api::Param {
                    name: $crate::inventory::unraw(stringify!($field)),
                    kind: stringify!($ty),
                }),*],
            };
        }
    };
    (@only) => { false };
    (@only admin) => { true };
    (@body) => { None };
    (@body $body:literal) => { Some($body) };
}

/// `deletion! { DeleteZone: "/zones/{uuid}" of Zone: ZoneInventory }`: the call that deletes a resource
/// and what depends on it.
#[macro_export]
macro_rules! deletion {
    ($name:ident: $path:literal of $kind:ident: $inventory:ty) => {
        $crate::api! {
            $name: DELETE $path {
                uuid: $crate::Id<$kind>,
                delete_mode: Option<$crate::cascade::DeleteMode>,
            }
        }

        impl $crate::api::Api for $name {
            const ROUTE: $crate::api::Route = $name::ROUTE;

            async fn run(self, job: $crate::api::Job) -> $crate::Result<$crate::api::Settled> {
                job.delete(&self).await
            }

            async fn cascade(
                &self,
                tx: &mut $crate::db::Tx,
            ) -> $crate::Result<Option<$crate::cascade::Delete>> {
                let found: $inventory = $crate::inventory::find(tx, self.uuid).await?;
                let root = $crate::cascade::Root::new(stringify!($kind), self.uuid.cast(), &found.name);
                Ok(Some($crate::cascade::Delete::new(root).mode(self.delete_mode)))
            }
        }
    };
}

type RunJob = Box<dyn Fn(Value, Job) -> Result<BoxFuture<'static, Result<Settled>>> + Send + Sync>;
type RunAsk = Box<dyn Fn(Value, Asked) -> Result<BoxFuture<'static, Result<Value>>> + Send + Sync>;
type RunPreview =
    Box<dyn for<'t> Fn(Value, &'t mut Tx) -> BoxFuture<'t, Result<Option<Delete>>> + Send + Sync>;

/// A call as the portal keeps it.
pub struct Entry {
    pub route: Route,
    /// ZStack's word for what it is about, in policies: `instance:CreateVmInstance`.
    pub category: &'static str,
    pub(crate) kind: EntryKind,
    pub(crate) shape: Shape,
}

/// What a call takes and answers, as schemas.
#[derive(Clone, Copy, Default)]
pub(crate) struct Shape {
    pub params: Option<describe::Draw>,
    pub reply: Option<describe::Draw>,
}

pub(crate) enum EntryKind {
    /// `check` only reads the parameters, so that what is malformed is refused before a job exists.
    Job {
        check: fn(Value) -> Result<()>,
        run: RunJob,
        cascade: RunPreview,
        makes: Option<&'static str>,
        like: Option<&'static str>,
    },
    Ask {
        open: bool,
        like: Option<&'static str>,
        check: fn(Value) -> Result<()>,
        run: RunAsk,
    },
    Query(Entity),
    /// A call that no module has: one of the catalogue, or one that another program answers.
    Missing,
}

impl Entry {
    pub fn job<A: Api>() -> Self {
        let run: RunJob = Box::new(|mut params, job| {
            let agreed = request::agreed(&mut params)?;
            let call: A = request::read(A::ROUTE.name, params)?;
            Ok(Box::pin(call.run(job.agreed(agreed))))
        });
        let check = |mut params| {
            request::agreed(&mut params)?;
            request::read::<A>(A::ROUTE.name, params).map(|_| ())
        };
        let cascade: RunPreview = Box::new(|mut params, tx| {
            Box::pin(async move {
                request::agreed(&mut params)?;
                request::read::<A>(A::ROUTE.name, params)?.cascade(tx).await
            })
        });
        let kind = EntryKind::Job { check, run, cascade, makes: A::MAKES, like: A::LIKE };
        let shape = Shape { params: Some(A::json_schema), reply: None };
        Entry { route: A::ROUTE, category: "", kind, shape }
    }

    /// The cascade that the call with `params` would run.
    pub(crate) async fn cascade(&self, params: Value, tx: &mut Tx) -> Result<Option<Delete>> {
        match &self.kind {
            EntryKind::Job { cascade, .. } => cascade(params, tx).await,
            _ => Ok(None),
        }
    }

    pub fn ask<A: Ask>() -> Self {
        let run: RunAsk = Box::new(|params, asked| {
            let call: A = request::read(A::ROUTE.name, params)?;
            Ok(Box::pin(async move { Ok(serde_json::to_value(call.answer(asked).await?)?) }))
        });
        let check = |params| request::read::<A>(A::ROUTE.name, params).map(|_| ());
        let kind = EntryKind::Ask { open: A::OPEN, like: A::LIKE, check, run };
        let reply: describe::Draw = |generator: &mut SchemaGenerator| generator.subschema_for::<A::Reply>();
        let shape = Shape { params: Some(A::json_schema), reply: Some(reply) };
        Entry { route: A::ROUTE, category: "", kind, shape }
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
        let route = Route { name, method: "GET", path, admin: I::SCOPE == Scope::Admin, ..Route::EMPTY };
        let shape = Shape { params: None, reply: Some(describe::inventory::<I>) };
        Entry { route, category: "", kind: EntryKind::Query(Entity::of::<I>()), shape }
    }

    /// One that is known and not there.
    pub(crate) fn missing(known: catalogue::Known) -> Self {
        let catalogue::Known { path, method, name, body } = known;
        Entry {
            route: Route { name, method, path, body, ..Route::EMPTY },
            category: "",
            kind: EntryKind::Missing,
            shape: Shape::default(),
        }
    }

    /// What is said to who makes a call that is known and not there.
    fn not_there(&self) -> ErrorCode {
        let name = self.route.name;
        codes::UNIMPLEMENTED.because(format!("{name} is a call of ZStack's API that is not there yet"))
    }

    /// What another program answers, for policies.
    pub fn elsewhere(name: &'static str, category: &'static str, method: &'static str) -> Self {
        let (route, shape) = (Route { name, method, ..Route::EMPTY }, Shape::default());
        Entry { route, category, kind: EntryKind::Missing, shape }
    }

    /// As policies name it: `instance:CreateVmInstance`.
    pub fn action(&self) -> String {
        format!("{}:{}", self.category, self.route.name)
    }

    /// Who sees what the call lists, when it is a query.
    pub fn scope(&self) -> Option<Scope> {
        self.place().map(|place| place.scope)
    }

    /// Where what the call lists stands, when it is a query.
    pub fn table(&self) -> Option<&'static str> {
        self.place().map(|place| place.table)
    }

    /// The kind of resource whose tags may come with the call.
    pub(crate) fn carries(&self) -> Option<&'static str> {
        match self.kind {
            EntryKind::Job { makes, like, .. } => makes.or(like),
            EntryKind::Ask { like, .. } => like,
            _ => None,
        }
    }

    /// Whether the call only looks.
    pub fn looks(&self) -> bool {
        match self.kind {
            EntryKind::Job { .. } => false,
            EntryKind::Missing => self.route.method == "GET",
            _ => true,
        }
    }

    /// Whether it may be called without a session.
    pub fn is_open(&self) -> bool {
        matches!(self.kind, EntryKind::Ask { open: true, .. })
    }

    pub(crate) fn place(&self) -> Option<Place> {
        self.entity().map(Entity::place)
    }
}
