//! What was carried out, and on whose word.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wire::Call;
use wire::agent::Task;
use wire::calls::vm;

use crate::State;

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Unix milliseconds.
    pub at: u64,
    pub task: String,
    pub path: String,
    pub resource: String,
    pub generation: u64,
    pub epoch: u64,
    /// Where its sender wanted to hear of it.
    pub sender: String,
    /// The command says that it has succeeded.
    pub done: bool,
    /// It started a VM that ran already.
    pub again: bool,
}

impl Effect {
    /// The command is about to be carried out where things are as in `state`.
    pub(crate) fn begun(task: &Task, state: &State) -> Self {
        let fence = task.fence.clone();
        let resource = fence.as_ref().map(|fence| fence.resource.clone()).unwrap_or_default();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Effect {
            at: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            task: task.id.to_string(),
            path: task.path.to_owned(),
            again: task.path == vm::Start::PATH && state.domains.contains_key(&resource),
            resource,
            generation: fence.as_ref().map_or(0, |fence| fence.generation),
            epoch: fence.as_ref().map_or(0, |fence| fence.epoch),
            sender: task.callback.as_deref().unwrap_or_default().to_owned(),
            done: false,
        }
    }
}
