//! Messages between controllers: over HTTP, to whom the ring names.
//!
//! Every message may come twice, and a sender that hears nothing sends it again, perhaps to another: what a
//! message asks for is idempotent. Controllers know each other by a secret in their database.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use wire::TaskId;
use wire::call::TASK_UUID;
use wire::caller::{CALLBACK_PATH, Outcome, Told};

use crate::args;
use crate::db::{Db, Tx};
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::flow::{self, FlowView, Guard};
use crate::id::{Any, Id};
use crate::node::ring::Member;
use crate::queue::View;

const SECRET: &str = "SELECT value FROM secret WHERE name = 'bus'";
const FIRST: &str = "INSERT INTO secret (name, value) VALUES ('bus', $1) ON CONFLICT (name) DO NOTHING";

const FLOWS: &str = "/cumulet/flows";
const QUEUES: &str = "/cumulet/queues";
const OUTCOMES: &str = "/cumulet/outcomes";
const HEADER: &str = "x-cumulet-bus";
/// Which machine told an outcome.
const PEER: &str = "x-cumulet-peer";

/// No outcome is larger.
const LARGEST: usize = 64 << 20;
/// So many outcomes are passed on at a time. More are dropped: who waits for one asks the agent.
const PASSING: usize = 64;
const PASSED_WITHIN: Duration = Duration::from_secs(3);

/// The way to the other controllers.
pub(crate) struct Bus {
    secret: String,
    passing: Arc<Semaphore>,
}

/// A flow to be begun by the owner of its resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub name: String,
    pub id: Id<FlowView>,
    pub job: Option<Id<Any>>,
    pub resource: Id<Any>,
    pub title: String,
    pub body: Value,
    /// Who must still have the flow that this one is a part of.
    #[serde(default)]
    pub parent: Option<Guard>,
}

/// What was not done because nobody was reached.
#[derive(Debug)]
pub(crate) struct Unreachable(pub String);

impl Bus {
    pub async fn of(db: &Db) -> Result<Bus> {
        let fresh = format!("{}{}", Id::<Any>::random(), Id::<Any>::random());
        let secret = db.write(|tx| Box::pin(secret(tx, fresh))).await?;
        Ok(Bus { secret, passing: Arc::new(Semaphore::new(PASSING)) })
    }

    /// Has `member` begin the flow; returns when it has begun, or with the reason why it cannot.
    pub async fn begin(
        &self,
        client: &reqwest::Client,
        member: &Member,
        message: &Begin,
    ) -> Result<Result<()>, Unreachable> {
        let unreachable = |error: reqwest::Error| Unreachable(format!("{}: {error}", member.url));
        let url = format!("{}{FLOWS}", member.url);
        let sent = client.post(url).header(HEADER, &self.secret).json(message).send().await;
        let answer = sent.map_err(unreachable)?;
        match answer.status() {
            StatusCode::OK => Ok(Ok(())),
            StatusCode::CONFLICT => Ok(Err(answer.json::<ErrorCode>().await.map_err(unreachable)?)),
            status => Err(Unreachable(format!("{} answers with HTTP status {status}", member.url))),
        }
    }
}

impl Bus {
    /// The queues in use at `member`.
    pub async fn queues(&self, client: &reqwest::Client, member: &Member) -> Result<Vec<View>> {
        let url = format!("{}{QUEUES}", member.url);
        let request = client.get(url).header(HEADER, &self.secret).timeout(Duration::from_secs(3));
        let answer = async { request.send().await?.error_for_status()?.json().await };
        answer.await.map_err(|e: reqwest::Error| codes::IO.because(format!("controller {}: {e}", member.url)))
    }

    /// Whether somebody at `member` waited for the outcome.
    async fn pass(&self, client: &reqwest::Client, member: &Member, outcome: &Outcome) -> bool {
        let url = format!("{}{OUTCOMES}", member.url);
        let mut request = client.post(url).header(HEADER, &self.secret).timeout(PASSED_WITHIN);
        if let Some(peer) = outcome.peer {
            request = request.header(PEER, peer.to_string());
        }
        let request = request.header(TASK_UUID, outcome.task.as_str()).body(outcome.body.clone());
        match request.send().await {
            Ok(answer) => answer.status() == StatusCode::OK,
            Err(error) => {
                tracing::debug!(to = member.url, %error, "an outcome was not passed on");
                false
            }
        }
    }
}

