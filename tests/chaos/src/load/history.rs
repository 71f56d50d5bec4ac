//! What clients did and what they were told, in order.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

/// What became of a call, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Invoked,
    /// The controller has promised to do it.
    Acknowledged,
    Done,
    Failed,
    /// Refused before it was promised.
    Refused,
    /// Nobody answered.
    Unknown,
    /// It was promised, and nobody knows of it.
    Lost,
    /// It was promised, and did not end.
    Open,
}

#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Milliseconds since the load began.
    pub at: u64,
    pub object: String,
    pub job: String,
    pub call: String,
    pub step: Step,
    pub said: String,
}

pub struct History {
    began: Instant,
    entries: Mutex<Vec<Entry>>,
    file: Mutex<File>,
    pub acknowledged: AtomicU64,
    pub done: AtomicU64,
    pub failed: AtomicU64,
}

impl History {
    pub fn new(dir: &Path) -> Result<Self> {
        let file = Mutex::new(File::create(dir.join("history.jsonl"))?);
        let [acknowledged, done, failed] = [0; 3].map(AtomicU64::new);
        Ok(History { began: Instant::now(), entries: Mutex::default(), file, acknowledged, done, failed })
    }

    pub fn note(&self, step: Step, object: &str, job: &str, call: &str, said: &str) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(0);
        let count = match step {
            Step::Acknowledged => Some(&self.acknowledged),
            Step::Done => Some(&self.done),
            Step::Failed => Some(&self.failed),
            _ => None,
        };
        count.map(|count| count.fetch_add(1, Ordering::Relaxed));
        let entry = Entry {
            at,
            object: object.to_owned(),
            job: job.to_owned(),
            call: call.to_owned(),
            step,
            said: said.chars().take(600).collect(),
        };
        let line = serde_json::to_string(&entry).unwrap_or_default();
        let _looked_at_by_people = writeln!(self.file.lock().expect("never poisoned"), "{line}");
        self.entries.lock().expect("never poisoned").push(entry);
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().expect("never poisoned").clone()
    }
}
