//! Sends outcomes to callback URLs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::Semaphore;

use crate::call::{TASK_UUID, TaskId};
use crate::client::client;
use crate::tls::{Http, Live};

/// Reports on their way to one address at one time. A silent one does not hold up the others.
const SLOTS: usize = 32;
/// Addresses whose slots are remembered.
const ADDRESSES: usize = 256;
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);
/// Idle connections kept per controller, and for how long.
const IDLE: usize = SLOTS;
const IDLE_AGE: Duration = Duration::from_secs(20);
/// What is read of an answer's body, so that its connection can be used again.
const POLITE: usize = 16 << 10;

pub struct Reporter {
    http: Http,
    slots: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

/// Why an outcome was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("answered with HTTP status {0}")]
    Status(StatusCode),
}

impl Reporter {
    /// With an identity it reports to controllers that prove who they are.
    pub fn new(live: Option<Live>) -> Result<Self, reqwest::Error> {
        let http = Http::new(live, || client(CONNECT, IDLE, IDLE_AGE).timeout(ANSWER))?;
        Ok(Reporter { http, slots: Mutex::default() })
    }

    /// One attempt; only a 2xx means that somebody took it.
    pub async fn report(&self, url: &Arc<str>, task: &TaskId, outcome: Bytes) -> Result<(), NotTaken> {
        let slots = self.slots(url);
        let _slot = slots.acquire().await.expect("never closed");
        let request = self.http.client().post(&**url).header(TASK_UUID, task.as_str());
        let answer = request.header(CONTENT_TYPE, "application/json").body(outcome).send().await?;
        let status = answer.status();
        drain(answer).await;
        if status.is_success() { Ok(()) } else { Err(NotTaken::Status(status)) }
    }

    fn slots(&self, url: &Arc<str>) -> Arc<Semaphore> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= ADDRESSES && !slots.contains_key(url) {
            slots.clear();
        }
        let slots = slots.entry(url.clone()).or_insert_with(|| Arc::new(Semaphore::new(SLOTS)));
        slots.clone()
    }
}

async fn drain(mut answer: reqwest::Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        read += chunk.len();
        if read > POLITE {
            return;
        }
    }
}
