//! The task that a command runs as.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::call::{Fence, TaskId};

/// One accepted command.
#[derive(Clone, Debug)]
pub struct Task {
    pub id: TaskId,
    pub fence: Option<Fence>,
    /// Where its sender wanted to hear of it when it began.
    pub callback: Option<Arc<str>>,
    pub path: &'static str,
    /// Cancelled when a later owner of the resource has been seen while it runs.
    pub(super) superseded: CancellationToken,
}
