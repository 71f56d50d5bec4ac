//! What an operation gets besides its command.

use std::ops::Deref;
use std::sync::Arc;

use super::runner::Runner;
use super::task::Task;
use crate::call::{Fault, TaskId};

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
        let task = Task { id: TaskId::random(), fence: None, callback: None, path: "" };
        Cx { state, task: Arc::new(task), runner: None }
    }

    pub fn task(&self) -> &Task {
        &self.task
    }

    pub fn state(&self) -> &Arc<S> {
        &self.state
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
