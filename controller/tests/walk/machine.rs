//! The controller of a machine, by Redfish: what it is told is so at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

type IsOff = Arc<AtomicBool>;

async fn system(State(off): State<IsOff>) -> Json<Value> {
    Json(json!({ "PowerState": if off.load(Ordering::SeqCst) { "Off" } else { "On" } }))
}

async fn reset(State(off): State<IsOff>, Json(told): Json<Value>) {
    off.store(told["ResetType"] != "On", Ordering::SeqCst);
}

/// The URL of the system, which is on.
pub async fn serve(stop: &CancellationToken) -> String {
    let app = Router::new()
        .route("/system", get(system))
        .route("/system/Actions/ComputerSystem.Reset", post(reset))
        .with_state(IsOff::default());
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}/system", listener.local_addr().unwrap());
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stopped).await });
    url
}
