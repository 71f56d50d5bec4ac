//! Takes in outcomes and hands them to whoever waits.

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
        Router::new().route("/asyncrest/callback", post(take_in)).with_state(self.clone())
    }

    /// Waits for what machine `from` tells of the task, or anybody.
    pub fn wait_for(&self, task: &TaskId, from: Option<MachineId>) -> Wait {
        let number = self.0.count.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.tasks().entry(task.clone()).or_default().push(Waiter { number, from, tell });
        Wait { waiting: self.clone(), task: task.clone(), number, told }
    }

    /// Tells all who take `peer`'s word. False when there is somebody who waits, and nobody takes it.
    fn tell(&self, task: &TaskId, outcome: &Bytes, peer: Option<MachineId>) -> bool {
        let told = {
            let mut tasks = self.tasks();
            let waiters = tasks.remove(task).unwrap_or_default();
            let (told, deaf): (Vec<_>, Vec<_>) =
                waiters.into_iter().partition(|waiter| waiter.from.is_none() || waiter.from == peer);
            let refused = told.is_empty() && !deaf.is_empty();
            if !deaf.is_empty() {
                tasks.insert(task.clone(), deaf);
            }
            if refused {
                return false;
            }
            told
        };
        if told.is_empty() {
            tracing::debug!(%task, "an outcome that nobody waits for");
        }
        for waiter in told {
            let _ = waiter.tell.send(outcome.clone());
        }
        true
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

/// A task that nobody waits for is taken too: who needs its outcome asks the agent.
async fn take_in(State(waiting): State<Waiting>, request: Request) -> (StatusCode, String) {
    let header = request.headers().get(TASK_UUID).and_then(|value| value.to_str().ok());
    let Some(task) = header.and_then(TaskId::parse) else {
        return (StatusCode::BAD_REQUEST, "taskuuid missing in request header".into());
    };
    let peer = request.extensions().get::<Peer>().map(|peer| peer.machine);
    match axum::body::to_bytes(request.into_body(), LARGEST).await {
        Ok(outcome) if waiting.tell(&task, &outcome, peer) => (StatusCode::OK, String::new()),
        Ok(_) => {
            tracing::warn!(%task, ?peer, "an outcome was refused: the task was sent to another machine");
            (StatusCode::FORBIDDEN, "the task was sent to another machine".into())
        }
        Err(error) => (StatusCode::PAYLOAD_TOO_LARGE, format!("the outcome was not read: {error}")),
    }
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
        assert!(waiting.tell(&task, &Bytes::from_static(b"{}"), None));
        assert_eq!((&first.outcome().await[..], &third.outcome().await[..]), (&b"{}"[..], &b"{}"[..]));
        drop((first, third));
        drop(waiting.wait_for(&task, None));
        assert!(waiting.tasks().is_empty());
    }
}
