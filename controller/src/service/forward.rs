//! Passing calls on: who asks is found out here and told there, signed; the answer comes back as it is.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Path, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::any;
use engine::api::{Credentials, Entry, Session, permit};
use engine::{Any, Engine, ErrorCode, Id, Result, Stamp, codes};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::{AWAY, SLOW, TIMEOUT, UNKNOWN, store};

/// Bytes of an answer; requests are bounded as all are.
const LARGEST_ANSWER: usize = 8 << 20;
const CONNECT: Duration = Duration::from_secs(5);
/// What the service may learn of the request's own headers, and the client of the answer's.
const TOLD: [axum::http::HeaderName; 2] = [CONTENT_TYPE, ACCEPT];

/// One that goes where it was sent, and nowhere else.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.connect_timeout(CONNECT).build().expect("the TLS library can be set up")
});

/// A call that is refused here.
struct Refused(StatusCode, ErrorCode);

/// A call as it came.
struct Asking {
    method: Method,
    /// Behind the prefix, as it was written: `/usage?vm=1`.
    target: String,
    headers: HeaderMap,
    body: Bytes,
    request: String,
}

/// What a service is told of who asks.
struct Stated<'c> {
    asking: &'c Asking,
    session: &'c Session,
    path: &'c str,
    at: i64,
}

pub(crate) fn router(engine: &Engine) -> Router {
    let mut router = Router::new();
    for base in ["/zstack/v1/x", "/v1/x"] {
        for rest in ["/{prefix}", "/{prefix}/", "/{prefix}/{*rest}"] {
            router = router.route(&format!("{base}{rest}"), any(forward));
        }
    }
    router.with_state(engine.clone())
}

async fn forward(
    State(engine): State<Engine>,
    Path(parts): Path<Vec<(String, String)>>,
    OriginalUri(uri): OriginalUri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let prefix = parts.first().map_or("", |(_, prefix)| prefix);
    let whole = uri.path_and_query().map_or("", |whole| whole.as_str());
    let session = session(&engine, (&method, whole, &headers, &body)).await?;
    let place = store::at(&mut engine.db().read().await?, prefix).await?;
    let target = whole.split_once(&format!("/x/{prefix}")).map(|(_, rest)| rest.to_owned());
    let (Some(place), Some(target)) = (place, target) else {
        let details = format!("there is no service with the prefix \"{prefix}\": see GET /v1/services");
        return Err(Refused(StatusCode::NOT_FOUND, UNKNOWN.because(details)));
    };
    let asking = Asking { method, target, request: request(&headers), headers, body };
    let url = target_url(&place.url, &asking.target)?;
    let limit = engine.setting(&TIMEOUT);
    match tokio::time::timeout(limit, pass_on(&place, url, &asking, &session)).await {
        Ok(answer) => answer,
        Err(_) => Err(slow(&place)),
    }
}

/// Who asks, if that may ask services. A user needs a policy that allows `service:CallService` to do more than
/// look.
async fn session(
    engine: &Engine,
    (method, whole, headers, body): (&Method, &str, &HeaderMap, &Bytes),
) -> Result<Session, Refused> {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credentials = Credentials {
        authorization: authorization.unwrap_or_default().to_owned(),
        method: method.clone(),
        path_and_query: whole.to_owned(),
        headers: headers.clone(),
        body: body.clone(),
    };
    let session =
        engine.authenticate(credentials).await.map_err(|error| match error.is(codes::DATABASE) {
            true => Refused(StatusCode::SERVICE_UNAVAILABLE, error),
            false => Refused(StatusCode::UNAUTHORIZED, error),
        })?;
    let verb = if matches!(*method, Method::GET | Method::HEAD) { "GET" } else { "POST" };
    permit(&Entry::elsewhere("CallService", "service", verb), &session)
        .map_err(|error| Refused(StatusCode::FORBIDDEN, error))?;
    Ok(session)
}

/// What the client calls its request, or a name of our own.
fn request(headers: &HeaderMap) -> String {
    let named = headers.get("x-request-id").and_then(|value| value.to_str().ok()?.parse::<Id<Any>>().ok());
    named.unwrap_or_else(Id::random).to_string()
}