impl Engine {
    /// Where agents may tell what they cannot tell us: the callback URLs of the other controllers. Each begins
    /// with the one behind it, so that they do not all go to the same.
    pub(crate) fn other_ears(&self) -> Option<String> {
        let (era, ring) = (self.era().ok()?, self.eras().ring());
        let members = ring.members();
        let own = members.iter().position(|member| member.id == era.id)?;
        let others = members[own + 1..].iter().chain(&members[..own]);
        let urls: Vec<_> = others.map(|member| format!("{}{CALLBACK_PATH}", member.url)).collect();
        (!urls.is_empty()).then(|| urls.join(" "))
    }

    /// Passes an outcome for which nobody waits here to the others, until somebody has waited for it.
    pub(crate) fn pass_on(&self, outcome: Outcome) {
        let Ok(passing) = Arc::clone(&self.bus().passing).try_acquire_owned() else { return };
        let engine = self.clone();
        tokio::spawn(async move {
            let _passing = passing;
            let Ok(era) = engine.era() else { return };
            let (ring, client) = (engine.eras().ring(), engine.caller().client());
            let others = ring.members().iter().filter(|member| member.id != era.id);
            let passed: FuturesUnordered<_> =
                others.map(|member| engine.bus().pass(&client, member, &outcome)).collect();
            let heard = passed.any(std::future::ready).await;
            tracing::debug!(task = %outcome.task, heard, "an outcome was told to the wrong controller");
        });
    }
}

async fn secret(tx: &mut Tx, fresh: String) -> Result<String> {
    tx.exec(FIRST, args![fresh]).await?;
    Ok(tx.one::<(String,)>(SECRET, args![]).await?.0)
}

/// Where other controllers send their messages.
pub fn router(engine: &Engine) -> Router {
    let known = axum::middleware::from_fn_with_state(engine.clone(), only_controllers);
    let routes = Router::new().route(FLOWS, post(begin)).route(QUEUES, get(queues));
    let routes = routes.route(OUTCOMES, post(hear));
    routes.with_state(engine.clone()).route_layer(known)
}

async fn only_controllers(State(engine): State<Engine>, request: Request, next: Next) -> Response {
    let named = request.headers().get(HEADER).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
    match same(named, engine.bus().secret.as_bytes()) {
        true => next.run(request).await,
        false => StatusCode::FORBIDDEN.into_response(),
    }
}

async fn queues(State(engine): State<Engine>) -> Json<Vec<View>> {
    Json(engine.queues().views())
}

/// Goes on when the sender hangs up: a flow that has begun is driven by nobody else.
async fn begin(State(engine): State<Engine>, Json(message): Json<Begin>) -> Response {
    let begun = tokio::spawn(async move { flow::begin_here(&engine, message).await }).await;
    match begun.unwrap_or_else(|_| Err(codes::INTERNAL.because("the flow's beginning panicked"))) {
        Ok(_) => StatusCode::OK.into_response(),
        Err(error) if passing(&error) => (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response(),
        Err(error) => (StatusCode::CONFLICT, Json(error)).into_response(),
    }
}

/// 404 when nobody waits for it here. It is not passed on again: who passes on asks everybody.
async fn hear(State(engine): State<Engine>, headers: HeaderMap, body: Body) -> StatusCode {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (task, peer) = (text(TASK_UUID).and_then(TaskId::parse), text(PEER).map(str::parse).transpose());
    let (Some(task), Ok(peer)) = (task, peer) else { return StatusCode::BAD_REQUEST };
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    match engine.caller().hear(&Outcome { task, body, peer }) {
        Told::Heard => StatusCode::OK,
        Told::Astray => StatusCode::NOT_FOUND,
        Told::Refused => StatusCode::FORBIDDEN,
    }
}

/// Another controller, or this one a moment later, can do it.
fn passing(error: &ErrorCode) -> bool {
    [codes::NO_LEASE, codes::DATABASE, codes::LOST, codes::UNKNOWN_MESSAGE].iter().any(|code| error.is(*code))
}

/// Compares in a time that does not tell how much was right.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
