//! Takes in outcomes and hands them to whoever waits; those for which nobody waits here are passed on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::call::{TASK_UUID, TaskId};
use crate::tls::{MachineId, Peer};

/// No outcome is larger.
const LARGEST: usize = 64 << 20;

/// Who waits for which task. Several may wait for one.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tasks: Mutex<HashMap<TaskId, Vec<Waiter>>>,
    count: AtomicU64,
    pass_on: Option<PassOn>,
}

pub type PassOn = Box<dyn Fn(Outcome) + Send + Sync>;

/// What an agent told of a task.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub task: TaskId,
    pub body: Bytes,
    /// Who told it, where peers prove who they are.
    pub peer: Option<MachineId>,
}

/// What became of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Heard,
    /// Nobody waits for it here.
    Astray,
    /// Somebody waits for it, but from another machine.
    Refused,
}

struct Waiter {
    number: u64,
    /// Whose word it takes; anybody's when absent.
    from: Option<MachineId>,
    tell: oneshot::Sender<Bytes>,
}

/// One who waits; gone from the list when dropped.
pub struct Wait {
    waiting: Waiting,
    task: TaskId,
    number: u64,
    told: oneshot::Receiver<Bytes>,
}

impl Waiting {
    pub fn router(&self) -> Router {
        Router::new().route(super::CALLBACK_PATH, post(take_in)).with_state(self.clone())
    }

    /// Waits for what machine `from` tells of the task, or anybody.
    pub fn wait_for(&self, task: &TaskId, from: Option<MachineId>) -> Wait {
        let number = self.0.count.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.tasks().entry(task.clone()).or_default().push(Waiter { number, from, tell });
        Wait { waiting: self.clone(), task: task.clone(), number, told }
    }

    /// Outcomes for which nobody waits go there.
    ///
    /// # Panics
    /// When it has been cloned already.
    pub fn passing_on(&mut self, pass_on: PassOn) {
        Arc::get_mut(&mut self.0).expect("asked for before it is shared").pass_on = Some(pass_on);
    }

    /// Tells all who take the peer's word.
    pub fn tell(&self, outcome: &Outcome) -> Told {
        let told = {
            let mut tasks = self.tasks();
            let waiters = tasks.remove(&outcome.task).unwrap_or_default();
            let (told, deaf): (Vec<_>, Vec<_>) =
                waiters.into_iter().partition(|waiter| waiter.from.is_none() || waiter.from == outcome.peer);
            let refused = told.is_empty() && !deaf.is_empty();
            if !deaf.is_empty() {
                tasks.insert(outcome.task.clone(), deaf);
            }
            if refused {
                return Told::Refused;
            }
            told
        };
        if told.is_empty() {
            return Told::Astray;
        }
        for waiter in told {
            let _ = waiter.tell.send(outcome.body.clone());
        }
        Told::Heard
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<TaskId, Vec<Waiter>>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    pub async fn outcome(&mut self) -> Bytes {
        match (&mut self.told).await {
            Ok(outcome) => outcome,
            // Never: whoever takes the sender out of the list uses it.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut tasks = self.waiting.tasks();
        let Some(waiters) = tasks.get_mut(&self.task) else { return };
        waiters.retain(|waiter| waiter.number != self.number);
        if waiters.is_empty() {
            tasks.remove(&self.task);
        }
    }
}

/// A task that nobody waits for is taken too: it is passed on, and who needs its outcome asks the agent.
async fn take_in(State(waiting): State<Waiting>, request: Request) -> (StatusCode, String) {
    let header = request.headers().get(TASK_UUID).and_then(|value| value.to_str().ok());
    let Some(task) = header.and_then(TaskId::parse) else {
        return (StatusCode::BAD_REQUEST, "taskuuid missing in request header".into());
    };
    let peer = request.extensions().get::<Peer>().map(|peer| peer.machine);
    let body = match axum::body::to_bytes(request.into_body(), LARGEST).await {
        Ok(body) => body,
        Err(error) => return (StatusCode::PAYLOAD_TOO_LARGE, format!("the outcome was not read: {error}")),
    };
    let outcome = Outcome { task, body, peer };
    match (waiting.tell(&outcome), &waiting.0.pass_on) {
        (Told::Refused, _) => {
            let task = outcome.task;
            tracing::warn!(%task, ?peer, "an outcome was refused: the task was sent to another machine");
            return (StatusCode::FORBIDDEN, "the task was sent to another machine".into());
        }
        (Told::Astray, Some(pass_on)) => pass_on(outcome),
        (Told::Astray, None) => tracing::debug!(task = %outcome.task, "an outcome that nobody waits for"),
        (Told::Heard, _) => {}
    }
    (StatusCode::OK, String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_told_and_nobody_is_left_behind() {
        let (waiting, task) = (Waiting::default(), TaskId::random());
        let (mut first, second) = (waiting.wait_for(&task, None), waiting.wait_for(&task, None));
        let mut third = waiting.wait_for(&task, None);
        drop(second);
        assert_eq!(waiting.tasks()[&task].len(), 2);
        let outcome = Outcome { task: task.clone(), body: Bytes::from_static(b"{}"), peer: None };
        assert_eq!(waiting.tell(&outcome), Told::Heard);
        assert_eq!(waiting.tell(&outcome), Told::Astray);
        assert_eq!((&first.outcome().await[..], &third.outcome().await[..]), (&b"{}"[..], &b"{}"[..]));
        drop((first, third));
        drop(waiting.wait_for(&task, None));
        assert!(waiting.tasks().is_empty());
    }
}