/// Below the service's own URL, whatever dots there are.
fn target_url(base: &str, target: &str) -> Result<Url, Refused> {
    let text = format!("{}{target}", base.trim_end_matches('/'));
    let bad = |details: String| Refused(StatusCode::BAD_REQUEST, codes::INVALID_ARGUMENT.because(details));
    let url: Url = text.parse().map_err(|e| bad(format!("\"{target}\" is no path of a service: {e}")))?;
    match url.as_str().trim_end_matches('/') == text.trim_end_matches('/') {
        true => Ok(url),
        false => Err(bad(format!("\"{target}\" leads elsewhere: write the path without dots, and encoded"))),
    }
}

async fn pass_on(
    place: &store::Place,
    url: Url,
    asking: &Asking,
    session: &Session,
) -> Result<Response, Refused> {
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let stated = Stated { asking, session, path: &path, at: Stamp::now().millis().cast_signed() };
    let mut call = CLIENT.request(asking.method.clone(), url).body(asking.body.clone());
    for name in TOLD {
        if let Some(value) = asking.headers.get(&name) {
            call = call.header(name, value);
        }
    }
    for (name, value) in stated.headers(&place.secret) {
        call = call.header(name, value);
    }
    let answer = call.send().await.map_err(|e| failed(place, &e))?;
    tracing::debug!(service = place.name, request = asking.request, status = %answer.status(), "passed on");
    give_back(place, answer, asking).await
}

/// The service's answer, whole or not at all.
async fn give_back(
    place: &store::Place,
    mut answer: reqwest::Response,
    asking: &Asking,
) -> Result<Response, Refused> {
    let status = answer.status();
    if status.is_informational() || status.is_redirection() {
        return Err(away(place, &format!("it answered {status}, which is no answer of a service")));
    }
    let kind = answer.headers().get(CONTENT_TYPE).cloned();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|e| failed(place, &e))? {
        if body.len() + piece.len() > LARGEST_ANSWER {
            return Err(away(place, &format!("its answer is larger than {LARGEST_ANSWER} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    let mut response = Response::builder().status(status).header("x-cumulet-request", &asking.request);
    if let Some(kind) = kind {
        response = response.header(CONTENT_TYPE, kind);
    }
    let response = response.header(X_CONTENT_TYPE_OPTIONS, "nosniff").body(Body::from(body));
    response.map_err(|e| away(place, &e.to_string()))
}

impl Stated<'_> {
    /// `x-cumulet-signature` is over the lines of everything else that is said here.
    fn headers(&self, secret: &str) -> [(&'static str, String); 6] {
        let Stated { asking, session, path, at } = self;
        let (account, admin) = (session.account.to_string(), session.admin.to_string());
        let user = session.user.map(|user| user.to_string()).unwrap_or_default();
        let (at, request) = (at.to_string(), asking.request.clone());
        let sum = hex::encode(Sha256::digest(&asking.body));
        let lines = [asking.method.as_str(), path, &at, &request, &account, &user, &admin, &sum].join("\n");
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
        mac.update(lines.as_bytes());
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        [
            ("x-cumulet-account", account),
            ("x-cumulet-user", user),
            ("x-cumulet-admin", admin),
            ("x-cumulet-request", request),
            ("x-cumulet-timestamp", at),
            ("x-cumulet-signature", signature),
        ]
    }
}

/// Without the URL, which may hold a password.
fn failed(place: &store::Place, error: &reqwest::Error) -> Refused {
    match error {
        _ if error.is_timeout() && !error.is_connect() => slow(place),
        _ if error.is_connect() => away(place, "nobody listens at its address"),
        _ => away(place, "it hung up, or does not speak HTTP"),
    }
}

fn away(place: &store::Place, why: &str) -> Refused {
    let details = format!("service \"{}\" gives no answer: {why}", place.name);
    Refused(StatusCode::BAD_GATEWAY, AWAY.because(details))
}

fn slow(place: &store::Place) -> Refused {
    let details = format!(
        "service \"{}\" did not answer in time; whether it did what was asked is not known",
        place.name
    );
    Refused(StatusCode::GATEWAY_TIMEOUT, SLOW.because(details))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<ErrorCode> for Refused {
    fn from(error: ErrorCode) -> Self {
        Refused(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_a_services_url() {
        let url = |target| target_url("http://a:1/api", target).ok().map(|url| url.to_string());
        assert_eq!(url("/usage?vm=a%20b").unwrap(), "http://a:1/api/usage?vm=a%20b");
        assert_eq!(url("").unwrap(), "http://a:1/api");
        for bad in ["/../admin", "/a/%2e%2e/%2e%2e/admin", "/./x", "\\evil"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }
}
