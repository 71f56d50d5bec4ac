//! What a flow has done so far, step by step, for people: kept in its row.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// An act that has ended, as operators see it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FlowAct")]
pub struct View {
    step: String,
    direction: &'static str,
    began: Stamp,
    ended: Stamp,
    milliseconds: i64,
    error: Option<String>,
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

    /// Whether the step of this index was begun, and not undone since.
    pub fn has_run(&self, index: usize) -> bool {
        self.0.iter().rfind(|entry| entry.s == index).is_some_and(|entry| !entry.u || entry.f.is_some())
    }

    pub fn written(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// For operators, with the names of the steps.
    pub fn view(&self, names: &[&str]) -> Vec<View> {
        let view = |entry: &Entry| View {
            step: names.get(entry.s).map_or_else(|| "?".to_owned(), |name| (*name).to_owned()),
            direction: if entry.u { super::store::UNDO } else { super::store::FORWARD },
            began: Stamp(entry.b),
            ended: Stamp(entry.e),
            milliseconds: (entry.e - entry.b) / 1000,
            error: entry.f.clone(),
        };
        self.0.iter().map(view).collect()
    }
}
