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

    pub fn wait_for(&self, task: &TaskId) -> Wait {
        let number = self.0.count.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.tasks().entry(task.clone()).or_default().push(Waiter { number, tell });
        Wait { waiting: self.clone(), task: task.clone(), number, told }
    }

    fn tell(&self, task: &TaskId, outcome: &Bytes) {
        let waiters = self.tasks().remove(task).unwrap_or_default();
        if waiters.is_empty() {
            tracing::debug!(%task, "an outcome that nobody waits for");
        }
        for waiter in waiters {
            let _ = waiter.tell.send(outcome.clone());
        }
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
    match axum::body::to_bytes(request.into_body(), LARGEST).await {
        Ok(outcome) => {
            waiting.tell(&task, &outcome);
            (StatusCode::OK, String::new())
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
        let (mut first, second) = (waiting.wait_for(&task), waiting.wait_for(&task));
        let mut third = waiting.wait_for(&task);
        drop(second);
        assert_eq!(waiting.tasks()[&task].len(), 2);
        waiting.tell(&task, &Bytes::from_static(b"{}"));
        assert_eq!((&first.outcome().await[..], &third.outcome().await[..]), (&b"{}"[..], &b"{}"[..]));
        drop((first, third));
        drop(waiting.wait_for(&task));
        assert!(waiting.tasks().is_empty());
    }
}
