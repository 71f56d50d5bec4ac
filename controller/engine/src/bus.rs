//! Messages between controllers: over HTTP, to whom the ring names.
//!
//! Every message may come twice, and a sender that hears nothing sends it again, perhaps to another: what a
//! message asks for is idempotent. Controllers know each other by a secret in their database.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
const HEADER: &str = "x-cumulet-bus";

/// The way to the other controllers.
pub(crate) struct Bus {
    secret: String,
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
        Ok(Bus { secret })
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
}

async fn secret(tx: &mut Tx, fresh: String) -> Result<String> {
    tx.exec(FIRST, args![fresh]).await?;
    Ok(tx.one::<(String,)>(SECRET, args![]).await?.0)
}

/// Where other controllers send their messages.
pub fn router(engine: &Engine) -> Router {
    let known = axum::middleware::from_fn_with_state(engine.clone(), only_controllers);
    let routes = Router::new().route(FLOWS, post(begin)).route(QUEUES, get(queues));
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

/// Another controller, or this one a moment later, can do it.
fn passing(error: &ErrorCode) -> bool {
    [codes::NO_LEASE, codes::DATABASE, codes::LOST, codes::UNKNOWN_MESSAGE].iter().any(|code| error.is(*code))
}

/// Compares in a time that does not tell how much was right.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
