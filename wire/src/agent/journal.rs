//! The task journal: an append-only file, made durable in groups.
//!
//! Appends of concurrent tasks collect in memory while one thread writes and syncs what collected before
//! (group commit). Their order in the file is the order of the calls. Invariants: an append that is
//! reported durable survives any crash; one that is refused is cut off again; what cannot be read is
//! never silently dropped, except the end of a write that a crash interrupted.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::ledger::Ledger;
use super::machine::Disk;
use super::record::Record;
use super::store::Store;

/// Buffers that grew beyond this are given back.
const SPARE: usize = 256 << 10;
/// How long a record that nobody waits for may stay unwritten.
const LEISURE: Duration = Duration::from_millis(50);

pub struct Journal {
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Resolves when a record is durable, or is known not to be.
#[must_use = "nothing is durable until it is awaited"]
pub struct Durable(oneshot::Receiver<Result<(), NotDurable>>);

/// Why a record is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotDurable {
    #[error("the task journal cannot be written: {0}")]
    Disk(Arc<io::Error>),
    #[error("the agent is shutting down")]
    Closed,
}

#[derive(Default)]
struct Queue {
    batch: Mutex<Batch>,
    filled: Condvar,
}

#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    waiting: Vec<oneshot::Sender<Result<(), NotDurable>>>,
    closed: bool,
}

impl Journal {
    /// Opens the journal below `dir`, alone, and reads it.
    pub fn open(dir: &Path, disk: Box<dyn Disk>) -> io::Result<(Self, Ledger)> {
        let (store, ledger) = Store::open(dir, disk)?;
        let queue = Arc::new(Queue::default());
        let theirs = queue.clone();
        let writer = std::thread::Builder::new().name("journal".into());
        let writer = writer.spawn(move || write_all(&theirs, store))?;
        Ok((Journal { queue, writer: Mutex::new(Some(writer)) }, ledger))
    }

    /// Appends a record that somebody waits for.
    pub fn append(&self, record: &Record<'_>) -> Durable {
        let (tell, told) = oneshot::channel();
        let mut batch = self.queue.lock();
        if !batch.closed {
            record.write(&mut batch.lines);
            batch.waiting.push(tell);
            self.queue.filled.notify_one();
        }
        Durable(told)
    }

    /// Appends a record whose loss would only cause repetition.
    pub fn note(&self, record: &Record<'_>) {
        let mut batch = self.queue.lock();
        if !batch.closed {
            let first = batch.lines.is_empty();
            record.write(&mut batch.lines);
            if first {
                self.queue.filled.notify_one();
            }
        }
    }

    /// Writes what was appended, refuses what comes later, and gives the directory free. Blocks.
    pub fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the journal's thread panicked");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Durable {
    pub async fn wait(self) -> Result<(), NotDurable> {
        self.0.await.unwrap_or(Err(NotDurable::Closed))
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Waits for something to write; `None` when there will be nothing any more. What nobody waits for
    /// is left for a while, since it can go with something that is waited for.
    fn take(&self, spare: Vec<u8>) -> Option<Batch> {
        let idle = |batch: &mut Batch| batch.lines.is_empty() && !batch.closed;
        let calm = |batch: &mut Batch| batch.waiting.is_empty() && !batch.closed;
        let batch = self.filled.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let batch = self.filled.wait_timeout_while(batch, LEISURE, calm);
        let (mut batch, _) = batch.unwrap_or_else(PoisonError::into_inner);
        let next = Batch { lines: spare, waiting: Vec::new(), closed: batch.closed };
        let taken = std::mem::replace(&mut *batch, next);
        (!taken.lines.is_empty()).then_some(taken)
    }
}

fn write_all(queue: &Queue, mut store: Store) {
    // However this thread ends, nobody may wait for it afterwards.
    let _guard = CloseAtEnd(queue);
    let mut spare = Vec::new();
    while let Some(batch) = queue.take(std::mem::take(&mut spare)) {
        let result = store.commit(&batch.lines, !batch.waiting.is_empty());
        let result = result.map_err(|error| {
            tracing::error!(%error, records = batch.waiting.len(), "the task journal cannot be written");
            NotDurable::Disk(Arc::new(error))
        });
        for waiting in batch.waiting {
            let _ = waiting.send(result.clone());
        }
        store.tidy();
        spare = batch.lines;
        spare.clear();
        spare.shrink_to(SPARE);
    }
}

struct CloseAtEnd<'a>(&'a Queue);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        let mut batch = self.0.lock();
        batch.closed = true;
        batch.waiting.clear();
    }
}
