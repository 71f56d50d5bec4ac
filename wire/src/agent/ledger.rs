//! What an agent remembers of its tasks: a value without input or output, the same whether it is built by
//! serving commands or by reading the journal.
//!
//! ```text
//! accepting → queued → running → done (unreported) → done (reported) → forgotten
//!     └ withdrawn, when the journal refuses it
//! ```
//! Invariants: per resource the highest epoch is kept for good; a task that acted under the newest
//! generation of its resource is never forgotten before its deadline is long past.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::texts::Texts;
use crate::call::{EXPIRED, Fault, Fence, STALE, TaskId};

/// How many finished tasks without a fence are remembered, and for how long.
const LOOSE: usize = 10_000;
const LOOSE_AGE: Duration = Duration::from_secs(24 * 3600);
/// The same for finished tasks that only looked.
const GLANCES: usize = 1_000;
const GLANCE_AGE: Duration = Duration::from_secs(60);
/// How long after its deadline a fenced task is surely never sent again.
const LONG_PAST: Duration = Duration::from_secs(24 * 3600);
const SWEEP_EVERY: Duration = Duration::from_secs(600);

#[derive(Clone, Default)]
pub struct Ledger {
    pub(super) tasks: HashMap<TaskId, Entry>,
    pub(super) resources: HashMap<Box<str>, Seen>,
    pub(super) floor: u64,
    /// Counts acceptances and completions, so that entries can be put in order.
    clock: u64,
    loose: VecDeque<(TaskId, u64)>,
    glances: VecDeque<(TaskId, u64)>,
    next_sweep: u64,
    pub(super) texts: Texts,
}

/// What was seen of a resource.
#[derive(Clone)]
pub struct Seen {
    pub generation: u64,
    pub epoch: u64,
    pub(super) tasks: Vec<TaskId>,
}

#[derive(Clone)]
pub struct Entry {
    pub path: Arc<str>,
    /// Where to report, the first address first; separated by spaces.
    pub callback: Option<Arc<str>>,
    pub fence: Option<Box<Fence>>,
    pub state: State,
    /// Unix milliseconds of acceptance, later of completion.
    pub at: u64,
    pub order: u64,
    /// Counts the reports that were begun; only the last one goes on.
    round: u32,
    acts: bool,
    /// What is needed to run it; only in a ledger that was read from a journal.
    pub unfinished: Option<Box<Unfinished>>,
}

#[derive(Clone)]
pub struct Unfinished {
    pub body: Box<str>,
    pub boot: Arc<str>,
}

#[derive(Clone)]
pub enum State {
    Accepting,
    Queued,
    Running,
    Done { outcome: Bytes, refused: bool, reported: bool },
}

/// A task to be remembered.
pub struct Arrival<'a> {
    pub path: &'a str,
    pub callback: Option<&'a str>,
    pub fence: Option<&'a Fence>,
    pub acts: bool,
    pub now: u64,
}

/// What is to be done with a command that arrives.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Fresh,
    /// Known: answer its sender, do not run it.
    Attach,
    /// Its first copy is being journalled at this moment.
    Accepting,
    /// Stale or expired.
    Refuse(Fault),
}

/// What [`Ledger::attach`] did.
#[derive(Debug, Default, PartialEq)]
pub struct Attachment {
    /// It must be journalled.
    pub changed: bool,
    /// The outcome is there and must be reported, in this round.
    pub due: Option<u32>,
}

impl Ledger {
    pub fn judge(&self, id: &TaskId, fence: Option<&Fence>, now: u64, again: bool) -> Verdict {
        if let Some(fault) = fence.and_then(|f| self.stale(f)) {
            return Verdict::Refuse(fault);
        }
        match self.tasks.get(id).map(|entry| &entry.state) {
            Some(State::Accepting) => return Verdict::Accepting,
            Some(State::Queued | State::Running) => return Verdict::Attach,
            Some(State::Done { refused: false, .. }) if !again || fence.is_some() => return Verdict::Attach,
            Some(State::Done { refused: true, .. }) if fence.is_none() && !again => return Verdict::Attach,
            Some(State::Done { .. }) | None => {}
        }
        fence.and_then(|f| expired(f, now)).map_or(Verdict::Fresh, Verdict::Refuse)
    }

    /// Whether a later owner than this token's has been seen.
    pub fn stale(&self, fence: &Fence) -> Option<Fault> {
        if fence.epoch < self.floor {
            let text = format!("epoch {} is below this host's floor {}", fence.epoch, self.floor);
            return Some(Fault::coded(STALE, text));
        }
        let seen = self.resources.get(&*fence.resource)?;
        let superseded = fence.epoch < seen.epoch;
        // A later generation carries a higher epoch; one that does not is a mistake of its sender.
        let strange = fence.epoch == seen.epoch && fence.generation != seen.generation;
        (superseded || strange).then(|| {
            let Fence { resource, generation, epoch, .. } = fence;
            let text = format!(
                "generation {generation} epoch {epoch} of resource {resource} is superseded by generation {} epoch {}",
                seen.generation, seen.epoch
            );
            Fault::coded(STALE, text)
        })
    }

