//! The front door: routes requests to calls, checks sessions, makes jobs, tells their results.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, OriginalUri, RawPathParams, Request, State};
use axum::http::header::LINK;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodFilter, any, get, on};
use serde_json::{Value, json};

use super::catalogue::Known;
use super::job::{self, Job, NewJob, Who};
use super::{Asked, Credentials, Entry, EntryKind, Route, Session};
use super::{access, intercept, message, request, stream};
use crate::cascade::Preview;
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Any, Id};
use crate::query::{Answer, Entity, Query, Viewer};
use crate::tag::Wanted;

/// The calls of one method and path, told apart by the member of the body that holds the parameters.
struct Place {
    engine: Engine,
    entries: Vec<Arc<Entry>>,
}

/// A refused request: its status and why.
struct Refused(StatusCode, ErrorCode);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let help = [(LINK, help(self.1.code()))];
        (self.0, help, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<ErrorCode> for Refused {
    /// What an answer finds wrong by itself is told as what is found before; the rest is no fault of who asks.
    fn from(error: ErrorCode) -> Self {
        let status = [
            (codes::NOT_FOUND, StatusCode::NOT_FOUND),
            (codes::AUTHENTICATION, StatusCode::UNAUTHORIZED),
            (codes::SESSION, StatusCode::UNAUTHORIZED),
            (codes::LOCKED, StatusCode::TOO_MANY_REQUESTS),
            (codes::DENIED, StatusCode::FORBIDDEN),
            (codes::INVALID_ARGUMENT, StatusCode::BAD_REQUEST),
            (codes::STATE, StatusCode::CONFLICT),
            (codes::UNIMPLEMENTED, StatusCode::NOT_IMPLEMENTED),
        ];
        let known = status.iter().find(|(code, _)| error.is(*code));
        Refused(known.map_or(StatusCode::SERVICE_UNAVAILABLE, |(_, status)| *status), error)
    }
}

/// Where a code is explained, for the header `Link`.
fn help(code: &str) -> String {
    format!("</docs/errors/{code}>; rel=\"help\"")
}

/// Everything below `/zstack/v1`, and the same below `/v1`; the calls of `catalogue` that there are not say so.
pub fn portal(engine: &Engine, catalogue: Vec<Known>) -> Router {
    let there: HashSet<_> = engine.entries().iter().map(|entry| entry.route.name).collect();
    let missing = catalogue.into_iter().filter(|known| !there.contains(known.name));
    let missing: Vec<_> = missing.map(|known| Arc::new(Entry::missing(known))).collect();
    let mut places = BTreeMap::<(String, &str), Vec<Arc<Entry>>>::new();
    for entry in engine.entries().iter().cloned().chain(missing.iter().cloned()) {
        places.entry((shape(entry.route.path), entry.route.method)).or_default().push(entry);
    }
    let mut calls = Router::new()
        .route("/api-jobs/{uuid}", get(poll))
        .route("/events", get(listen))
        .with_state(engine.clone());
    for ((path, method), entries) in places {
        let query = matches!(entries[0].kind, EntryKind::Query(_));
        let method = Method::from_bytes(method.as_bytes()).expect("routes are written with proper methods");
        let filter = MethodFilter::try_from(method).expect("routes use the common methods");
        let place = Arc::new(Place { engine: engine.clone(), entries });
        calls = calls.route(&path, on(filter, handle).with_state(Arc::clone(&place)));
        if query {
            let row = format!("{path}/{{p{}}}", path.matches('{').count());
            calls = calls.route(&row, on(filter, one).with_state(place));
        }
    }
    let calls = calls.fallback(nowhere).method_not_allowed_fallback(nowhere);
    let messages = message::router(engine, calls.clone(), missing);
    Router::new().nest("/zstack/v1", calls.clone()).nest("/v1", calls).merge(messages).fallback(any(nowhere))
}

/// A path whatever its parameters are called: calls of one place may name them differently.
pub(super) fn shape(path: &str) -> String {
    let mut parameters = 0;
    let parts = path.split('/').map(|part| match part.starts_with('{') {
        true => {
            parameters += 1;
            format!("{{p{}}}", parameters - 1)
        }
        false => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The parameters of the path as the call names them.
fn in_path(route: &Route, path: &RawPathParams) -> Vec<(String, String)> {
    route.in_path().map(str::to_owned).zip(path.iter().map(|(_, value)| value.to_owned())).collect()
}

async fn nowhere(method: Method, uri: Uri) -> Refused {
    let error = codes::UNKNOWN_MESSAGE.because(format!("there is no call {method} {}", uri.path()));
    Refused(StatusCode::NOT_FOUND, error)
}

fn no_query() -> ErrorCode {
    codes::INTERNAL.because("a call that is no query was asked as one")
}

async fn poll(
    State(engine): State<Engine>,
    path: RawPathParams,
    request: Request,
) -> Result<Response, Refused> {
    let job = job_id(path.iter().next().map_or("", |(_, value)| value))?;
    let asking = Asking::read(request).await?;
    if engine.jobs_at_work().lingers(job, asking.text("authorization")).await {
        return Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response());
    }
    let session = asking.session(&engine).await?;
    let account = (!session.admin).then_some(session.account);
    let (status, body) = job::poll(&mut engine.db().read().await?, job, account).await?;
    let help = body["error"]["code"].as_str().map(|code| [(LINK, help(code))]);
    Ok((status, help, Json(body)).into_response())
}

/// Events, as they happen. They tell of everybody's resources: only the administrator hears them.
async fn listen(State(engine): State<Engine>, request: Request) -> Result<Response, Refused> {
    let asking = Asking::read(request).await?;
    if !asking.session(&engine).await?.admin {
        let details = "the stream of events is for the administrator alone";
        return Err(Refused(StatusCode::FORBIDDEN, codes::DENIED.because(details)));
    }
    let wanted = stream::Wanted::read(&pairs(&asking.uri), asking.text("last-event-id"));
    let wanted = wanted.map_err(|error| Refused(StatusCode::BAD_REQUEST, error))?;
    Ok(stream::stream(&engine, wanted).await?.into_response())
}

async fn handle(
    State(place): State<Arc<Place>>,
    path: RawPathParams,
    request: Request,
) -> Result<Response, Refused> {
    let malformed = |error| Refused(StatusCode::BAD_REQUEST, error);
    let asking = Asking::read(request).await?;
    let mut url = pairs(&asking.uri);
    let body = request::body(&asking.body).map_err(malformed)?;
    let entry = place.choose(&body).map_err(malformed)?;
    let session = place.session(&asking, &entry).await?;
    if let EntryKind::Query(entity) = &entry.kind {
        let query = Query::parse(&url).map_err(malformed)?;
        return Ok(Json(place.find(*entity, query, session).await?).into_response());
    }
    if let EntryKind::Missing = &entry.kind {
        return Err(entry.not_there().into());
    }
    let preview = wants_preview(&mut url).map_err(malformed)?;
    let params =
        request::params(in_path(&entry.route, &path), &url, entry.route.body, body).map_err(malformed)?;
    let bare = without_tags(&place.engine, &entry, params.clone()).map_err(malformed)?;
    if let Some(session) = session.as_ref().filter(|_| !entry.is_open()) {
        access::admit(&place.engine, &entry, session, &bare).await?;
    }
    match (&entry.kind, session) {
        (EntryKind::Ask { run, .. }, session) => {
            let tags = Wanted::take(&mut params.clone()).map_err(malformed)?;
            let asked = Asked { engine: place.engine.clone(), session, address: asking.address, tags };
            Ok(Json(run(bare, asked).map_err(malformed)?.await?).into_response())
        }
        (EntryKind::Job { .. }, Some(_)) if preview => {
            Ok(Json(place.preview(&entry, params).await?).into_response())
        }
        (EntryKind::Job { .. }, Some(session)) => {
            place.refuse_moved(&entry, &params).await?;
            intercept::check(&place.engine, &entry, &session, &bare).await?;
            accept(&place.engine, &entry, session, params, &asking).await
        }
        _ => Err(codes::INTERNAL.because("a call without a session reached a job").into()),
    }
}

/// The parameters without the tags, which may come with this call and are such as there may be.
pub(super) fn without_tags(engine: &Engine, entry: &Entry, mut params: Value) -> Result<Value> {
    let wanted = Wanted::take(&mut params)?;
    match entry.carries() {
        Some(kind) => wanted.check(engine.system_tags(), kind)?,
        None if wanted.is_empty() => {}
        None => {
            let details = format!("{} makes nothing that could carry tags: leave them out", entry.route.name);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
    }
    Ok(params)
}

/// `GET path/{uuid}` of a query: a list of one.
async fn one(
    State(place): State<Arc<Place>>,
    path: RawPathParams,
    request: Request,
) -> Result<Response, Refused> {
    let (entry, asking) = (Arc::clone(&place.entries[0]), Asking::read(request).await?);
    let session = place.session(&asking, &entry).await?;
    let EntryKind::Query(entity) = &entry.kind else { return Err(no_query().into()) };
    let parsed = Query::parse(&pairs(&asking.uri));
    let mut query = parsed.map_err(|error| Refused(StatusCode::BAD_REQUEST, error))?;
    let uuid = path.iter().next().map_or("", |(_, value)| value);
    query.conditions.push(format!("uuid={uuid}"));
    let reply = place.find(*entity, query, session).await?;
    if reply.is_empty() {
        let error =
            codes::NOT_FOUND.because(format!("{} finds nothing of uuid \"{uuid}\"", entry.route.name));
        return Err(Refused(StatusCode::NOT_FOUND, error));
    }
    Ok(Json(reply).into_response())
}

impl Place {
    fn choose(&self, body: &serde_json::Map<String, Value>) -> Result<Arc<Entry>> {
        if let [only] = self.entries.as_slice() {
            return Ok(Arc::clone(only));
        }
        let named = self.entries.iter().find(|e| e.route.body.is_some_and(|key| body.contains_key(key)));
        named.cloned().ok_or_else(|| {
            let keys: Vec<_> = self.entries.iter().filter_map(|e| e.route.body).collect();
            codes::INVALID_ARGUMENT.because(format!("the body must name one action of {}", keys.join(", ")))
        })
    }

    async fn find(&self, entity: Entity, query: Query, session: Option<Session>) -> Result<Answer> {
        let viewer = session.map(Viewer::Client).ok_or_else(no_query)?;
        let read = self
            .engine
            .db()
            .read_much(move |tx| Box::pin(async move { query.answer(tx, &entity, &viewer).await }));
        read.await
    }

    /// What the call would delete, and what it would do to others.
    async fn preview(&self, entry: &Arc<Entry>, params: Value) -> Result<Value> {
        let (entry, engine) = (Arc::clone(entry), self.engine.clone());
        let read = self.engine.db().read_much(move |tx| {
            Box::pin(async move {
                let Some(delete) = entry.cascade(params, tx).await? else { return Ok(Preview::default()) };
                let (root, mode) = delete.root();
                engine.graph().preview(tx, root, mode).await
            })
        });
        Ok(json!({ "preview": read.await? }))
    }

    /// Refuses a call that was agreed to when its preview was another.
    async fn refuse_moved(&self, entry: &Arc<Entry>, params: &Value) -> Result<(), Refused> {
        let Some(agreed) = params["planHash"].as_str().map(str::to_owned) else { return Ok(()) };
        let (entry, engine, params) = (Arc::clone(entry), self.engine.clone(), params.clone());
        let read = self.engine.db().read_much(move |tx| {
            Box::pin(async move {
                let Some(delete) = entry.cascade(params, tx).await? else { return Ok(None) };
                let (root, mode) = delete.root();
                let plan = engine.graph().plan(tx, root, mode).await?;
                Ok((plan.hash() != agreed).then(|| delete.moved()))
            })
        });
        match read.await? {
            Some(moved) => Err(Refused(StatusCode::CONFLICT, moved)),
            None => Ok(()),
        }
    }

    /// Of who makes the call, and may.
    async fn session(&self, asking: &Asking, entry: &Entry) -> Result<Option<Session>, Refused> {
        let open = entry.is_open();
        if open && asking.text("authorization").is_none() {
            return Ok(None);
        }
        match asking.session(&self.engine).await {
            Ok(session) => {
                access::permit(entry, &session)?;
                Ok(Some(session))
            }
            Err(Refused(StatusCode::UNAUTHORIZED, _)) if open => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Takes `preview=true` out of the URL's parameters.
fn wants_preview(url: &mut Vec<(String, String)>) -> Result<bool> {
    let Some(at) = url.iter().position(|(name, _)| name == "preview") else { return Ok(false) };
    let (_, value) = url.remove(at);
    value.parse().map_err(|_| {
        codes::INVALID_ARGUMENT.because(format!("\"preview\" must be true or false, not \"{value}\""))
    })
}

/// A request as it came.
struct Asking {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    address: Option<IpAddr>,
}

impl Asking {
    async fn read(request: Request) -> Result<Asking, Refused> {
        let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        // As it came, for what is nested sees a part only.
        let uri = request.extensions().get::<OriginalUri>().map(|uri| uri.0.clone());
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let body = Bytes::from_request(request, &()).await.map_err(|e| {
            Refused(e.status(), codes::INVALID_ARGUMENT.because(format!("the body is unreadable: {e}")))
        })?;
        let (method, uri) = (parts.method, uri.unwrap_or(parts.uri));
        Ok(Asking { method, uri, headers: parts.headers, body, address })
    }

    fn text(&self, header: &str) -> Option<&str> {
        self.headers.get(header).and_then(|value| value.to_str().ok())
    }

    async fn session(&self, engine: &Engine) -> Result<Session, Refused> {
        let credentials = Credentials {
            authorization: self.text("authorization").unwrap_or_default().to_owned(),
            method: self.method.clone(),
            path_and_query: self.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: self.headers.clone(),
            body: self.body.clone(),
        };
        engine.authenticate(credentials).await.map_err(|error| match error.is(codes::DATABASE) {
            true => error.into(),
            false => Refused(StatusCode::UNAUTHORIZED, error),
        })
    }
}

/// Makes the job durable, then acknowledges it, then starts it.
async fn accept(
    engine: &Engine,
    entry: &Entry,
    session: Session,
    params: Value,
    asking: &Asking,
) -> Result<Response, Refused> {
    if asking.text("x-web-hook").is_some() && !session.admin {
        let details =
            "web hooks are for the administrator, for this program can reach what you cannot: poll the job";
        return Err(codes::DENIED.because(details).into());
    }
    let id = asking.text("x-job-uuid").map(job_id).transpose()?.unwrap_or_else(Id::random);
    let new = NewJob {
        id,
        api: entry.route.name,
        who: Who { account: session.account, user: session.user },
        token: session.token,
        address: asking.address,
        resource: access::resource(&entry.route, &params, id),
        makes: access::makes(&entry.route),
        params: engine.without_secrets(entry.route.name, params.clone()),
        web_hook: asking.text("x-web-hook").map(str::to_owned),
    };
    // On its own, for the client may hang up: a job that was entered is worked on by nobody else.
    let caller = asking.text("authorization").map(str::to_owned);
    let entered = tokio::spawn(enter(engine.clone(), new, params, caller)).await;
    entered.unwrap_or_else(|_| Err(codes::INTERNAL.because("entering the job panicked").into()))?;
    let host = asking.text("host").unwrap_or("127.0.0.1");
    let location = format!("http://{host}/zstack/v1/api-jobs/{id}");
    Ok((StatusCode::ACCEPTED, Json(json!({ "location": location }))).into_response())
}

async fn enter(engine: Engine, new: NewJob, params: Value, caller: Option<String>) -> Result<(), Refused> {
    let (id, api, who, era) = (new.id, new.api, new.who, engine.era()?);
    let (owner, hooked) = (era.id, new.web_hook.is_some());
    let entered = engine.db().write(move |tx| Box::pin(job::enter(tx, new, owner))).await;
    let entered = entered.inspect_err(|error| {
        if error.is(codes::DATABASE) {
            engine.watched_jobs().stalled(id);
        }
    });
    if !entered? {
        let error = codes::INVALID_ARGUMENT.because(format!("there is a job {id} already: poll it"));
        return Err(Refused(StatusCode::BAD_REQUEST, error));
    }
    Job::new(&engine, &era, id, (api, who)).hooked(hooked).begin(params, caller.as_deref());
    Ok(())
}

fn job_id(text: &str) -> Result<Id<Any>, Refused> {
    let bad = |details| Refused(StatusCode::BAD_REQUEST, codes::INVALID_ARGUMENT.because(details));
    text.parse().map_err(bad)
}

fn pairs(uri: &Uri) -> Vec<(String, String)> {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_url_are_read_as_browsers_write_them() {
        let uri: Uri = "/zones?q=name%3Da%20b&q=x+y&count=true".parse().unwrap();
        let expected = [("q", "name=a b"), ("q", "x y"), ("count", "true")];
        assert_eq!(pairs(&uri), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}
