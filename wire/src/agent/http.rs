//! The agent's HTTP surface.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde::Serialize;
use serde_json::value::RawValue;

use super::headers::Headers;
use super::journal::NotDurable;
use super::replay::raw;
use super::routes::{Ended, Owned, Route, Run, Table};
use super::runner::{Refusal, Runner};
use crate::call::{Fault, Mode, TaskId};
use crate::tls::{self, Live, Role};

/// No command is larger.
const LARGEST: usize = 64 << 20;
/// Who may see what there is.
const LOOKERS: &[Role] = &[Role::Controller, Role::Auditor];

pub struct Server {
    pub runner: Arc<Runner>,
    pub table: Table,
}

#[derive(Serialize)]
struct Known<'a> {
    taskuuid: &'a str,
    path: &'a str,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Listed {
    owned: Vec<Owned>,
}

/// Commands by their paths, so that no plain route with a parameter hides one; then plain routes and
/// ours; every other path is looked up among the commands. With an identity, commands are a controller's, or a
/// neighbour's where that is wanted.
pub fn router(mut server: Server, live: Option<&Live>) -> Router {
    let plain = std::mem::take(&mut server.table.plain);
    let paths: Vec<&'static str> = server.table.calls.keys().copied().collect();
    let commands = paths.into_iter().fold(Router::new(), |router, path| router.route(path, any(command)));
    let looks = Router::new().route("/inventory", get(inventory)).route("/metrics", get(metrics));
    let neighbours = server.table.neighbours;
    let server = Arc::new(server);
    let commands =
        commands.route("/tasks/{taskuuid}", get(task)).fallback(command).with_state(server.clone());
    let rest = std::iter::once((LOOKERS, looks.with_state(server))).chain(plain);
    let Some(live) = live else { return rest.fold(commands, |all, (_, more)| all.merge(more)) };
    let guard = if neighbours { tls::only_or_neighbours } else { tls::only };
    let commands = guard(commands, live, &[Role::Controller]);
    rest.fold(commands, |all, (roles, more)| all.merge(tls::demand(more, live, roles)))
}

async fn task(State(server): State<Arc<Server>>, Path(id): Path<String>) -> Response {
    let known = TaskId::parse(&id).and_then(|id| server.runner.known(&id));
    let Some(known) = known else {
        return json(StatusCode::NOT_FOUND, r#"{"state":"unknown"}"#);
    };
    let outcome = known.outcome.as_deref().map(raw);
    let known = Known { taskuuid: &id, path: &known.path, state: known.state, outcome };
    json(StatusCode::OK, to_json(&known))
}

async fn metrics(State(server): State<Arc<Server>>) -> Response {
    server.runner.scrape()
}

async fn inventory(State(server): State<Arc<Server>>) -> Response {
    match (server.table.inventory)().await {
        Ok(owned) => json(StatusCode::OK, to_json(&Listed { owned })),
        Err(fault) => failed(StatusCode::INTERNAL_SERVER_ERROR, fault),
    }
}

async fn command(State(server): State<Arc<Server>>, request: Request) -> Response {
    let Some(route) = server.table.find(request.uri().path()) else {
        let text = format!("no call {} is served here", request.uri().path());
        return failed(StatusCode::NOT_FOUND, Fault::new(text));
    };
    let headers = match Headers::read(request.headers()) {
        Ok(headers) => headers,
        Err(fault) => return failed(StatusCode::BAD_REQUEST, fault),
    };
    match (route.mode, &headers.task) {
        (Mode::Sync, Some(_)) => failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            Fault::new(format!("{} is synchronous: send it without a taskuuid", route.path)),
        ),
        (Mode::Async, None) => {
            failed(StatusCode::BAD_REQUEST, Fault::new("taskUuid missing in request header"))
        }
        (Mode::Sync, None) => answer(&server, route, headers, request.into_body()).await,
        (Mode::Async, Some(id)) => {
            let id = id.clone();
            acknowledge(&server, route, id, headers, request.into_body()).await
        }
    }
}

async fn answer(server: &Server, route: &Route, headers: Headers, body: Body) -> Response {
    let run = match read(route, body).await {
        Ok((run, _)) => run,
        Err((status, fault)) => return failed(status, fault),
    };
    if let Some(Err(fault)) = headers.fence.as_ref().map(|fence| server.runner.look(fence)) {
        return failed(StatusCode::CONFLICT, fault);
    }
    let ended = server.runner.answer(route.path, headers.fence, run).await;
    json(StatusCode::OK, ended.body)
}

async fn acknowledge(server: &Server, route: &Route, id: TaskId, headers: Headers, body: Body) -> Response {
    let (run, body) = match read(route, body).await {
        Ok(command) => command,
        Err((status, fault)) => return failed(status, fault),
    };
    let body = std::str::from_utf8(&body).expect("just read as text");
    match server.runner.admit(route, id, &headers, body, run).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(Refusal::Fenced(fault)) => failed(StatusCode::CONFLICT, fault),
        Err(Refusal::Busy) => {
            let text = "the same task is just being accepted: send it again";
            failed(StatusCode::SERVICE_UNAVAILABLE, Fault::new(text))
        }
        Err(Refusal::NotDurable(reason)) => failed(status_of(&reason), Fault::from(reason)),
    }
}

/// Reads and parses a command. The text is what the journal keeps: one line.
async fn read(route: &Route, body: Body) -> Result<(Run, Bytes), (StatusCode, Fault)> {
    let body = axum::body::to_bytes(body, LARGEST).await.map_err(|error| {
        let text = format!("the command's body was not read (no more than {LARGEST} bytes are): {error}");
        (StatusCode::PAYLOAD_TOO_LARGE, Fault::new(text))
    })?;
    let malformed = |fault| (StatusCode::BAD_REQUEST, fault);
    let text = std::str::from_utf8(&body).map_err(|error| malformed(error.into()))?;
    let run = route.parse(text.as_bytes()).map_err(malformed)?;
    let body = if body.is_empty() { Bytes::from_static(b"{}") } else { without_line_feeds(body) };
    Ok((run, body))
}

/// In JSON, line feeds stand between tokens only.
fn without_line_feeds(json: Bytes) -> Bytes {
    if !json.contains(&b'\n') {
        return json;
    }
    let mut json = Vec::from(json);
    json.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    json.into()
}

fn status_of(reason: &NotDurable) -> StatusCode {
    match reason {
        NotDurable::Disk(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        NotDurable::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        NotDurable::Closed => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn failed(status: StatusCode, fault: Fault) -> Response {
    json(status, Ended::failed(fault).body)
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("has only string keys")
}
