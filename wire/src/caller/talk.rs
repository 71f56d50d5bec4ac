//! Speaking with an agent until it has said something definite.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use super::ask::Ask;
use super::{CallError, Shared};
use crate::backoff::Backoff;
use crate::call::{EXPIRED, Effect, Fault, STALE};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An agent that cannot even be connected to for so long is not there: the command is given up while it
/// is certain that this call has not delivered it.
const REACH: Duration = Duration::from_secs(20);
/// No answer is larger.
const LARGEST: usize = 64 << 20;

/// What is known of a call that has not ended.
pub struct Progress {
    began: Instant,
    /// Some attempt got further than connecting.
    sent: bool,
    /// An attempt is on its way now.
    sending: bool,
    last: String,
}

#[derive(Deserialize)]
struct Told<'a> {
    state: &'a str,
    #[serde(borrow)]
    outcome: Option<&'a RawValue>,
}

/// What an agent says of a task.
enum Fate {
    Open,
    Done(Bytes),
    Unknown,
}

struct Answer {
    status: StatusCode,
    body: Bytes,
}

enum Attempt {
    /// The connection was not made.
    NotSent(String),
    /// It may have arrived.
    Unanswered(String),
    Answered(Answer),
}

impl Shared {
    /// Sends, asks, sends again what the agent does not know.
    pub async fn talk(&self, ask: &Ask, progress: &mut Progress) -> Result<Bytes, CallError> {
        loop {
            self.deliver(ask, progress).await?;
            if let Some(outcome) = self.follow(ask, progress).await {
                return Ok(outcome);
            }
        }
    }

    /// A synchronous call: the answer is the outcome. One that acts is repeated only if it was not sent.
    pub async fn exchange(&self, ask: &Ask, progress: &mut Progress) -> Result<Bytes, CallError> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            self.permit()?;
            match self.send(ask, None, progress).await {
                Attempt::Answered(answer) if answer.status.is_success() => return Ok(answer.body),
                Attempt::Answered(answer) if !answer.is_passing() => return Err(answer.refusal()),
                Attempt::NotSent(_) => progress.must_be_reached(ask)?,
                _ if ask.effect == Effect::Reads => {}
                _ => return Err(ask.unknown(std::mem::take(&mut progress.last))),
            }
            sleep(backoff.pause()).await;
        }
    }

    /// Sends until it is acknowledged.
    async fn deliver(&self, ask: &Ask, progress: &mut Progress) -> Result<(), CallError> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            self.permit()?;
            match self.send(ask, Some(self.patience.acknowledge), progress).await {
                Attempt::Answered(answer) if answer.status.is_success() => break,
                Attempt::Answered(answer) if !answer.is_passing() => return Err(answer.refusal()),
                Attempt::NotSent(_) => progress.must_be_reached(ask)?,
                _ => {}
            }
            sleep(backoff.pause()).await;
        }
        progress.last = "acknowledged, no outcome yet".into();
        Ok(())
    }

    /// Asks, now and then, until it is done; `None` when the agent does not know it (any longer).
    async fn follow(&self, ask: &Ask, progress: &mut Progress) -> Option<Bytes> {
        let mut pause = self.patience.ask_after;
        loop {
            sleep(pause).await;
            match self.ask(ask, progress).await {
                Fate::Open => pause = (pause * 2).min(self.patience.ask_latest),
                Fate::Done(outcome) => return Some(outcome),
                Fate::Unknown => return None,
            }
        }
    }

    async fn ask(&self, ask: &Ask, progress: &mut Progress) -> Fate {
        let answer = match attempt(ask.question(&self.http.client()).timeout(self.patience.answer)).await {
            Attempt::Answered(answer) => answer,
            Attempt::NotSent(error) | Attempt::Unanswered(error) => {
                progress.last = format!("acknowledged, but now: {error}");
                return Fate::Open;
            }
        };
        let Ok(told) = serde_json::from_slice::<Told<'_>>(&answer.body) else {
            // Not one of ours: it has nothing at this path, and will call back.
            return Fate::Open;
        };
        match (answer.status, told.state, told.outcome) {
            (StatusCode::OK, "done", Some(outcome)) => {
                Fate::Done(answer.body.slice_ref(outcome.get().as_bytes()))
            }
            (StatusCode::NOT_FOUND, "unknown", _) => Fate::Unknown,
            (_, state, _) => {
                progress.last = format!("the agent says that it is {state}");
                Fate::Open
            }
        }
    }

    fn permit(&self) -> Result<(), CallError> {
        if (self.permitted)() { Ok(()) } else { Err(CallError::NotPermitted) }
    }

    async fn send(&self, ask: &Ask, limit: Option<Duration>, progress: &mut Progress) -> Attempt {
        let mut request = ask.command(&self.http);
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        progress.sending = true;
        let attempt = attempt(request).await;
        progress.sending = false;
        progress.sent |= !matches!(attempt, Attempt::NotSent(_));
        progress.last = match &attempt {
            Attempt::NotSent(error) | Attempt::Unanswered(error) => error.clone(),
            Attempt::Answered(answer) => answer.text(),
        };
        attempt
    }
}

impl Progress {
    pub fn new() -> Self {
        Progress { began: Instant::now(), sent: false, sending: false, last: String::new() }
    }

    pub fn at_deadline(self, ask: &Ask) -> CallError {
        let last = if self.last.is_empty() { "no answer at the deadline".into() } else { self.last };
        if self.sent || self.sending {
            return ask.unknown(last);
        }
        CallError::Unreachable { agent: ask.agent.clone(), cause: last }
    }

    fn must_be_reached(&self, ask: &Ask) -> Result<(), CallError> {
        if self.sent || self.began.elapsed() < REACH {
            return Ok(());
        }
        Err(CallError::Unreachable { agent: ask.agent.clone(), cause: self.last.clone() })
    }
}

impl Answer {
    /// Another time it may be answered otherwise.
    fn is_passing(&self) -> bool {
        let asks_for_patience = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        self.status.is_server_error() || asks_for_patience.contains(&self.status)
    }

    fn refusal(&self) -> CallError {
        let fault = serde_json::from_slice::<Fault>(&self.body).ok();
        match fault {
            Some(fault) if fault.is(STALE) => CallError::Stale(fault),
            Some(fault) if fault.is(EXPIRED) => CallError::Expired(fault),
            _ => CallError::Refused { status: self.status.as_u16(), error: self.error() },
        }
    }

    fn text(&self) -> String {
        format!("the agent answered with HTTP status {}: {}", self.status, self.error())
    }

    /// The body's `error`, or its beginning.
    fn error(&self) -> String {
        let fault = serde_json::from_slice::<Fault>(&self.body).ok();
        fault.map_or_else(|| String::from_utf8_lossy(&self.body).chars().take(200).collect(), |f| f.error)
    }
}

async fn attempt(request: RequestBuilder) -> Attempt {
    match request.send().await {
        Ok(response) => collect(response).await,
        Err(error) if error.is_connect() => Attempt::NotSent(Fault::from(error.without_url()).error),
        Err(error) => Attempt::Unanswered(Fault::from(error.without_url()).error),
    }
}

async fn collect(mut response: reqwest::Response) -> Attempt {
    let (status, mut body) = (response.status(), BytesMut::new());
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= LARGEST => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Attempt::Unanswered(format!("the answer is larger than {LARGEST} bytes")),
            Ok(None) => return Attempt::Answered(Answer { status, body: body.freeze() }),
            Err(error) => return Attempt::Unanswered(Fault::from(error.without_url()).error),
        }
    }
}
