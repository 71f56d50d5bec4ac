//! Brings a file of a storage to an image store that awaits it, part by part. The store inspects what comes
//! and answers when it has it whole; who repeats the command goes on where the last one ended, or finds it
//! there.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::Url;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::localstorage::{Upload, Uploaded};

use super::layers::{check_idle, existing};
use crate::state::Host;

/// So long the store may need until it awaits the image, or has looked at it.
const AWAITED: Duration = Duration::from_secs(600);
const AGAIN: Duration = Duration::from_millis(500);
/// Bytes that go at a time.
const PART: u64 = 16 << 20;

pub async fn upload(cx: Cx<Host>, cmd: Upload) -> Result<Uploaded, Fault> {
    let url = Url::parse(&cmd.url).map_err(|error| Fault::new(format!("url: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Fault::new("an image is brought by http or https"));
    }
    let path = existing(&cx, &cmd.install_path).await?;
    check_idle(&path)?;
    let size = path.metadata()?.len();
    cx.unless_superseded(bring(&cx, &path, size, url)).await?;
    tracing::info!(path = %path.display(), size, "image brought to its store");
    Ok(Uploaded { size })
}

/// What the store has said to a part.
enum Said {
    Whole,
    /// It goes on from this byte.
    From(u64),
    NotYet(String),
}

async fn bring(cx: &Cx<Host>, path: &Path, size: u64, url: Url) -> Result<(), Fault> {
    let (mut from, mut until) = (0, Instant::now() + AWAITED);
    loop {
        match put(cx, path, from, size, &url).await? {
            Said::Whole => return Ok(()),
            Said::From(next) => {
                if next != from {
                    until = Instant::now() + AWAITED;
                }
                from = next.min(size.saturating_sub(1));
            }
            Said::NotYet(why) if Instant::now() > until => return Err(Fault::new(why)),
            Said::NotYet(_) => sleep(AGAIN).await,
        }
    }
}

/// The address has the token: what is told of a failure never has it.
async fn put(cx: &Cx<Host>, path: &Path, from: u64, size: u64, url: &Url) -> Result<Said, Fault> {
    let part = read(path, from, size).await?;
    let last = (from + part.len() as u64).saturating_sub(1);
    let range = format!("bytes {from}-{last}/{size}");
    let request = cx.http.client().put(url.clone()).header(CONTENT_RANGE, range).body(part);
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Ok(Said::NotYet(format!("the image store: {}", error.without_url()))),
    };
    let (status, text) = (response.status(), response.text().await.unwrap_or_default());
    let told: Value = serde_json::from_str(&text).unwrap_or_default();
    let why = || format!("the image store answered {status}: {text}");
    Ok(match (status, told["received"].as_u64()) {
        (StatusCode::CREATED, _) => Said::Whole,
        (StatusCode::CONFLICT, _) if text.contains("is there already") => Said::Whole,
        (StatusCode::OK | StatusCode::CONFLICT, Some(next)) => Said::From(next),
        (StatusCode::NOT_FOUND | StatusCode::CONFLICT, None) => Said::NotYet(why()),
        _ => return Err(Fault::new(why())),
    })
}

async fn read(path: &Path, from: u64, size: u64) -> Result<Bytes, Fault> {
    let (path, length) = (path.to_owned(), PART.min(size.saturating_sub(from)));
    let read = tokio::task::spawn_blocking(move || {
        let mut part = vec![0; usize::try_from(length).unwrap_or_default()];
        std::fs::File::open(path)?.read_exact_at(&mut part, from)?;
        Ok::<_, std::io::Error>(Bytes::from(part))
    });
    Ok(read.await??)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::State;
    use axum::http::HeaderMap;
    use axum::routing::put;
    use serde_json::json;
    use wire::calls::localstorage::Init;

    use super::*;
    use crate::{localstorage, testing};

    /// What has come, how often nobody awaited it, and how often half a part was lost.
    #[derive(Default)]
    struct Store {
        bytes: Vec<u8>,
        early: usize,
        lost: usize,
    }

    async fn take(
        State(store): State<Arc<Mutex<Store>>>,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, String) {
        let mut store = store.lock().unwrap();
        if store.early < 2 {
            store.early += 1;
            return (StatusCode::NOT_FOUND, "no upload of it is awaited".into());
        }
        let range = headers[CONTENT_RANGE].to_str().unwrap().strip_prefix("bytes ").unwrap().to_owned();
        let (span, total) = range.split_once('/').unwrap();
        let from: usize = span.split_once('-').unwrap().0.parse().unwrap();
        if from != store.bytes.len() {
            return (StatusCode::CONFLICT, json!({ "received": store.bytes.len() }).to_string());
        }
        let kept = if store.lost == 0 { body.len() / 2 } else { body.len() };
        store.lost += 1;
        store.bytes.extend_from_slice(&body[..kept]);
        let told = json!({ "received": store.bytes.len() }).to_string();
        let whole = store.bytes.len() == total.parse::<usize>().unwrap();
        (if whole { StatusCode::CREATED } else { StatusCode::OK }, told)
    }

    async fn serve(store: &Arc<Mutex<Store>>) -> String {
        let routes = Router::new().route("/images/{uuid}", put(take)).with_state(Arc::clone(store));
        let routes = routes.layer(axum::extract::DefaultBodyLimit::disable());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/images/a?token=secret", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    #[tokio::test]
    async fn a_file_comes_whole_in_parts_however_often_it_breaks_off() {
        let dir = tempfile::tempdir().unwrap();
        let cx = testing::host(&dir.path().join("state"));
        let ps = dir.path().join("ps").to_str().unwrap().to_owned();
        let init = Init { uuid: "ps".into(), path: ps.clone(), ..Init::default() };
        localstorage::init(cx.clone(), init).await.unwrap();
        let path = format!("{ps}/image.qcow2");
        let bytes: Vec<u8> = (0..PART * 2 + 4711).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let store = Arc::new(Mutex::new(Store::default()));
        let command = Upload { install_path: path, url: serve(&store).await, ..Upload::default() };
        assert_eq!(upload(cx.clone(), command.clone()).await.unwrap().size, bytes.len() as u64);
        assert!(store.lock().unwrap().bytes == bytes, "what came is what was sent");

        let elsewhere = Upload { install_path: "/etc/passwd".into(), ..command.clone() };
        assert!(upload(cx.clone(), elsewhere).await.unwrap_err().error.contains("lies in no storage"));
        let odd = Upload { url: "file:///tmp/x".into(), ..command };
        assert!(upload(cx, odd).await.unwrap_err().error.contains("http or https"));
    }
}
