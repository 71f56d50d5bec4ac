//! What an operation gets besides its command.

use std::ops::Deref;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::runner::Runner;
use super::task::Task;
use crate::call::{Fault, STALE, TaskId};

/// The agent's state and the task that runs; cheap to clone.
pub struct Cx<S> {
    state: Arc<S>,
    task: Arc<Task>,
    runner: Option<Arc<Runner>>,
}

impl<S> Cx<S> {
    pub(super) fn new(state: Arc<S>, task: Arc<Task>, runner: Arc<Runner>) -> Self {
        Cx { state, task, runner: Some(runner) }
    }

    /// One that belongs to no served command, for calling an operation directly.
    pub fn detached(state: Arc<S>) -> Self {
        let task = Task {
            id: TaskId::random(),
            fence: None,
            callback: None,
            path: "",
            superseded: CancellationToken::new(),
        };
        Cx { state, task: Arc::new(task), runner: None }
    }

    pub fn task(&self) -> &Task {
        &self.task
    }

    pub fn state(&self) -> &Arc<S> {
        &self.state
    }

    /// Cancelled when the task need not go on: a later owner of its resource has been seen.
    pub fn superseded(&self) -> &CancellationToken {
        &self.task.superseded
    }

    /// Does `work` unless a later owner of the resource comes; then drops it where it stands, which must leave
    /// nothing behind: the task ends as if it had never begun, and the later owner's has its turn.
    ///
    /// # Errors
    /// The work's own; with the code [`STALE`] when it was dropped.
    pub async fn unless_superseded<T>(
        &self,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        tokio::select! {
            biased;
            () = self.task.superseded.cancelled() => Err(self.stopped()),
            done = work => done,
        }
    }

    /// How a task ends that has stopped because it is superseded.
    pub fn stopped(&self) -> Fault {
        Fault::coded(STALE, "stopped half-way: a later owner of the resource has taken over")
    }

    /// From now on refuses every epoch below `epoch`, whatever the resource. When it returns, that is durable
    /// and nothing that had begun below it acts any more, except the asking task itself.
    ///
    /// # Errors
    /// When the journal cannot be written, or the context is [detached](Cx::detached).
    pub async fn raise_floor(&self, epoch: u64) -> Result<(), Fault> {
        let Some(runner) = &self.runner else { return Err(Fault::new("no journal: the call is detached")) };
        Ok(runner.raise_floor(epoch, &self.task.id).await?)
    }
}

impl<S> Clone for Cx<S> {
    fn clone(&self) -> Self {
        Cx { state: self.state.clone(), task: self.task.clone(), runner: self.runner.clone() }
    }
}

impl<S> Deref for Cx<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}
