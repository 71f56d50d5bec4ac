//! What a flow has done so far, step by step, for people: kept in its row.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ErrorCode;
use crate::id::Stamp;

/// A flow that repeats a step for ever remembers this many of the last ones.
const KEPT: usize = 100;

/// Acts that have ended, in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Log(Vec<Entry>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    /// The step's index.
    s: usize,
    /// Whether it was undone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    u: bool,
    /// When it began and ended, microseconds since 1970.
    b: i64,
    e: i64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f: Option<String>,
}

impl Log {
    /// An unreadable log is no reason to stop a flow.
    pub fn read(text: &str) -> Log {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub fn step(&mut self, index: usize, direction: &str, began: Stamp, error: Option<&ErrorCode>) {
        let undone = direction == super::store::UNDO;
        let failed = error.map(ToString::to_string);
        self.0.push(Entry { s: index, u: undone, b: began.0, e: Stamp::now().0, f: failed });
        if self.0.len() > KEPT {
            self.0.remove(0);
        }
    }

    pub fn written(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// For operators, with the names of the steps.
    pub fn view(&self, names: &[&str]) -> Value {
        let entries = self.0.iter().map(|entry| {
            json!({
                "step": names.get(entry.s).unwrap_or(&"?"),
                "direction": if entry.u { "undo" } else { "forward" },
                "began": Stamp(entry.b),
                "ended": Stamp(entry.e),
                "milliseconds": (entry.e - entry.b) / 1000,
                "error": entry.f,
            })
        });
        entries.collect()
    }
}
