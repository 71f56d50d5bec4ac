//! Plain HTTP: hypervisors fetch images, uploaders bring them.
//!
//! `GET /images`, `GET /images/{uuid}` (ranges, ETag), `PUT /images/{uuid}?token=…`.

use std::collections::HashMap;
use std::io::SeekFrom;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;
use wire::Fault;
use wire::call::to_body;

use crate::import::on_store;
use crate::import::upload::{Answer, Arrival, Part, drain};
use crate::store::{Image, ImageId, Store};
use crate::{Storage, blocking, operations};

const CHUNK: usize = 1 << 20;

/// An answer that is not the one that was wished for.
struct Refusal(StatusCode, String);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    uuid: String,
    backup_storage_uuid: String,
    format: host::qcow2::Format,
    size: u64,
    actual_size: u64,
    md5_sum: String,
    sha256: String,
}

pub fn router(storage: Arc<Storage>) -> Router {
    Router::new()
        .route("/images", get(list))
        .route("/images/{uuid}", get(send).put(receive))
        .with_state(storage)
}

/// What clients may do at the door for uploads.
pub fn uploads(storage: Arc<Storage>) -> Router {
    Router::new().route("/images/{uuid}", put(receive)).with_state(storage)
}

async fn list(State(storage): State<Arc<Storage>>) -> Result<Response, Refusal> {
    let mut images = Vec::new();
    for store in storage.stores.all().await {
        images.extend(blocking(move || listed(&store)).await?);
    }
    Ok(Json(json!({ "images": images })).into_response())
}

fn listed(store: &Store) -> Result<Vec<Listed>, crate::store::Error> {
    let mut images = Vec::new();
    for id in store.images()? {
        match store.image(&id) {
            Ok(Some(image)) => images.push(Listed::new(store, &id, image)),
            Ok(None) => {}
            Err(error) => tracing::warn!(store = store.uuid, image = %id, %error, "left out of the list"),
        }
    }
    Ok(images)
}

impl Listed {
    fn new(store: &Store, id: &ImageId, image: Image) -> Self {
        Listed {
            uuid: id.to_string(),
            backup_storage_uuid: store.uuid.clone(),
            format: image.format,
            size: image.virtual_size,
            actual_size: image.length,
            md5_sum: image.md5,
            sha256: image.sha256,
        }
    }
}

async fn send(
    State(storage): State<Arc<Storage>>,
    Path(uuid): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let id = uuid.parse()?;
    let (store, image) = find(&storage, &id).await?;
    let tag = format!("\"{}\"", image.sha256);
    if text(&headers, &IF_NONE_MATCH).is_some_and(|known| known == "*" || known.contains(&tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let same = text(&headers, &IF_RANGE).is_none_or(|known| known == tag);
    let range = text(&headers, &RANGE).filter(|_| same).map_or(Span::All, |range| span(range, image.length));
    let (status, from, to) = match range {
        Span::All => (StatusCode::OK, 0, image.length),
        Span::Part { from, to } => (StatusCode::PARTIAL_CONTENT, from, to),
        Span::Beyond => {
            let range = format!("bytes */{}", image.length);
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, range)]).into_response());
        }
    };
    let mut file = File::open(store.bits(&id)).await.map_err(internal)?;
    file.seek(SeekFrom::Start(from)).await.map_err(internal)?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(to - from), CHUNK));
    let mut response = (status, body).into_response();
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(CONTENT_LENGTH, (to - from).into());
    fields.insert(ETAG, HeaderValue::try_from(tag).map_err(internal)?);
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {from}-{}/{}", to - 1, image.length);
        fields.insert(CONTENT_RANGE, HeaderValue::try_from(range).map_err(internal)?);
    }
    Ok(response)
}

async fn find(storage: &Storage, id: &ImageId) -> Result<(Store, Image), Refusal> {
    let mut broken = None;
    for store in storage.stores.all().await {
        match on_store(&store, id, Store::image).await {
            Ok(Some(image)) => return Ok((store, image)),
            Ok(None) => {}
            Err(error) => broken = Some(error),
        }
    }
    match broken {
        Some(error) => Err(error.into()),
        None => Err(Refusal(StatusCode::NOT_FOUND, format!("image {id} is not here"))),
    }
}

async fn receive(
    State(storage): State<Arc<Storage>>,
    Path(uuid): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    request: Request<Body>,
) -> Response {
    let (head, body) = request.into_parts();
    let body = body.into_data_stream();
    let answer = match part(&head.headers) {
        Err(refusal) => Err((refusal, body)),
        Ok(part) => hand_in(&storage, &uuid, query.get("token"), part, body).await,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err((refusal, body)) => {
            tokio::spawn(drain(body));
            return refusal.into_response();
        }
    };
    match answer.await {
        Ok(answer) => answer.into_response(),
        Err(_) => Refusal(StatusCode::CONFLICT, "the import ended meanwhile".into()).into_response(),
    }
}

type Handed = Result<oneshot::Receiver<Answer>, (Refusal, axum::body::BodyDataStream)>;

