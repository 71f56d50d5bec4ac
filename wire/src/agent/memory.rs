//! An agent's decisions as a value: its ledger and its journal, without clock, disk or network, for a model
//! checker to drive.
//!
//! The decisions are the ledger's; here stands only what the runner does between them. A record is durable
//! as soon as it is written: a crash before that is a command that never arrived.

use std::fmt::Write;

use bytes::Bytes;

use super::ledger::{Arrival, Entry, Ledger, State, Verdict};
use super::record::Record;
use super::replay::raw;
use crate::call::{Fence, TaskId};

const PATH: &str = "/model";
const BODY: &[u8] = b"{}";

/// What the agent knows, and what its journal would tell it after a restart.
#[derive(Clone, Default)]
pub struct Memory {
    live: Ledger,
    journal: Ledger,
}

/// What became of a command that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    Accepted,
    /// It was known; its sender is attached.
    Known,
    Stale,
}

/// A task as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub task: TaskId,
    pub state: Stage,
    pub epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Queued,
    Running,
    Done,
    /// It ended without having been begun.
    Refused,
}

impl Memory {
    /// A command arrives, for the first time or again.
    pub fn arrive(&mut self, task: &TaskId, fence: &Fence) -> Arrived {
        match self.live.judge(task, Some(fence), 0, false) {
            Verdict::Refuse(_) => Arrived::Stale,
            Verdict::Accepting => Arrived::Known,
            Verdict::Attach => {
                if self.live.attach(task, None, Some(fence)).changed {
                    let fence = Some(std::borrow::Cow::Borrowed(fence));
                    self.write(Record::Attached { task: task.clone(), callback: None, fence });
                }
                Arrived::Known
            }
            Verdict::Fresh => {
                self.accept(task, fence);
                Arrived::Accepted
            }
        }
    }

    /// The task's turn has come. `false`: it is refused, and ends without effect.
    pub fn start(&mut self, task: &TaskId) -> bool {
        let started = self.live.start(task, 0).is_ok();
        if !started {
            self.end(task, true);
        }
        started
    }

    /// The task has ended.
    pub fn finish(&mut self, task: &TaskId) {
        self.end(task, false);
    }

    /// The agent is killed and started again; what it had accepted stands in line again.
    pub fn restart(&mut self) {
        let lines = self.lines();
        (self.live, self.journal) = (replayed(&lines), replayed(&lines));
        self.live.take_pending();
    }

    /// The host is booted again: what it had accepted ends.
    pub fn reboot(&mut self) {
        self.restart();
        let unfinished = |standing: &Standing| matches!(standing.state, Stage::Queued | Stage::Running);
        let lost: Vec<_> = self.standings().into_iter().filter(unfinished).collect();
        lost.iter().for_each(|standing| self.finish(&standing.task));
    }

    pub fn raise_floor(&mut self, epoch: u64) {
        self.live.raise_floor(epoch);
        self.write(Record::Floor { epoch });
    }

    /// The tasks it remembers, in the order in which they were accepted or ended.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |(id, entry): (&TaskId, &Entry)| Standing {
            task: id.clone(),
            state: stage(&entry.state),
            epoch: entry.fence.as_ref().map_or(0, |fence| fence.epoch),
        };
        in_order(&self.live).into_iter().map(standing).collect()
    }

    /// Equal for memories that decide alike for ever.
    pub fn key(&self) -> String {
        let mut key = String::new();
        for ledger in [&self.live, &self.journal] {
            describe(ledger, &mut key).expect("a String takes any text");
        }
        key
    }

    fn accept(&mut self, task: &TaskId, fence: &Fence) {
        let arrival = Arrival { path: PATH, callback: None, fence: Some(fence), acts: true, now: 0 };
        self.live.accept(task.clone(), &arrival);
        self.write(Record::Accepted {
            task: task.clone(),
            path: PATH.into(),
            body: raw(BODY),
            callback: None,
            fence: Some(std::borrow::Cow::Borrowed(fence)),
            boot: "".into(),
            at: 0,
        });
        self.live.accepted(task);
    }

    fn end(&mut self, task: &TaskId, refused: bool) {
        self.write(Record::Done { task: task.clone(), outcome: raw(BODY), refused, at: 0 });
        self.live.done(task, Bytes::from_static(BODY), refused, 0);
    }

    fn write(&mut self, record: Record<'_>) {
        let mut line = Vec::new();
        record.write(&mut line);
        apply(&mut self.journal, &line);
    }

    fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        let dumped = self.journal.dump(&mut |record| {
            record.write(&mut lines);
            Ok(())
        });
        dumped.expect("memory does not fail");
        lines
    }
}

fn replayed(lines: &[u8]) -> Ledger {
    let mut ledger = Ledger::default();
    lines.split_inclusive(|byte| *byte == b'\n').for_each(|line| apply(&mut ledger, line));
    ledger
}

fn apply(ledger: &mut Ledger, line: &[u8]) {
    let record = Record::read(line).expect("it was written by Record::write");
    ledger.apply(record).expect("it is of this version");
}

fn stage(state: &State) -> Stage {
    match state {
        State::Accepting | State::Queued => Stage::Queued,
        State::Running => Stage::Running,
        State::Done { refused: false, .. } => Stage::Done,
        State::Done { refused: true, .. } => Stage::Refused,
    }
}

fn in_order(ledger: &Ledger) -> Vec<(&TaskId, &Entry)> {
    let mut tasks: Vec<_> = ledger.tasks.iter().collect();
    tasks.sort_unstable_by_key(|(_, entry)| entry.order);
    tasks
}

/// Everything that a decision depends on; of the order numbers, only the order.
fn describe(ledger: &Ledger, key: &mut String) -> std::fmt::Result {
    write!(key, "floor {}", ledger.floor)?;
    let mut resources: Vec<_> = ledger.resources.iter().collect();
    resources.sort_unstable_by_key(|(name, _)| *name);
    for (name, seen) in resources {
        let mut tasks: Vec<_> = seen.tasks.iter().map(TaskId::as_str).collect();
        tasks.sort_unstable();
        write!(key, "; {name} {} {} {tasks:?}", seen.generation, seen.epoch)?;
    }
    let mut tasks = in_order(ledger);
    // The order in which tasks with a token have ended decides nothing; the sort is stable.
    tasks.sort_by_key(|(id, entry)| if entry.is_done() { (true, id.as_str()) } else { (false, "") });
    for (id, entry) in tasks {
        let token = entry.fence.as_ref().map(|fence| (&fence.resource, fence.generation, fence.epoch));
        write!(key, "; {id} {:?} {token:?}", stage(&entry.state))?;
    }
    writeln!(key)
}
