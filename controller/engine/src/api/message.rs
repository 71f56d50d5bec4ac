//! ZStack's message endpoint, which its older clients speak: a call is named by its message, answered at once
//! or polled. Each message becomes the request that it stands for, and goes the way of all requests.
//!
//! ```text
//! POST /zstack/api          {"org.zstack.header.zone.APICreateZoneMsg": {"name": "z", "session": {"uuid": "…"}}}
//!                        ◀─ {"uuid": "<ticket>", "state": "Processing"}
//! GET  /zstack/api/result/<ticket>
//!                        ◀─ {"uuid": "<ticket>", "state": "Done", "result": "{\"…Event\":{\"success\":true,…}}"}
//! ```
//!
//! Who polls proves nothing but to know the ticket: it is random, and no id of a job.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::response::Json;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use tower::ServiceExt;
use url::form_urlencoded;

use super::{Entry, EntryKind, job};
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Any, Id};

/// Members of every message that are no parameters.
const ENVELOPE: &[&str] = &["session", "timeout", "id", "serviceId", "headers", "createdTime"];
const TAGS: &[&str] = &["systemTags", "userTags"];
const LARGEST: usize = 64 << 20;
/// What a polled answer is called: the client has not said again which message it was.
const EVENT: &str = "org.zstack.header.message.APIEvent";

/// How a condition of a message is written in a URL.
const OPERATORS: &[(&str, &str)] = &[
    ("=", "="),
    ("!=", "!="),
    (">", ">"),
    (">=", ">="),
    ("<", "<"),
    ("<=", "<="),
    ("in", "?="),
    ("not in", "!?="),
    ("like", "~="),
    ("not like", "!~="),
    ("is null", " is null"),
    ("is not null", " not null"),
];

#[derive(Clone)]
struct Desk {
    engine: Engine,
    calls: Router,
    /// Calls that are known and not there.
    missing: Arc<[Arc<Entry>]>,
}

/// A message as it came.
struct Message {
    /// `org.zstack.header.zone.APICreateZone`
    name: String,
    params: Map<String, Value>,
    session: Option<String>,
    tags: Map<String, Value>,
}

/// The endpoint, before the calls that it stands for.
pub(super) fn router(engine: &Engine, calls: Router, missing: Vec<Arc<Entry>>) -> Router {
    let desk = Desk { engine: engine.clone(), calls, missing: missing.into() };
    Router::new()
        .route("/zstack/api", post(take))
        .route("/zstack/api/", post(take))
        .route("/zstack/api/{*rest}", get(result))
        .with_state(desk)
}

async fn take(State(desk): State<Desk>, request: Request) -> Json<Value> {
    let ticket = Id::<Any>::random();
    Json(match desk.answer(ticket, request).await {
        Ok(reply) => reply,
        Err(error) => done(ticket, "org.zstack.header.message.APIReply", Err(error)),
    })
}

/// `result/<ticket>`; some clients leave the slash between out.
async fn result(State(desk): State<Desk>, Path(rest): Path<String>) -> (StatusCode, Json<Value>) {
    let ticket = rest.strip_prefix("result").map(|rest| rest.trim_matches('/'));
    let Some(ticket) = ticket.and_then(|text| text.parse::<Id<Any>>().ok()) else {
        let error = codes::UNKNOWN_MESSAGE.because(format!("there is nothing at /zstack/api/{rest}"));
        return (StatusCode::NOT_FOUND, Json(json!({ "error": error })));
    };
    let polled = async { job::poll(&mut desk.engine.db().read().await?, job_of(ticket), None).await };
    match polled.await {
        Ok((StatusCode::ACCEPTED, _)) => (StatusCode::OK, Json(processing(ticket))),
        Ok((StatusCode::NOT_FOUND, body)) => (StatusCode::NOT_FOUND, Json(body)),
        Ok((status, body)) => (StatusCode::OK, Json(done(ticket, EVENT, outcome(status, body)))),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": error }))),
    }
}

/// The job that a ticket is for.
fn job_of(ticket: Id<Any>) -> Id<Any> {
    Id::derived(&["message", &ticket.to_string()])
}

