//! The browsers' front door: the viewer's page, and the relay behind it. It lets in who has a ticket; what
//! it tells everybody else is the viewer's code and how many viewers there are.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use wire::tls::Live;

use crate::target::LONGEST_MESSAGE;
use crate::tickets::{Refusal, Tickets};
use crate::{assets, relay};

const MOST_CONNECTIONS: usize = 4096;
/// A request must be told within this time.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// How long viewers have to leave when the program stops.
const GOODBYE: Duration = Duration::from_secs(5);

/// Everything from here, nothing inline; noVNC draws cursors as `data:` images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

pub struct Front {
    pub tickets: Arc<Tickets>,
    /// Pages of these origins may open a relay besides our own.
    pub allowed_origins: Vec<String>,
    /// Shown to agents that ask who we are.
    pub live: Option<Live>,
    /// Ends all relays.
    pub shutdown: CancellationToken,
}

#[derive(Deserialize)]
struct WithToken {
    #[serde(default)]
    token: String,
}

/// Serves browsers until `front.shutdown`.
pub async fn serve(listener: TcpListener, front: Front) -> io::Result<()> {
    let shutdown = front.shutdown.clone();
    let router = router(front);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let Ok(place) = places.clone().try_acquire_owned() else { continue };
                let served = connection(stream, router.clone(), shutdown.clone());
                connections.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    connections.close();
    let _ = tokio::time::timeout(GOODBYE, connections.wait()).await;
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let http = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(http);
    let ended = tokio::select! {
        ended = &mut http => ended,
        () = shutdown.cancelled() => {
            http.as_mut().graceful_shutdown();
            http.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a browser's connection broke");
    }
}

fn router(front: Front) -> Router {
    Router::new()
        .route("/vnc.html", get(page))
        .route("/websockify", get(websockify))
        .route("/assets/{version}/{*name}", get(assets::serve))
        .route("/health", get(health))
        .fallback(nothing)
        .layer(middleware::from_fn(guard))
        .with_state(Arc::new(front))
}

async fn guard(request: axum::extract::Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    answer.headers_mut().extend(HEADERS);
    answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

async fn page(State(front): State<Arc<Front>>, Query(with): Query<WithToken>) -> Response {
    match front.tickets.check(&with.token) {
        Ok(()) if assets::COMPLETE => filled("vnc.html", &[]).into_response(),
        Ok(()) => notice(
            StatusCode::SERVICE_UNAVAILABLE,
            "Console not built",
            "This console proxy was built without its web assets: run `npm ci` in console-proxy/web, then build it again.",
        ),
        Err(refusal) => refused(refusal),
    }
}

async fn websockify(
    State(front): State<Arc<Front>>,
    Query(with): Query<WithToken>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    if !is_welcome(&headers, &front.allowed_origins) {
        tracing::warn!(origin = ?headers.get(header::ORIGIN), "a page of another origin asked for a console");
        return notice(
            StatusCode::FORBIDDEN,
            "Not from here",
            "A page of another site asked for this console.",
        );
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let admission = match front.tickets.admit(&with.token) {
        Ok(admission) => admission,
        Err(refusal) => return refused(refusal),
    };
    let upgrade = upgrade
        .protocols(["binary"])
        .max_message_size(LONGEST_MESSAGE)
        .max_frame_size(LONGEST_MESSAGE)
        .max_write_buffer_size(4 * LONGEST_MESSAGE);
    upgrade.on_upgrade(async move |socket| relay::run(socket, admission, &with.token, &front).await)
}

async fn health(State(front): State<Arc<Front>>) -> impl IntoResponse {
    axum::Json(serde_json::json!({
        "status": "ok",
        "consoles": front.tickets.vms().len(),
        "viewerBuilt": assets::COMPLETE,
    }))
}

async fn nothing() -> Response {
    notice(
        StatusCode::NOT_FOUND,
        "Nothing here",
        "Consoles are opened with a link from the cloud's API or command line.",
    )
}

fn refused(refusal: Refusal) -> Response {
    notice(
        StatusCode::FORBIDDEN,
        "Console closed",
        &format!("{refusal} Open the console again where you opened it."),
    )
}

fn notice(status: StatusCode, title: &str, text: &str) -> Response {
    (status, filled("notice.html", &[("{{title}}", title), ("{{text}}", text)])).into_response()
}

/// A page with its gaps filled; what fills them is ours.
fn filled(page: &str, gaps: &[(&str, &str)]) -> Html<String> {
    let text = String::from_utf8_lossy(assets::find(page).unwrap_or_default());
    let text = text.replace("{{assets}}", &assets::base());
    Html(gaps.iter().fold(text, |text, (gap, content)| text.replace(gap, content)))
}

/// Browsers let any page open a WebSocket to anywhere and say whose page it is; only ours and those the
/// operator named may. Programs that are no browsers say nothing; they need a ticket all the same.
fn is_welcome(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").is_some_and(|(scheme, from)| {
        matches!(scheme, "http" | "https") && host.is_some_and(|host| host.eq_ignore_ascii_case(from))
    });
    own || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_and_allowed_ones_are_welcome() {
        let welcome = |origin: &str, allowed: &[String]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("cloud.example:4900"));
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            is_welcome(&headers, allowed)
        };
        assert!(welcome("http://cloud.example:4900", &[]));
        assert!(welcome("https://Cloud.Example:4900", &[]));
        for origin in [
            "http://cloud.example",
            "http://cloud.example:4900.evil",
            "null",
            "http://evil",
            "file://cloud.example:4900",
        ] {
            assert!(!welcome(origin, &[]), "{origin}");
        }
        assert!(welcome("https://ui.example", &["https://ui.example".into()]));
        assert!(is_welcome(&HeaderMap::new(), &[]));
    }
}
