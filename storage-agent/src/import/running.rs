//! Who imports what: one import per image.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::upload::{Arrival, Door};
use super::{Error, Order};
use crate::store::ImageId;

const UNKNOWN: u64 = u64::MAX;

/// Bytes received, and expected when that is known.
#[derive(Debug)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

/// An import under way, or something else that must be alone with the image.
pub struct Running {
    /// Absent when this is no import.
    source: Option<String>,
    pub progress: Arc<Progress>,
    /// Where an upload comes in.
    pub door: Option<Door>,
    pub cancel: CancellationToken,
    pub ended: CancellationToken,
}

#[derive(Default)]
pub(super) struct Claims(Mutex<HashMap<ImageId, Arc<Running>>>);

pub(super) enum Claim<'a> {
    Ours(Ticket<'a>),
    Theirs(Arc<Running>),
}

/// The right to work on an image; ends when it is dropped.
pub(super) struct Ticket<'a> {
    claims: &'a Claims,
    id: ImageId,
    running: Arc<Running>,
}

impl Running {
    pub(super) fn new(order: &Order, uploads: mpsc::Sender<Arrival>) -> Self {
        Running { source: Some(order.digest.clone()), door: Door::of(order, uploads), ..Running::alone() }
    }

    fn alone() -> Self {
        Running {
            source: None,
            progress: Arc::default(),
            door: None,
            cancel: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }
}

impl Claims {
    /// Takes the image for an import; an import of the image from elsewhere is an error.
    pub fn claim(&self, id: &ImageId, running: Running) -> Result<Claim<'_>, Error> {
        let source = running.source.clone();
        match self.insert(id, running) {
            Claim::Theirs(other) if other.source.is_some() && other.source != source => {
                Err(Error::OtherImport(id.to_string()))
            }
            claim => Ok(claim),
        }
    }

    /// Takes the image for something else.
    pub fn seize(&self, id: &ImageId) -> Claim<'_> {
        self.insert(id, Running::alone())
    }

    pub fn get(&self, id: &ImageId) -> Option<Arc<Running>> {
        self.lock().get(id).filter(|running| running.source.is_some()).cloned()
    }

    fn insert(&self, id: &ImageId, running: Running) -> Claim<'_> {
        match self.lock().entry(id.clone()) {
            Entry::Occupied(other) => Claim::Theirs(other.get().clone()),
            Entry::Vacant(place) => {
                let running = place.insert(Arc::new(running)).clone();
                Claim::Ours(Ticket { claims: self, id: id.clone(), running })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ImageId, Arc<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    pub fn running(&self) -> &Running {
        &self.running
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.id);
        self.running.ended.cancel();
    }
}

impl Progress {
    pub(super) fn reach(&self, done: u64) {
        self.done.store(done, Relaxed);
    }

    pub(super) fn expect(&self, total: u64) {
        self.total.store(total, Relaxed);
    }

    pub fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    pub fn total(&self) -> Option<u64> {
        Some(self.total.load(Relaxed)).filter(|&total| total != UNKNOWN)
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress { done: AtomicU64::new(0), total: AtomicU64::new(UNKNOWN) }
    }
}