fn processing(ticket: Id<Any>) -> Value {
    json!({ "uuid": ticket, "state": "Processing" })
}

fn done(ticket: Id<Any>, name: &str, outcome: Result<Value>) -> Value {
    let mut members = match outcome {
        Ok(members) => members,
        Err(error) => json!({ "error": error }),
    };
    members["success"] = members["error"].is_null().into();
    if let Some(members) = members.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    json!({ "uuid": ticket, "state": "Done", "result": json!({ name: members }).to_string() })
}

fn outcome(status: StatusCode, mut body: Value) -> Result<Value> {
    match status.is_success() {
        true => Ok(body),
        false => Err(serde_json::from_value(body["error"].take())?),
    }
}

impl Desk {
    async fn answer(&self, ticket: Id<Any>, request: Request) -> Result<Value> {
        let from = request.extensions().get::<ConnectInfo<std::net::SocketAddr>>().copied();
        let body = to_bytes(request.into_body(), LARGEST).await;
        let body =
            body.map_err(|e| codes::INVALID_ARGUMENT.because(format!("the body is unreadable: {e}")))?;
        let message = Message::read(&body)?;
        let entry = self.entry(message.call())?;
        let (reply, name) = match entry.kind {
            EntryKind::Job { .. } => ("Event", &message.name),
            _ => ("Reply", &message.name),
        };
        let name = format!("{name}{reply}");
        let mut request = message.request(entry, ticket)?;
        from.map(|from| request.extensions_mut().insert(from));
        let answered = self.calls.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let (status, body) = (answered.status(), to_bytes(answered.into_body(), LARGEST).await);
        if status == StatusCode::ACCEPTED {
            return Ok(processing(ticket));
        }
        let body = body.map_err(|e| codes::INTERNAL.because(format!("an answer was cut off: {e}")))?;
        Ok(done(ticket, &name, outcome(status, serde_json::from_slice(&body)?)))
    }

    fn entry(&self, call: &str) -> Result<&Entry> {
        let named = |entry: &&Arc<Entry>| entry.route.name == call;
        if let Some(known) = self.missing.iter().find(named) {
            return Err(known.not_there());
        }
        let found = self.engine.entries().iter().find(named);
        found.map(AsRef::as_ref).ok_or_else(|| {
            codes::UNKNOWN_MESSAGE
                .because(format!("there is no call {call}: see GetSupportAPIs for those that are"))
        })
    }
}

impl Message {
    fn read(body: &[u8]) -> Result<Message> {
        let wrong = || {
            let details = "the body must be a JSON object of one message: {\"org.zstack.….API…Msg\": {…}}";
            codes::INVALID_ARGUMENT.because(details)
        };
        let message: Map<String, Value> = serde_json::from_slice(body).map_err(|_| wrong())?;
        let (name, params) = message.into_iter().next().ok_or_else(wrong)?;
        let name = name.strip_suffix("Msg").unwrap_or(&name).to_owned();
        let Value::Object(mut params) = params else { return Err(wrong()) };
        let session = params.get("session").and_then(|session| session["uuid"].as_str()).map(str::to_owned);
        params.retain(|name, value| !value.is_null() && !ENVELOPE.contains(&name.as_str()));
        let tags = TAGS.iter().filter_map(|name| params.remove_entry(*name)).collect();
        Ok(Message { name, params, session, tags })
    }

    /// `CreateZone`
    fn call(&self) -> &str {
        let last = self.name.rsplit('.').next().unwrap_or_default();
        last.strip_prefix("API").unwrap_or(last)
    }

