//! What agents say of their own accord: `POST /zstack/asyncrest/sendcommand`, the subject in the header
//! `commandpath`, as ZStack's agents do.
//!
//! 200 when it was understood, 400 without a subject, 404 for one that nobody here listens to.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use engine::{Engine, Id, Result};
use serde::Deserialize;
use wire::call::COMMAND_PATH;

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

async fn hear(State(engine): State<Engine>, headers: HeaderMap, body: String) -> Response {
    let Some(subject) = headers.get(COMMAND_PATH).and_then(|value| value.to_str().ok()) else {
        return (StatusCode::BAD_REQUEST, "commandpath missing in request header").into_response();
    };
    let heard = match (subject, serde_json::from_str::<OfHost>(&body)) {
        ("/kvm/reconnectme", Ok(OfHost { host_uuid: Some(host), .. })) => {
            host::reconnect(&engine, host).await
        }
        ("/kvm/reporthoststop", Ok(OfHost { host_ip: Some(ip), .. })) => host::went_down(&engine, &ip).await,
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
        Err(error) => {
            tracing::warn!(subject, %error, "what an agent said had no effect");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}
