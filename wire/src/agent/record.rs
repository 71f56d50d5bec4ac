//! The journal's records and how one stands on a line: eight hex digits of CRC-32, a space, JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::call::{Fence, TaskId};

/// Of the journal's format; a journal of a later one is refused.
pub const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record<'a> {
    /// The first of every journal.
    Journal { version: u32 },
    /// A command that will be acknowledged.
    Accepted {
        task: TaskId,
        #[serde(borrow)]
        path: Cow<'a, str>,
        #[serde(borrow)]
        body: &'a RawValue,
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        callback: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fence: Option<Cow<'a, Fence>>,
        #[serde(borrow)]
        boot: Cow<'a, str>,
        at: u64,
    },
    /// A known task was sent again: by whom, under which token.
    Attached {
        task: TaskId,
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        callback: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fence: Option<Cow<'a, Fence>>,
    },
    /// `refused`: it never started, or stopped half-way and left nothing behind; the outcome says why. It may be
    /// accepted anew.
    Done {
        task: TaskId,
        #[serde(borrow)]
        outcome: &'a RawValue,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        refused: bool,
        at: u64,
    },
    /// Somebody took the outcome.
    Reported { task: TaskId },
    /// A finished task in a compacted journal.
    Finished {
        task: TaskId,
        #[serde(borrow)]
        path: Cow<'a, str>,
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        callback: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fence: Option<Cow<'a, Fence>>,
        #[serde(borrow)]
        outcome: &'a RawValue,
        refused: bool,
        reported: bool,
        at: u64,
    },
    /// The highest token seen for a resource, in a compacted journal.
    Highest {
        #[serde(borrow)]
        resource: Cow<'a, str>,
        generation: u64,
        epoch: u64,
    },
    /// No lower epoch is accepted on this host.
    Floor { epoch: u64 },
}

/// Why a line is not a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not what was written: cut off or changed.
    Damaged,
    /// Written so, by somebody who knows more than we do.
    Strange(String),
}

impl Record<'_> {
    /// Appends the record's line to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"00000000 ");
        let body = out.len();
        serde_json::to_writer(&mut *out, self).expect("a record has only string keys");
        let sum = format!("{:08x}", crc32fast::hash(&out[body..]));
        out[start..start + 8].copy_from_slice(sum.as_bytes());
        out.push(b'\n');
    }

    /// Reads a line, which still has its line feed.
    pub fn read(line: &[u8]) -> Result<Record<'_>, Unreadable> {
        let json = checked(line).ok_or(Unreadable::Damaged)?;
        serde_json::from_str(json).map_err(|e| Unreadable::Strange(e.to_string()))
    }
}

fn checked(line: &[u8]) -> Option<&str> {
    let (sum, json) = line.strip_suffix(b"\n")?.split_at_checked(9)?;
    let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == crc32fast::hash(json)).then(|| std::str::from_utf8(json).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_of_a_line_is_noticed() {
        let mut line = Vec::new();
        Record::Reported { task: TaskId::random() }.write(&mut line);
        assert!(matches!(Record::read(&line), Ok(Record::Reported { .. })));
        for at in 0..line.len() {
            let mut changed = line.clone();
            changed[at] ^= 0x01;
            assert_eq!(Record::read(&changed).unwrap_err(), Unreadable::Damaged, "byte {at}");
            assert_eq!(Record::read(&line[..at]).unwrap_err(), Unreadable::Damaged, "cut at {at}");
        }
    }

    #[test]
    fn an_unknown_record_is_strange_and_not_damaged() {
        let json = r#"{"of_tomorrow":{}}"#;
        let line = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
        assert!(matches!(Record::read(line.as_bytes()), Err(Unreadable::Strange(_))));
    }
}
