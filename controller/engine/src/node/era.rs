//! The stay of a controller among the others, and the work that belongs to it.

use std::future::Future;
use std::sync::{Arc, RwLock};

use tokio_util::sync::CancellationToken;

use super::Node;
use super::lease::Lease;
use super::ring::Ring;
use crate::engine::Engine;
use crate::error::{Result, codes};
use crate::id::Id;

/// One stay. Its work ends with it.
#[derive(Debug)]
pub struct Era {
    pub id: Id<Node>,
    pub(super) lease: Lease,
    over: CancellationToken,
}

/// The era that is, and the ring as this controller sees it.
#[derive(Default)]
pub(crate) struct Eras {
    now: RwLock<Option<Arc<Era>>>,
    ring: RwLock<Arc<Ring>>,
    /// Told of every change of the ring.
    changed: tokio::sync::watch::Sender<u64>,
}

impl Era {
    pub(super) fn new(id: Id<Node>, lease: Lease) -> Self {
        Era { id, lease, over: CancellationToken::new() }
    }

    /// Whether its work may go on. To be asked right before anything leaves this process.
    pub fn holds(&self) -> bool {
        !self.over.is_cancelled() && self.lease.holds()
    }

    /// Waits for its end.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Ends all work of this era.
    pub(crate) fn end(&self) {
        self.over.cancel();
    }
}

impl Eras {
    pub fn now(&self) -> Result<Arc<Era>> {
        let now = self.now.read().expect("never poisoned").clone();
        now.filter(|era| era.holds()).ok_or_else(|| {
            codes::NO_LEASE.because(
                "this controller has lost touch with the metadata database: try again, or another one",
            )
        })
    }

    pub fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().expect("never poisoned"))
    }

    /// Wakes at the next change of the ring.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn begin(&self, era: Arc<Era>) {
        *self.now.write().expect("never poisoned") = Some(era);
    }

    pub(super) fn end(&self) {
        if let Some(era) = self.now.write().expect("never poisoned").take() {
            era.end();
        }
    }

    /// Returns whether it is another ring than before.
    pub(super) fn see(&self, ring: Ring) -> bool {
        let mut seen = self.ring.write().expect("never poisoned");
        if seen.members() == ring.members() {
            return false;
        }
        *seen = Arc::new(ring);
        drop(seen);
        self.changed.send_modify(|count| *count += 1);
        true
    }
}

/// Runs `work` as a part of `era`: it is dropped where it stands when the era is over.
pub(crate) fn spawn(era: &Arc<Era>, work: impl Future<Output = ()> + Send + 'static) {
    let era = Arc::clone(era);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = era.over() => {}
            () = work => {}
        }
    });
}

impl Engine {
    /// The era that this controller works in.
    pub fn era(&self) -> Result<Arc<Era>> {
        self.eras().now()
    }

    /// Whether the ring gives the key to this controller.
    pub fn owns(&self, key: &str) -> bool {
        let Ok(era) = self.era() else { return false };
        self.eras().ring().owner(key).is_some_and(|member| member.id == era.id)
    }
}
