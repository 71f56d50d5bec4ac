//! The caller half: makes calls and waits until their outcome is known.
//!
//! Silence is never taken for failure: a command that may have arrived is asked for, or sent again under
//! the same task id, until the agent says what became of it or the caller's deadline has come.

mod ask;
mod callback;
mod patience;
mod talk;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

pub use self::callback::{Outcome, Told};
pub use self::patience::Patience;

use self::ask::{Ask, Ears};
use self::callback::Waiting;
use self::talk::Progress;
use crate::call::{Call, EXPIRED, Fault, Fence, Mode, STALE, TaskId, from_body};
use crate::client::client;
use crate::tls::{Http, Live};

/// Where [`Caller::router`] takes in outcomes.
pub const CALLBACK_PATH: &str = "/asyncrest/callback";

const CONNECT: Duration = Duration::from_secs(3);
/// Idle connections kept per agent, and for how long: short, since agents are many.
const IDLE: usize = 32;
const IDLE_AGE: Duration = Duration::from_secs(4);

/// Makes calls and takes in their outcomes. Clones share everything.
#[derive(Clone)]
pub struct Caller(Arc<Shared>);

struct Shared {
    callback_url: String,
    http: Http,
    waiting: Waiting,
    permitted: Permission,
    others: Others,
    patience: Patience,
}

/// Whether a command may leave now.
type Permission = Box<dyn Fn() -> bool + Send + Sync>;
/// Who else takes in outcomes now: callback URLs, separated by spaces.
type Others = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Why a call has no reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The agent ran the command and says that it failed.
    #[error("{0}")]
    Failed(Fault),
    /// A later owner has been seen: prove ownership, take a new epoch, repeat.
    #[error("refused as stale: {0}")]
    Stale(Fault),
    /// The command's deadline had passed before it could start.
    #[error("refused as expired: {0}")]
    Expired(Fault),
    /// Never delivered: no attempt got further than connecting, for twenty seconds or until the deadline.
    #[error("agent {agent} is unreachable: {cause}")]
    Unreachable { agent: String, cause: String },
    /// It may have run, be running, or run later: nobody knows.
    #[error("outcome of task {task} at {agent}{path} is unknown: {last}")]
    Unknown { agent: String, path: &'static str, task: TaskId, last: String },
    /// The caller may not act at the moment; this attempt was not sent.
    #[error("not sent: this controller may not act now")]
    NotPermitted,
    /// The agent does not take such a request; status 0 when it could not even be sent.
    #[error("the request was refused with HTTP status {status}: {error}")]
    Refused { status: u16, error: String },
}

impl Caller {
    /// `callback_url` is the absolute URL at which [`Caller::router`]'s `/asyncrest/callback` is reached.
    ///
    /// # Panics
    /// When the TLS library cannot be set up.
    pub fn new(callback_url: impl Into<String>) -> Self {
        Caller::certified(callback_url, None)
    }

    /// One that proves who it is to agents at https addresses.
    ///
    /// # Panics
    /// When the TLS library cannot be set up.
    pub fn certified(callback_url: impl Into<String>, live: Option<Live>) -> Self {
        let http =
            Http::new(live, || client(CONNECT, IDLE, IDLE_AGE)).expect("the TLS library can be set up");
        let waiting = Waiting::default();
        let permitted: Permission = Box::new(|| true);
        let others: Others = Box::new(|| None);
        let (callback_url, patience) = (callback_url.into(), Patience::default());
        Caller(Arc::new(Shared { callback_url, http, waiting, permitted, others, patience }))
    }

    /// Asks before every single sending whether it may be.
    ///
    /// # Panics
    /// When the caller has been cloned already.
    #[must_use]
    pub fn only_while(mut self, permitted: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.shared().permitted = Box::new(permitted);
        self
    }

    /// Waits so long for an agent's word.
    ///
    /// # Panics
    /// When the caller has been cloned already.
    #[must_use]
    pub fn patient(mut self, patience: Patience) -> Self {
        self.shared().patience = patience;
        self
    }

