//! One moment of the world.

use std::fmt;

use crate::agent::Number;

/// All there is to know of one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    pub(super) row: Row,
    /// The epoch that the database hands out next.
    pub(super) next: u8,
    pub(super) nodes: [Node; 2],
    /// Commands that have ever been sent, by task and epoch.
    pub(super) sent: u32,
    /// Outcomes that have ever been reported, by task.
    pub(super) outcomes: u16,
    pub(super) agent: Number,
    /// What the host shows: a bit for each act of the first flow.
    pub(super) effects: u8,
    /// The highest epoch under which anything took effect.
    pub(super) acted: u8,
}

/// The flow's row in the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub status: Status,
    pub at: Job,
    pub owner: Who,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Status {
    Running,
    Done,
    Undone,
    /// The host was proven dead and the flow ended without it.
    GivenUp,
}

/// Where a flow stands, and under which epoch; in the row, and in the memory of who drives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Job {
    pub second: bool,
    pub back: bool,
    pub step: u8,
    pub epoch: u8,
}

/// A controller.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// The flow as this controller knows it; it may be long wrong.
    pub job: Option<Job>,
    pub lease: Lease,
    /// It has looked at its lease and is about to send.
    pub checked: bool,
}

/// A controller's lease by two clocks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lease {
    Holds,
    /// By its own clock it has run out, by the database's not yet.
    Ending,
    /// By both.
    Over,
    /// By the database's clock it has run out; its own stood still meanwhile.
    Believed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    A,
    B,
}

/// The commands of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    Do1,
    Do2,
    Undo1,
    Undo2,
    /// Of the second flow.
    Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed,
    Stale,
}

impl State {
    pub(super) fn start() -> Self {
        let job = Job { second: false, back: false, step: 1, epoch: 1 };
        let idle = Node { job: None, lease: Lease::Holds, checked: false };
        State {
            row: Row { status: Status::Running, at: job, owner: Who::A },
            next: 2,
            nodes: [Node { job: Some(job), ..idle }, idle],
            sent: 0,
            outcomes: 0,
            agent: 0,
            effects: 0,
            acted: 0,
        }
    }

    pub(super) fn node(&mut self, who: Who) -> &mut Node {
        &mut self.nodes[who as usize]
    }

    pub(super) fn send(&mut self, task: Task, epoch: u8) {
        self.sent |= 1 << bit(task, epoch);
    }

    pub(super) fn was_sent(&self, task: Task, epoch: u8) -> bool {
        self.sent & (1 << bit(task, epoch)) != 0
    }

    pub(super) fn tell(&mut self, task: Task, outcome: Outcome) {
        self.outcomes |= 1 << told(task, outcome);
    }

    pub(super) fn heard(&self, task: Task, outcome: Outcome) -> bool {
        self.outcomes & (1 << told(task, outcome)) != 0
    }

    pub(super) fn fresh(&mut self) -> u8 {
        self.next += 1;
        self.next - 1
    }

    /// Whether the row is still this job's.
    pub(super) fn owns(&self, who: Who, job: Job) -> bool {
        self.is_at_work(who) && self.row.at.epoch == job.epoch && self.row.at.second == job.second
    }

    /// Makes states alike that differ only in what no longer matters: the database's view of a lease
    /// matters as long as a running flow depends on it.
    pub(super) fn normalise(&mut self) {
        for who in Who::BOTH {
            if self.is_at_work(who) {
                continue;
            }
            let node = self.node(who);
            node.lease = match node.lease {
                _ if node.job.is_none() => Lease::Holds,
                Lease::Holds | Lease::Believed => Lease::Holds,
                Lease::Ending | Lease::Over => Lease::Ending,
            };
        }
    }

    fn is_at_work(&self, who: Who) -> bool {
        self.row.status == Status::Running && self.row.owner == who
    }
}

impl Job {
    pub(super) fn task(self) -> Task {
        match (self.second, self.back, self.step) {
            (true, ..) => Task::Stop,
            (_, false, 1) => Task::Do1,
            (_, false, _) => Task::Do2,
            (_, true, 1) => Task::Undo1,
            (_, true, _) => Task::Undo2,
        }
    }
}

impl Task {
    pub const ALL: [Task; 5] = [Task::Do1, Task::Do2, Task::Undo1, Task::Undo2, Task::Stop];

    pub fn generation(self) -> u8 {
        if self == Task::Stop { 2 } else { 1 }
    }

    pub(super) fn may_fail(self) -> bool {
        matches!(self, Task::Do1 | Task::Do2)
    }

    /// What the host shows afterwards; the same however often it is done.
    pub(super) fn applied(self, effects: u8) -> u8 {
        match self {
            Task::Do1 => effects | 1,
            Task::Do2 => effects | 2,
            Task::Undo1 => effects & !1,
            Task::Undo2 => effects & !2,
            Task::Stop => 0,
        }
    }
}

impl Who {
    pub(super) const BOTH: [Who; 2] = [Who::A, Who::B];
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Task::Do1 => "do-1",
            Task::Do2 => "do-2",
            Task::Undo1 => "undo-1",
            Task::Undo2 => "undo-2",
            Task::Stop => "stop",
        })
    }
}

fn bit(task: Task, epoch: u8) -> u32 {
    task as u32 * 6 + u32::from(epoch)
}

fn told(task: Task, outcome: Outcome) -> u32 {
    outcome as u32 * 5 + task as u32
}
