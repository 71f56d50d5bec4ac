//! The front door: routes requests to calls, checks sessions, makes jobs, tells their results.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodFilter, any, get, on};
use serde_json::{Value, json};

use super::job::{self, Job, NewJob};
use super::request;
use super::{Asked, Entry, EntryKind, Session};
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Any, Id};
use crate::query::{Entity, Query, Viewer};
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
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<ErrorCode> for Refused {
    fn from(error: ErrorCode) -> Self {
        Refused(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

/// Everything below `/zstack/v1`, and the same below `/v1`.
pub fn portal(engine: &Engine) -> Router {
    let mut places = BTreeMap::<(&str, &str), Vec<Arc<Entry>>>::new();
    for entry in engine.entries() {
        places.entry((entry.route.path, entry.route.method)).or_default().push(Arc::clone(entry));
    }
    let mut calls = Router::new().route("/api-jobs/{uuid}", get(poll)).with_state(engine.clone());
    for ((path, method), entries) in places {
        let query = matches!(entries[0].kind, EntryKind::Query(_));
        let method = Method::from_bytes(method.as_bytes()).expect("routes are written with proper methods");
        let filter = MethodFilter::try_from(method).expect("routes use the common methods");
        let place = Arc::new(Place { engine: engine.clone(), entries });
        calls = calls.route(path, on(filter, handle).with_state(Arc::clone(&place)));
        if query {
            calls = calls.route(&format!("{path}/{{uuid}}"), on(filter, one).with_state(place));
        }
    }
    let calls = calls.fallback(nowhere).method_not_allowed_fallback(nowhere);
    Router::new().nest("/zstack/v1", calls.clone()).nest("/v1", calls).fallback(any(nowhere))
}

async fn nowhere(method: Method, uri: Uri) -> Refused {
    let error = codes::UNKNOWN_MESSAGE.because(format!("there is no call {method} {}", uri.path()));
    Refused(StatusCode::NOT_FOUND, error)
}

fn no_query() -> ErrorCode {
    codes::INTERNAL.because("a call that is no query was asked as one")
}

async fn poll(State(engine): State<Engine>, path: RawPathParams) -> Result<Response, Refused> {
    let job = job_id(path.iter().next().map_or("", |(_, value)| value))?;
    let (status, body) = job::poll(&mut engine.db().read().await?, job).await?;
    Ok((status, Json(body)).into_response())
}

async fn handle(
    State(place): State<Arc<Place>>,
    path: RawPathParams,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let malformed = |error| Refused(StatusCode::BAD_REQUEST, error);
    let url = pairs(&uri);
    let body = request::body(&body).map_err(malformed)?;
    let entry = place.choose(&body).map_err(malformed)?;
    let session = place.session(&headers, &entry).await?;
    if let EntryKind::Query(entity) = &entry.kind {
        let query = Query::parse(&url).map_err(malformed)?;
        return Ok(Json(place.find(*entity, query, session).await?).into_response());
    }
    let params = request::params(&path, &url, entry.route.body, body).map_err(malformed)?;
    match (&entry.kind, session) {
        (EntryKind::Ask { run, .. }, session) => {
            let asked = Asked { engine: place.engine.clone(), session };
            Ok(Json(run(params, asked).map_err(malformed)?.await?).into_response())
        }
        (EntryKind::Job { check, makes, .. }, Some(session)) => {
            let wanted = check_tags(&place.engine, entry.route.name, *makes, &mut params.clone());
            wanted.and_then(check).map_err(malformed)?;
            accept(&place.engine, entry.route.name, session, params, &headers).await
        }
        _ => Err(codes::INTERNAL.because("a call without a session reached a job").into()),
    }
}

/// The parameters without the tags, which may come with this call and are such as there may be.
fn check_tags(engine: &Engine, api: &str, makes: Option<&str>, params: &mut Value) -> Result<Value> {
    let wanted = Wanted::take(params)?;
    match makes {
        Some(kind) => wanted.check(engine.system_tags(), kind)?,
        None if wanted.is_empty() => {}
        None => {
            let details = format!("{api} makes nothing that could carry tags: leave them out");
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
    }
    Ok(params.take())
}

/// `GET path/{uuid}` of a query: a list of one.
async fn one(
    State(place): State<Arc<Place>>,
    path: RawPathParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let entry = Arc::clone(&place.entries[0]);
    let session = place.session(&headers, &entry).await?;
    let EntryKind::Query(entity) = &entry.kind else { return Err(no_query().into()) };
    let mut query = Query::parse(&pairs(&uri)).map_err(|error| Refused(StatusCode::BAD_REQUEST, error))?;
    let uuid = path.iter().next().map_or("", |(_, value)| value);
    query.conditions.push(format!("uuid={uuid}"));
    let reply = place.find(*entity, query, session).await?;
    if reply["inventories"].as_array().is_some_and(Vec::is_empty) {
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

    async fn find(&self, entity: Entity, query: Query, session: Option<Session>) -> Result<Value> {
        let viewer = session.map(Viewer::Client).ok_or_else(no_query)?;
        let read = self
            .engine
            .db()
            .read_much(move |tx| Box::pin(async move { query.answer(tx, &entity, &viewer).await }));
        read.await
    }

    async fn session(&self, headers: &HeaderMap, entry: &Entry) -> Result<Option<Session>, Refused> {
        let open = matches!(entry.kind, EntryKind::Ask { open: true, .. });
        let named = headers.get("authorization").and_then(|value| value.to_str().ok());
        if open && named.is_none() {
            return Ok(None);
        }
        let found = self.engine.authenticate(named.unwrap_or_default()).await;
        match found {
            Ok(session) => Ok(Some(session)),
            Err(error) if error.is(codes::DATABASE) => Err(error.into()),
            Err(_) if open => Ok(None),
            Err(error) => Err(Refused(StatusCode::UNAUTHORIZED, error)),
        }
    }
}

/// Makes the job durable, then acknowledges it, then starts it.
async fn accept(
    engine: &Engine,
    api: &'static str,
    session: Session,
    params: Value,
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let id = text("x-job-uuid").map(job_id).transpose()?.unwrap_or_else(Id::random);
    let new = NewJob {
        id,
        api,
        account: session.account,
        params: engine.without_secrets(api, params.clone()),
        web_hook: text("x-web-hook").map(str::to_owned),
    };
    // On its own, for the client may hang up: a job that was entered is worked on by nobody else.
    let entered = tokio::spawn(enter(engine.clone(), new, params)).await;
    entered.unwrap_or_else(|_| Err(codes::INTERNAL.because("entering the job panicked").into()))?;
    let host = text("host").unwrap_or("127.0.0.1");
    let location = format!("http://{host}/zstack/v1/api-jobs/{id}");
    Ok((StatusCode::ACCEPTED, Json(json!({ "location": location }))).into_response())
}

async fn enter(engine: Engine, new: NewJob, params: Value) -> Result<(), Refused> {
    let (id, api, account, era) = (new.id, new.api, new.account, engine.era()?);
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
    Job::new(&engine, &era, id, (api, account)).hooked(hooked).begin(params);
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
