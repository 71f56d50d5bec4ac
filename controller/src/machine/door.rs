//! The listener for agents: enrolment for who has a token, everything else for who has a certificate.

use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use engine::{Engine, ErrorCode, Result, codes};
use serde::Serialize;
use wire::Fault;
use wire::call::to_body;
use wire::tls::{self, ENROL, Enrolment, Guest, Live, Peer, RENEW, Renewal, Role, TRUST};

use super::{authority, enrolment};

const MACHINES: &[Role] = &[Role::Host, Role::Storage, Role::ConsoleProxy, Role::Auditor];
/// No request of a machine is larger.
const LARGEST: usize = 64 << 10;

/// `more` is what else certified machines may say.
pub fn door(engine: &Engine, live: &Live, more: Router) -> Router {
    let certified = Router::new().route(RENEW, post(renew)).route(TRUST, get(trust));
    let open = Router::new().route(ENROL, post(enrol)).with_state(engine.clone());
    let limit = DefaultBodyLimit::max(LARGEST);
    let certified = certified.with_state(engine.clone()).layer(limit).merge(more);
    tls::demand(certified, live, MACHINES).merge(open.layer(limit))
}

async fn enrol(
    State(engine): State<Engine>,
    ConnectInfo(guest): ConnectInfo<Guest>,
    Json(asked): Json<Enrolment>,
) -> Response {
    let outcome = enrolment::enrol(&engine, guest.address.ip(), asked).await;
    if let Err(error) = &outcome {
        tracing::warn!(address = %guest.address, %error, "an enrolment was refused");
    }
    answer(outcome)
}

async fn renew(
    State(engine): State<Engine>,
    Extension(peer): Extension<Peer>,
    Json(asked): Json<Renewal>,
) -> Response {
    answer(enrolment::renew(&engine, &peer, asked).await)
}

async fn trust(State(engine): State<Engine>) -> Response {
    let trust = async { authority::trust(&mut engine.db().read().await?).await };
    answer(trust.await)
}

fn answer<T: Serialize>(outcome: Result<T>) -> Response {
    match outcome {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let body = to_body::<()>(&Err(Fault::coded(error.code(), error.details())));
            (status(&error), Json(body)).into_response()
        }
    }
}

fn status(error: &ErrorCode) -> StatusCode {
    match [codes::STATE, codes::NOT_FOUND, codes::INVALID_ARGUMENT].iter().any(|code| error.is(*code)) {
        true => StatusCode::FORBIDDEN,
        false => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