    /// One of several: `others` are the callback URLs of the rest, separated by spaces; `pass_on` gets the
    /// outcomes that come here and for which nobody waits.
    ///
    /// # Panics
    /// When the caller has been cloned already.
    #[must_use]
    pub fn among(
        mut self,
        others: impl Fn() -> Option<String> + Send + Sync + 'static,
        pass_on: impl Fn(Outcome) + Send + Sync + 'static,
    ) -> Self {
        self.shared().others = Box::new(others);
        self.shared().waiting.passing_on(Box::new(pass_on));
        self
    }

    fn shared(&mut self) -> &mut Shared {
        Arc::get_mut(&mut self.0).expect("asked for before it is shared")
    }

    /// Takes in an outcome that another controller passes on; it goes no further.
    pub fn hear(&self, outcome: &Outcome) -> Told {
        self.0.waiting.tell(outcome)
    }

    /// What calls go out with, for other words to peers who want to know who we are.
    pub fn client(&self) -> reqwest::Client {
        self.0.http.client()
    }

    /// Where agents are told to report.
    pub fn callback_url(&self) -> &str {
        &self.0.callback_url
    }

    /// Takes in outcomes at `POST /asyncrest/callback`; those of a machine that was addressed by its name, from
    /// that machine alone: behind [`tls::only`](crate::tls::only).
    pub fn router(&self) -> Router {
        self.0.waiting.router()
    }

    /// Calls the agent at `base_url` and waits until the outcome is known or `deadline` has come. Dropping
    /// the future stops the waiting, not the command.
    ///
    /// The same `task` again, also after a restart of the caller, asks for the same outcome; it does not
    /// run the command again. `fence.deadline` is until when the agent may *start* the command. A
    /// synchronous call has no task on the wire, so `task` only names it in errors.
    ///
    /// # Errors
    /// See [`CallError`]; only [`CallError::Unreachable`], `Stale`, `Expired` and `Refused` say that the
    /// command has had no effect.
    pub async fn call<C: Call>(
        &self,
        base_url: &str,
        task: &TaskId,
        fence: Option<&Fence>,
        deadline: Instant,
        command: &C,
    ) -> Result<C::Reply, CallError> {
        let ears = Ears { callback: &self.0.callback_url, others: (self.0.others)() };
        let ask = Ask::new::<C>(base_url, task, fence, &ears, command)?;
        if let Some(machine) = ask.machine.filter(|machine| self.0.http.shuns(*machine)) {
            let cause = format!("machine {machine} is revoked: enrol it again");
            return Err(CallError::Unreachable { agent: ask.agent, cause });
        }
        let mut progress = Progress::new();
        // Boxed: a call is waited for in many futures, which would all carry its size.
        let outcome = match C::MODE {
            Mode::Sync => timeout_at(deadline, Box::pin(self.0.exchange(&ask, &mut progress))).await,
            Mode::Async => timeout_at(deadline, Box::pin(self.0.converse(&ask, &mut progress))).await,
        };
        let outcome = outcome.unwrap_or_else(|_| Err(progress.at_deadline(&ask)))?;
        read(&outcome)
    }
}

/// One that shows no certificate, by its callback URL.
impl From<&str> for Caller {
    fn from(callback_url: &str) -> Self {
        Caller::new(callback_url)
    }
}

impl Shared {
    /// An asynchronous call: whatever is heard first of the callback and our own questions.
    async fn converse(&self, ask: &Ask, progress: &mut Progress) -> Result<Bytes, CallError> {
        let mut wait = self.waiting.wait_for(&ask.task, ask.machine);
        tokio::select! {
            biased;
            outcome = wait.outcome() => Ok(outcome),
            outcome = self.talk(ask, progress) => outcome,
        }
    }
}

fn read<R: DeserializeOwned>(outcome: &[u8]) -> Result<R, CallError> {
    let body = serde_json::from_slice(outcome);
    let body =
        body.map_err(|e| CallError::Failed(Fault::new(format!("the agent's outcome is not JSON: {e}"))))?;
    from_body(body).map_err(|fault| match fault.code.as_deref() {
        Some(STALE) => CallError::Stale(fault),
        Some(EXPIRED) => CallError::Expired(fault),
        _ => CallError::Failed(fault),
    })
}
