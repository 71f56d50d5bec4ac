//! The API's own pages: the document that tells it, a page to read it by, and one for each error's code. All of
//! it is embedded, loads nothing from elsewhere, and needs no session: it tells no more than the source does.

mod errors;

use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Drawn when somebody asks.
static OPENAPI: LazyLock<String> = LazyLock::new(|| crate::modules::openapi(&[]));

/// `document` tells the API in place of the usual one.
pub(crate) fn router(document: Option<String>) -> Router {
    let document = document.map(Bytes::from);
    let told = async move || match document {
        Some(document) => served("application/json", document),
        None => served("application/json", OPENAPI.as_str()),
    };
    Router::new()
        .route("/openapi.json", get(told))
        .route("/docs", get(|| async { page(StatusCode::OK, PAGE.to_owned()) }))
        .route("/docs/", get(|| async { page(StatusCode::OK, PAGE.to_owned()) }))
        .route("/docs/style.css", get(|| async { served("text/css; charset=utf-8", STYLE) }))
        .route("/docs/script.js", get(|| async { served("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/docs/errors", get(|| async { page(StatusCode::OK, errors::all()) }))
        .route("/docs/errors/{code}", get(error))
}

async fn error(Path(code): Path<String>) -> Response {
    match errors::one(&code) {
        Some(html) => page(StatusCode::OK, html),
        None => page(StatusCode::NOT_FOUND, errors::unknown()),
    }
}

fn served(kind: &'static str, text: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text).into_response()
}

/// Nothing of a page may come from, or go to, another place.
fn page(status: StatusCode, html: String) -> Response {
    let policy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, policy),
    ];
    (status, headers, html).into_response()
}
