//! Sends outcomes to callback URLs: to the first, and while that one is silent, to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use crate::call::{TASK_UUID, TaskId};
use crate::client::client;
use crate::tls::{Http, Live};

/// Reports on their way to one address at one time. A silent one does not hold up the others.
const SLOTS: usize = 32;
/// Addresses whose slots are remembered.
const ADDRESSES: usize = 256;
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);
/// After so long the next address is tried, if there is one: before the first one's flow asks.
const NEXT: Duration = Duration::from_secs(1);
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
    #[error("does not answer within {NEXT:?}")]
    Silent,
}

/// The first of the addresses, which is the sender's.
pub fn first(urls: &Arc<str>) -> Arc<str> {
    urls.split_once(' ').map_or_else(|| urls.clone(), |(first, _)| first.into())
}

impl Reporter {
    /// With an identity it reports to controllers that prove who they are.
    pub fn new(live: Option<Live>) -> Result<Self, reqwest::Error> {
        let http = Http::new(live, || client(CONNECT, IDLE, IDLE_AGE).timeout(ANSWER))?;
        Ok(Reporter { http, slots: Mutex::default() })
    }

    /// Tries each of the addresses once; they are separated by spaces.
    pub async fn report(&self, urls: &str, task: &TaskId, outcome: &Bytes) -> Result<(), NotTaken> {
        let (mut urls, mut taken) = (urls.split(' ').peekable(), Err(NotTaken::Silent));
        while let Some(url) = urls.next() {
            let telling = self.tell(url, task, outcome.clone());
            taken = match urls.peek() {
                Some(_) => timeout(NEXT, telling).await.unwrap_or(Err(NotTaken::Silent)),
                None => telling.await,
            };
            match &taken {
                Ok(()) => break,
                Err(error) => debug!(%task, url, %error, "the outcome was not taken"),
            }
        }
        taken
    }

    /// Only a 2xx means that somebody took it.
    async fn tell(&self, url: &str, task: &TaskId, outcome: Bytes) -> Result<(), NotTaken> {
        let slots = self.slots(url);
        let _slot = slots.acquire().await.expect("never closed");
        let request = self.http.client().post(url).header(TASK_UUID, task.as_str());
        let answer = request.header(CONTENT_TYPE, "application/json").body(outcome).send().await?;
        let status = answer.status();
        drain(answer).await;
        if status.is_success() { Ok(()) } else { Err(NotTaken::Status(status)) }
    }

    fn slots(&self, url: &str) -> Arc<Semaphore> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = slots.get(url) {
            return known.clone();
        }
        if slots.len() >= ADDRESSES {
            slots.clear();
        }
        slots.entry(url.into()).or_insert_with(|| Arc::new(Semaphore::new(SLOTS))).clone()
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
