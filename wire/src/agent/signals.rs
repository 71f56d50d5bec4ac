//! Tells tasks that run that a later owner of their resource has come.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use crate::call::TaskId;

/// The tasks that act, by resource: at most one of each at a time.
#[derive(Default)]
pub struct Signals(Mutex<HashMap<Box<str>, Acting>>);

struct Acting {
    task: TaskId,
    superseded: CancellationToken,
}

impl Acting {
    fn tell(&self, ledger: &Ledger) {
        let fence = ledger.tasks.get(&self.task).and_then(|entry| entry.fence.as_deref());
        if fence.is_some_and(|fence| ledger.stale(fence).is_some()) {
            self.superseded.cancel();
        }
    }
}

impl Signals {
    /// The task begins: what tells it that it is superseded.
    pub fn begin(&self, resource: &str, task: &TaskId) -> CancellationToken {
        let superseded = CancellationToken::new();
        let acting = Acting { task: task.clone(), superseded: superseded.clone() };
        self.lock().insert(resource.into(), acting);
        superseded
    }

    pub fn end(&self, task: &TaskId) {
        self.lock().retain(|_, acting| acting.task != *task);
    }

    /// Tells the task that acts on the resource, or on any, if its token has become stale.
    pub fn tell(&self, ledger: &Ledger, resource: Option<&str>) {
        let acting = self.lock();
        match resource {
            Some(resource) => acting.get(resource).into_iter().for_each(|acting| acting.tell(ledger)),
            None => acting.values().for_each(|acting| acting.tell(ledger)),
        }
    }

    /// Whether the task runs and was told.
    pub fn is_told(&self, task: &TaskId) -> bool {
        self.lock().values().any(|acting| acting.task == *task && acting.superseded.is_cancelled())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Acting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
