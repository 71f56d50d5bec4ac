//! The ledger and the journal's records: one made of the other.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::ledger::{Arrival, Entry, Ledger, State, Unfinished};
use super::record::{Record, VERSION};
use crate::call::TaskId;

type Write<'a> = &'a mut dyn FnMut(&Record<'_>) -> io::Result<()>;

/// An accepted task that has not ended, as it stood in the journal.
pub struct Pending {
    pub id: TaskId,
    pub path: Arc<str>,
    pub body: Box<str>,
    pub boot: Arc<str>,
    pub resource: Option<String>,
}

impl Ledger {
    /// Applies what the journal says happened next. Records of forgotten tasks are without effect.
    pub fn apply(&mut self, record: Record<'_>) -> Result<(), String> {
        match record {
            Record::Journal { version: VERSION } => {}
            Record::Journal { version } => return Err(format!("version {version} is not known here")),
            Record::Accepted { task, path, body, callback, fence, boot, at } => {
                if self.tasks.get(&task).is_some_and(|e| !e.is_done()) {
                    self.attach(&task, callback.as_deref(), fence.as_deref());
                    return Ok(());
                }
                let (callback, fence) = (callback.as_deref(), fence.as_deref());
                self.accept(task.clone(), &Arrival { path: &path, callback, fence, acts: true, now: at });
                let boot = self.texts.share(&boot);
                self.hold(&task, Unfinished { body: body.get().into(), boot });
            }
            Record::Attached { task, callback, fence } => {
                self.attach(&task, callback.as_deref(), fence.as_deref());
            }
            Record::Done { task, outcome, refused, at } => {
                self.done(&task, bytes_of(outcome), refused, at);
            }
            Record::Reported { task } => self.taken(&task),
            Record::Finished { task, path, callback, fence, outcome, refused, reported, at } => {
                let (callback, fence) = (callback.as_deref(), fence.as_deref());
                self.accept(task.clone(), &Arrival { path: &path, callback, fence, acts: true, now: at });
                self.done(&task, bytes_of(outcome), refused, at);
                if reported {
                    self.taken(&task);
                }
            }
            Record::Highest { resource, generation, epoch } => {
                self.raise(&resource, generation, epoch);
            }
            Record::Floor { epoch } => {
                self.raise_floor(epoch);
            }
        }
        Ok(())
    }

    /// Writes records that make the same ledger again.
    pub fn dump(&self, write: Write<'_>) -> io::Result<()> {
        write(&Record::Journal { version: VERSION })?;
        if self.floor > 0 {
            write(&Record::Floor { epoch: self.floor })?;
        }
        for (resource, seen) in &self.resources {
            let (generation, epoch) = (seen.generation, seen.epoch);
            write(&Record::Highest { resource: (&**resource).into(), generation, epoch })?;
        }
        let mut tasks: Vec<_> = self.tasks.iter().collect();
        tasks.sort_unstable_by_key(|(_, entry)| entry.order);
        tasks.into_iter().try_for_each(|(id, entry)| entry.dump(id, write))
    }

    /// Takes out what is needed to go on, in the order of acceptance.
    pub fn take_pending(&mut self) -> Vec<Pending> {
        let mut pending: Vec<_> = self.entries().filter_map(|(id, entry)| entry.take_pending(id)).collect();
        pending.sort_unstable_by_key(|(order, _)| *order);
        pending.into_iter().map(|(_, pending)| pending).collect()
    }

    /// The finished tasks whose outcome nobody has taken, with the round in which to report them.
    pub fn unreported(&self) -> Vec<(TaskId, u32)> {
        let due = |(id, entry): (&TaskId, &Entry)| match entry.state {
            State::Done { reported: false, .. } => Some((entry.order, id.clone(), entry.round())),
            _ => None,
        };
        let mut due: Vec<_> = self.tasks.iter().filter_map(due).collect();
        due.sort_unstable_by_key(|(order, ..)| *order);
        due.into_iter().map(|(_, id, round)| (id, round)).collect()
    }

    fn hold(&mut self, task: &TaskId, unfinished: Unfinished) {
        if let Some(entry) = self.tasks.get_mut(task) {
            entry.state = State::Queued;
            entry.unfinished = Some(Box::new(unfinished));
        }
    }

    fn taken(&mut self, task: &TaskId) {
        if let Some(round) = self.tasks.get(task).map(Entry::round) {
            self.reported(task, round);
        }
    }
}

impl Entry {
    fn take_pending(&mut self, id: &TaskId) -> Option<(u64, Pending)> {
        let Unfinished { body, boot } = *self.unfinished.take()?;
        let resource = self.fence.as_ref().map(|f| f.resource.clone());
        Some((self.order, Pending { id: id.clone(), path: self.path.clone(), body, boot, resource }))
    }

    fn dump(&self, id: &TaskId, write: Write<'_>) -> io::Result<()> {
        let (task, path) = (id.clone(), (&*self.path).into());
        let callback = self.callback.as_deref().map(Into::into);
        let fence = self.fence.as_deref().map(std::borrow::Cow::Borrowed);
        let at = self.at;
        match (&self.state, &self.unfinished) {
            (State::Done { outcome, refused, reported }, _) => {
                let (outcome, refused, reported) = (raw(outcome), *refused, *reported);
                write(&Record::Finished { task, path, callback, fence, outcome, refused, reported, at })
            }
            (_, Some(unfinished)) => {
                let (body, boot) = (raw(unfinished.body.as_bytes()), (&*unfinished.boot).into());
                write(&Record::Accepted { task, path, body, callback, fence, boot, at })
            }
            (_, None) => Ok(()),
        }
    }
}

fn bytes_of(raw: &RawValue) -> Bytes {
    Bytes::copy_from_slice(raw.get().as_bytes())
}

/// JSON that was read or made as JSON before.
pub fn raw(json: &[u8]) -> &RawValue {
    serde_json::from_slice(json).expect("it was JSON when it was accepted")
}
