//! What agents say of their own accord: `POST /zstack/asyncrest/sendcommand`, the subject in the header
//! `commandpath`, as ZStack's agents do.
//!
//! 200 when it was understood, 400 without a subject, 403 for another machine's host, 404 for a subject that
//! nobody here listens to.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use engine::{Engine, Id, Result};
use serde::Deserialize;
use wire::call::COMMAND_PATH;
use wire::calls::ha::REPORT_SELF_FENCER;
use wire::tls::Peer;

use crate::ha;
use crate::host::{self, Host};

pub fn router(engine: &Engine) -> Router {
    Router::new().route("/asyncrest/sendcommand", post(hear)).with_state(engine.clone())
}

/// A host that wants to be connected again, or says that it goes down.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfHost {
    host_uuid: Option<Id<Host>>,
    host_ip: Option<String>,
}

async fn hear(
    State(engine): State<Engine>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let Some(subject) = headers.get(COMMAND_PATH).and_then(|value| value.to_str().ok()) else {
        return (StatusCode::BAD_REQUEST, "commandpath missing in request header").into_response();
    };
    let peer = peer.as_ref().map(|peer| &peer.0);
    let heard = match (subject, serde_json::from_str::<OfHost>(&body)) {
        ("/kvm/reconnectme", Ok(OfHost { host_uuid: Some(host), .. })) => {
            host::reconnect(&engine, host, peer).await
        }
        ("/kvm/reporthoststop", Ok(OfHost { host_ip: Some(ip), .. })) => {
            host::went_down(&engine, &ip, peer).await
        }
        (REPORT_SELF_FENCER, _) => match serde_json::from_str(&body) {
            Ok(report) => ha::killed(&engine, report, peer).await,
            Err(_) => return (StatusCode::BAD_REQUEST, "the body is no report of a fencer").into_response(),
        },
        ("/kvm/reconnectme" | "/kvm/reporthoststop", _) => {
            return (StatusCode::BAD_REQUEST, "the body names no host").into_response();
        }
        _ => return (StatusCode::NOT_FOUND, "nobody listens to this subject").into_response(),
    };
    answer(subject, heard)
}

fn answer(subject: &str, heard: Result<()>) -> Response {
    match heard {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) if error.is(host::NOT_ITS_OWN) => {
            tracing::warn!(subject, %error, "what a machine said was refused");
            (StatusCode::FORBIDDEN, error.to_string()).into_response()
        }
        Err(error) => {
            tracing::warn!(subject, %error, "what an agent said had no effect");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}