async fn hand_in(
    storage: &Storage,
    uuid: &str,
    token: Option<&String>,
    part: Part,
    body: axum::body::BodyDataStream,
) -> Handed {
    let id: ImageId = match uuid.parse() {
        Ok(id) => id,
        Err(error) => return Err((Refusal::from(error), body)),
    };
    let running = storage.imports.running(&id);
    let Some(door) = running.as_ref().and_then(|running| running.door.as_ref()) else {
        return Err((nobody_waits(storage, &id).await, body));
    };
    if !token.is_some_and(|token| door.opens_to(token)) {
        let text = format!("the token is not the one for image {id}");
        return Err((Refusal(StatusCode::FORBIDDEN, text), body));
    }
    let (to_tell, answer) = oneshot::channel();
    match door.enter(Arrival { body, part, answer: to_tell }) {
        Ok(()) => Ok(answer),
        Err(arrival) => {
            let text = format!("image {id} is being uploaded already: wait until that ends");
            Err((Refusal(StatusCode::CONFLICT, text), arrival.body))
        }
    }
}

async fn nobody_waits(storage: &Storage, id: &ImageId) -> Refusal {
    match find(storage, id).await {
        Ok(_) => Refusal(StatusCode::CONFLICT, format!("image {id} is there already: its token is spent")),
        Err(_) => {
            let text = format!("no upload of image {id} is awaited: it ended, or has not been asked for");
            Refusal(StatusCode::NOT_FOUND, text)
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Answer::Accepted(image) => {
                let reply = operations::downloaded(*image, None);
                (StatusCode::CREATED, Json(to_body(&Ok(reply)))).into_response()
            }
            Answer::Received(bytes) => {
                Json(json!({ "success": true, "complete": false, "received": bytes })).into_response()
            }
            Answer::Gap(bytes) => {
                let error = format!("{bytes} bytes are there: continue from that byte");
                let body = json!({ "success": false, "error": error, "received": bytes });
                (StatusCode::CONFLICT, Json(body)).into_response()
            }
            Answer::Refused(status, error) => Refusal(status, error).into_response(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = to_body::<()>(&Err(Fault::new(self.1)));
        (self.0, Json(body)).into_response()
    }
}

impl From<crate::store::BadId> for Refusal {
    fn from(error: crate::store::BadId) -> Self {
        Refusal(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<crate::store::Error> for Refusal {
    fn from(error: crate::store::Error) -> Self {
        internal(error)
    }
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

#[derive(Debug, PartialEq, Eq)]
enum Span {
    All,
    Part { from: u64, to: u64 },
    Beyond,
}

/// One range of bytes; several, or what is not understood, are the whole, as RFC 9110 permits.
fn span(range: &str, length: u64) -> Span {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Span::All;
    };
    let (from, to) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if last >= first => (first, last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.is_empty() => (first, length),
        (Err(_), Ok(last)) if first.is_empty() => (length.saturating_sub(last), length),
        _ => return Span::All,
    };
    if from < to { Span::Part { from, to } } else { Span::Beyond }
}

/// What of the image a request brings.
fn part(headers: &HeaderMap) -> Result<Part, Refusal> {
    let Some(range) = headers.get(CONTENT_RANGE) else {
        let length = text(headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
        return Ok(Part::Whole(length));
    };
    let parsed = range.to_str().ok().and_then(content_range);
    parsed.ok_or_else(|| {
        Refusal(StatusCode::BAD_REQUEST, "the content range is not of the form: bytes 0-99/200".into())
    })
}

fn content_range(range: &str) -> Option<Part> {
    let (span, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (from, last) = span.split_once('-')?;
    let (from, last, total) = (from.parse().ok()?, last.parse::<u64>().ok()?, total.parse().ok()?);
    (from <= last && last < total).then_some(Part::Range { from, to: last + 1, total })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (range, found) in [
            ("bytes=0-0", Span::Part { from: 0, to: 1 }),
            ("bytes=10-", Span::Part { from: 10, to: 100 }),
            ("bytes=10-1000", Span::Part { from: 10, to: 100 }),
            ("bytes=-5", Span::Part { from: 95, to: 100 }),
            ("bytes=-500", Span::Part { from: 0, to: 100 }),
            ("bytes=100-", Span::Beyond),
            ("bytes=-0", Span::Beyond),
            ("bytes=5-4", Span::All),
            ("bytes=0-1,3-4", Span::All),
            ("lines=0-1", Span::All),
        ] {
            assert_eq!(span(range, 100), found, "{range}");
        }
    }

    #[test]
    fn a_content_range_must_be_sound() {
        assert_eq!(content_range("bytes 5-9/20"), Some(Part::Range { from: 5, to: 10, total: 20 }));
        for range in ["bytes 5-4/20", "bytes 5-20/20", "bytes 5-9/*", "5-9/20", "bytes -9/20"] {
            assert_eq!(content_range(range), None, "{range}");
        }
    }
}