    /// The request that the message stands for.
    fn request(mut self, entry: &Entry, ticket: Id<Any>) -> Result<Request> {
        let route = entry.route;
        let mut path = route.path.to_owned();
        for name in route.in_path() {
            let value = self.params.remove(name).ok_or_else(|| missing(name, route.name))?;
            path = path.replace(&format!("{{{name}}}"), &encoded(&text(&value)));
        }
        let mut body = Value::Null;
        match &entry.kind {
            EntryKind::Query(_) => path = format!("{path}?{}", url(asked(self.params)?)),
            _ if route.body.is_none() => {
                path = format!("{path}?{}", url(self.params.into_iter().flat_map(flat)))
            }
            _ => {
                body = json!({ route.body.unwrap_or_default(): self.params });
                body.as_object_mut().into_iter().for_each(|members| members.extend(self.tags.clone()));
            }
        }
        let session = self.session.map(|session| format!("OAuth {session}")).unwrap_or_default();
        let request =
            Request::builder().method(route.method()).uri(path).header(CONTENT_TYPE, "application/json");
        let request = if session.is_empty() { request } else { request.header(AUTHORIZATION, session) };
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = request.header("x-job-uuid", job_of(ticket).to_string()).body(body);
        request.map_err(|e| codes::INVALID_ARGUMENT.because(format!("the message is no request: {e}")))
    }
}

fn missing(name: &str, call: &str) -> ErrorCode {
    codes::INVALID_ARGUMENT.because(format!("{call} at \"{name}\": missing field `{name}`"))
}

/// A query's members as a URL has them.
fn asked(params: Map<String, Value>) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let descending = params.get("sortDirection").is_some_and(|direction| direction == "desc");
    for (name, value) in params {
        match name.as_str() {
            "conditions" => {
                for condition in value.as_array().into_iter().flatten() {
                    pairs.push(("q".to_owned(), condition_of(condition)?));
                }
            }
            "sortBy" => {
                let sign = if descending { "-" } else { "+" };
                pairs.push(("sort".to_owned(), format!("{sign}{}", text(&value))));
            }
            "sortDirection" => {}
            "fields" => {
                let names: Vec<_> = value.as_array().into_iter().flatten().map(text).collect();
                pairs.push((name, names.join(",")));
            }
            _ => pairs.push((name, text(&value))),
        }
    }
    Ok(pairs)
}

fn condition_of(condition: &Value) -> Result<String> {
    let part = |name: &str| condition.get(name).map(text).unwrap_or_default();
    let (name, op, value) = (part("name"), part("op"), part("value"));
    let sign = OPERATORS.iter().find(|(known, _)| *known == op).ok_or_else(|| {
        let known: Vec<_> = OPERATORS.iter().map(|(known, _)| *known).collect();
        codes::INVALID_ARGUMENT.because(format!("\"{op}\" is no operator; there are {}", known.join(", ")))
    })?;
    Ok(match op.ends_with("null") {
        true => format!("{name}{}", sign.1),
        false => format!("{name}{}{value}", sign.1),
    })
}

/// A parameter as a URL has it: a list comes several times.
fn flat((name, value): (String, Value)) -> Vec<(String, String)> {
    match value {
        Value::Array(list) => list.iter().map(|one| (name.clone(), text(one))).collect(),
        one => vec![(name, text(&one))],
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn url(pairs: impl IntoIterator<Item = (String, String)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// For a path, where a blank is no plus.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_apart() {
        let body = json!({ "org.zstack.header.zone.APICreateZoneMsg": {
            "name": "z", "description": null, "session": { "uuid": "s" }, "timeout": 1, "userTags": ["a"],
        }});
        let message = Message::read(body.to_string().as_bytes()).unwrap();
        assert_eq!((message.call(), message.session.as_deref()), ("CreateZone", Some("s")));
        assert_eq!(Value::Object(message.params), json!({ "name": "z" }));
        assert_eq!(Value::Object(message.tags), json!({ "userTags": ["a"] }));
        assert!(Message::read(b"[]").is_err());
    }

    #[test]
    fn conditions_are_written_as_urls_have_them() {
        for (op, expected) in
            [("=", "name=x"), ("in", "name?=x"), ("not like", "name!~=x"), ("is null", "name is null")]
        {
            assert_eq!(condition_of(&json!({ "name": "name", "op": op, "value": "x" })).unwrap(), expected);
        }
        let error = condition_of(&json!({ "name": "name", "op": "is" })).unwrap_err();
        assert!(error.details().contains("not in"), "{error}");
    }
}
