//! What is being done, one line for each stage.

use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Prints stages and remembers the last.
#[derive(Clone)]
pub struct Progress {
    start: Instant,
    stage: Arc<Mutex<String>>,
}

impl Progress {
    pub fn new() -> Self {
        Self { start: Instant::now(), stage: Arc::default() }
    }

    pub fn stage(&self, text: &str) {
        eprintln!("{:6.1} s  {text}", self.seconds());
        text.clone_into(&mut self.stage.lock().expect("never poisoned"));
    }

    /// The stage that was begun last.
    pub fn last(&self) -> String {
        self.stage.lock().expect("never poisoned").clone()
    }

    pub fn seconds(&self) -> f32 {
        self.start.elapsed().as_secs_f32()
    }
}
