//! Sends outcomes to callback URLs.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, redirect};
use tokio::sync::Semaphore;

use crate::call::{TASK_UUID, TaskId};

/// Reports on their way at one time.
const SLOTS: usize = 256;
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);
/// Idle connections kept per controller, and for how long.
const IDLE: usize = 32;
const IDLE_AGE: Duration = Duration::from_secs(20);
/// What is read of an answer's body, so that its connection can be used again.
const POLITE: usize = 16 << 10;

pub struct Reporter {
    client: Client,
    slots: Semaphore,
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
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(IDLE)
            .pool_idle_timeout(IDLE_AGE)
            .build()?;
        Ok(Reporter { client, slots: Semaphore::new(SLOTS) })
    }

    /// One attempt; only a 2xx means that somebody took it.
    pub async fn report(&self, url: &str, task: &TaskId, outcome: Bytes) -> Result<(), NotTaken> {
        let _slot = self.slots.acquire().await.expect("never closed");
        let request = self.client.post(url).header(TASK_UUID, task.as_str());
        let answer = request.header(CONTENT_TYPE, "application/json").body(outcome).send().await?;
        let status = answer.status();
        drain(answer).await;
        if status.is_success() { Ok(()) } else { Err(NotTaken::Status(status)) }
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
