//! The task that a command runs as.

use crate::call::{Fence, TaskId};

/// One accepted command.
#[derive(Clone, Debug)]
pub struct Task {
    pub id: TaskId,
    pub fence: Option<Fence>,
    pub path: &'static str,
}