    /// Remembers a task as not yet durable.
    pub fn accept(&mut self, id: TaskId, arrival: &Arrival<'_>) {
        self.forget(arrival.now);
        self.remove(&id);
        if let Some(fence) = arrival.fence.filter(|_| arrival.acts) {
            self.raise(&fence.resource, fence.generation, fence.epoch);
            if let Some(seen) = self.resources.get_mut(&*fence.resource) {
                seen.tasks.push(id.clone());
            }
        }
        let entry = Entry {
            path: self.texts.share(arrival.path),
            callback: arrival.callback.map(|c| self.texts.share(c)),
            fence: arrival.fence.cloned().map(Box::new),
            state: State::Accepting,
            at: arrival.now,
            order: self.tick(),
            round: 0,
            acts: arrival.acts,
            unfinished: None,
        };
        self.tasks.insert(id, entry);
    }

    /// The journal refused the task.
    pub fn withdraw(&mut self, id: &TaskId) {
        self.remove(id);
    }

    /// The task is durable and waits for its turn.
    pub fn accepted(&mut self, id: &TaskId) {
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.state = State::Queued;
        }
    }

    /// A known task was sent again.
    pub fn attach(&mut self, id: &TaskId, callback: Option<&str>, fence: Option<&Fence>) -> Attachment {
        let Some(acts) = self.tasks.get(id).map(|entry| entry.acts) else { return Attachment::default() };
        let fence = fence.filter(|_| acts);
        let raised = fence.is_some_and(|f| self.raise(&f.resource, f.generation, f.epoch));
        let callback = callback.map(|c| self.texts.share(c));
        let Some(entry) = self.tasks.get_mut(id) else { return Attachment::default() };
        let mut changed = entry.take_sender(callback.as_ref());
        changed |= entry.take_token(fence) || raised;
        let State::Done { reported, .. } = &mut entry.state else {
            return Attachment { changed: changed && acts, due: None };
        };
        *reported &= callback.is_none();
        entry.round += u32::from(callback.is_some());
        let due = callback.map(|_| entry.round);
        Attachment { changed: acts && (changed || due.is_some()), due }
    }

    /// The task's turn has come: its token, unless it has been superseded or has expired meanwhile.
    pub fn start(&mut self, id: &TaskId, now: u64) -> Result<Option<Fence>, Fault> {
        let Some(entry) = self.tasks.get(id) else {
            return Err(Fault::new("the task was forgotten before its turn came"));
        };
        let fence = entry.fence.as_deref().cloned();
        let refused = fence.as_ref().and_then(|f| self.stale(f).or_else(|| expired(f, now)));
        if let Some(fault) = refused {
            return Err(fault);
        }
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.state = State::Running;
        }
        Ok(fence)
    }

    /// The task has ended. Gives the round in which to report it, if anybody wants to know.
    pub fn done(&mut self, id: &TaskId, outcome: Bytes, refused: bool, now: u64) -> Option<u32> {
        let order = self.tick();
        let entry = self.tasks.get_mut(id)?;
        let reported = entry.callback.is_none();
        entry.state = State::Done { outcome, refused, reported };
        (entry.at, entry.order, entry.unfinished) = (now, order, None);
        entry.round += 1;
        let (round, acts, fenced) = (entry.round, entry.acts, entry.fence.is_some());
        if !acts {
            self.glances.push_back((id.clone(), order));
        } else if !fenced {
            self.loose.push_back((id.clone(), order));
        } else {
            self.forget_superseded(id);
        }
        (!reported).then_some(round)
    }

    /// What to report to whom, as long as this round of reporting is the last one begun.
    pub fn due(&self, id: &TaskId, round: u32) -> Option<(Arc<str>, Bytes)> {
        let entry = self.tasks.get(id).filter(|e| e.round == round)?;
        match (&entry.state, &entry.callback) {
            (State::Done { outcome, reported: false, .. }, Some(callback)) => {
                Some((callback.clone(), outcome.clone()))
            }
            _ => None,
        }
    }

    /// Somebody took the outcome. Says whether that is news for the journal.
    pub fn reported(&mut self, id: &TaskId, round: u32) -> bool {
        let Some(entry) = self.tasks.get_mut(id).filter(|e| e.round == round) else { return false };
        let State::Done { reported, .. } = &mut entry.state else { return false };
        *reported = true;
        let acts = entry.acts;
        self.forget_superseded(id);
        acts
    }

    /// Refuses every epoch below `epoch` from now on. Says whether that is new.
    pub fn raise_floor(&mut self, epoch: u64) -> bool {
        let raised = epoch > self.floor;
        if raised {
            self.floor = epoch;
            // Their tasks stay: a flow that outlives the host's absence sends them again under a later epoch.
            self.resources.retain(|_, seen| seen.epoch >= epoch || !seen.tasks.is_empty());
        }
        raised
    }

    /// Whether a task other than `asking` acts at this moment under an epoch below `epoch`.
    pub fn acts_below(&self, epoch: u64, asking: &TaskId) -> bool {
        let below = |entry: &Entry| entry.fence.as_deref().is_some_and(|fence| fence.epoch < epoch);
        let acts = |entry: &Entry| entry.acts && matches!(entry.state, State::Running) && below(entry);
        self.tasks.iter().any(|(id, entry)| acts(entry) && id != asking)
    }

    /// Forgets what need not be remembered any longer.
    pub fn forget(&mut self, now: u64) {
        let (loose, glances) = (&mut self.loose, &mut self.glances);
        evict(&mut self.tasks, loose, LOOSE, LOOSE_AGE, now);
        evict(&mut self.tasks, glances, GLANCES, GLANCE_AGE, now);
        if now >= self.next_sweep {
            self.next_sweep = now + millis(SWEEP_EVERY);
            self.forget_long_past(now);
        }
    }

    pub(super) fn raise(&mut self, resource: &str, generation: u64, epoch: u64) -> bool {
        let Some(seen) = self.resources.get_mut(resource) else {
            self.resources.insert(resource.into(), Seen { generation, epoch, tasks: Vec::new() });
            return true;
        };
        if epoch <= seen.epoch {
            return false;
        }
        let newer = generation != seen.generation;
        (seen.generation, seen.epoch) = (generation, epoch);
        if newer {
            seen.tasks.clone().iter().for_each(|id| self.forget_superseded(id));
        }
        true
    }

    pub(super) fn entries(&mut self) -> impl Iterator<Item = (&TaskId, &mut Entry)> {
        self.tasks.iter_mut()
    }

    /// Forgets a finished, reported task when its late copies are stale by their epoch.
    fn forget_superseded(&mut self, id: &TaskId) {
        let Some(entry) = self.tasks.get(id) else { return };
        let Some(fence) = entry.fence.as_deref().filter(|_| entry.is_reported()) else { return };
        let seen = self.resources.get(&*fence.resource);
        let superseded = seen.is_some_and(|s| s.epoch > fence.epoch && s.generation != fence.generation);
        if superseded {
            self.remove(id);
        }
    }

    fn forget_long_past(&mut self, now: u64) {
        let past = |f: &Fence| f.deadline.is_some_and(|d| d.saturating_add(millis(LONG_PAST)) < now);
        let gone = |e: &Entry| e.acts && e.is_reported() && e.fence.as_deref().is_some_and(past);
        let gone: Vec<_> = self.tasks.iter().filter(|(_, e)| gone(e)).map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| self.remove(id));
    }

    fn remove(&mut self, id: &TaskId) {
        let Some(fence) = self.tasks.remove(id).and_then(|entry| entry.fence) else { return };
        if let Some(seen) = self.resources.get_mut(&*fence.resource) {
            seen.tasks.retain(|other| other != id);
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Entry {
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    pub fn round(&self) -> u32 {
        self.round
    }

    fn is_reported(&self) -> bool {
        matches!(self.state, State::Done { reported: true, .. })
    }

    fn take_sender(&mut self, callback: Option<&Arc<str>>) -> bool {
        let changed = callback.is_some() && callback != self.callback.as_ref();
        if changed {
            self.callback = callback.cloned();
        }
        changed
    }

    /// The task goes on under the token of whoever asked for it last.
    fn take_token(&mut self, fence: Option<&Fence>) -> bool {
        let (Some(own), Some(fence)) = (&mut self.fence, fence) else { return false };
        let changed = own.resource == fence.resource && **own != *fence;
        if changed {
            **own = fence.clone();
        }
        changed
    }
}

/// A deadline is about starting: a task that is known may go on after it.
pub fn expired(fence: &Fence, now: u64) -> Option<Fault> {
    let deadline = fence.deadline.filter(|d| *d <= now)?;
    let late = now - deadline;
    Some(Fault::coded(EXPIRED, format!("the deadline passed {late} ms before the command could start")))
}

fn evict(
    tasks: &mut HashMap<TaskId, Entry>,
    ring: &mut VecDeque<(TaskId, u64)>,
    keep: usize,
    age: Duration,
    now: u64,
) {
    while let Some((id, order)) = ring.front() {
        // One that ran again, or was forgotten otherwise, stands elsewhere or nowhere.
        let current = tasks.get(id).filter(|e| e.order == *order);
        let old = current.is_none_or(|e| e.at.saturating_add(millis(age)) < now);
        if !old && ring.len() <= keep {
            return;
        }
        if current.is_some() {
            tasks.remove(id);
        }
        ring.pop_front();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
