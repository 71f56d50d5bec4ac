//! Which flows this controller drives, and who waits for their end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, oneshot};

use super::FlowView;
use crate::id::Id;

/// Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct Waiters(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    told: HashMap<Id<FlowView>, Vec<oneshot::Sender<()>>>,
    driven: HashMap<Id<FlowView>, Arc<Notify>>,
    /// Ours, and nobody drives them.
    stalled: HashSet<Id<FlowView>>,
}

/// A flow is driven as long as this lives.
pub(crate) struct Alive {
    waiters: Waiters,
    flow: Id<FlowView>,
    /// Told when an operator wants something of the flow.
    pub wishes: Arc<Notify>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut inner = self.waiters.lock();
        if inner.driven.get(&self.flow).is_some_and(|wishes| Arc::ptr_eq(wishes, &self.wishes)) {
            inner.driven.remove(&self.flow);
        }
    }
}

impl Waiters {
    pub fn alive(&self, flow: Id<FlowView>) -> Alive {
        let wishes = Arc::<Notify>::default();
        self.lock().driven.insert(flow, Arc::clone(&wishes));
        Alive { waiters: self.clone(), flow, wishes }
    }

    pub fn drives(&self, flow: Id<FlowView>) -> bool {
        self.lock().driven.contains_key(&flow)
    }

    /// It is ours and must be adopted again.
    pub fn stalled(&self, flow: Id<FlowView>) {
        self.lock().stalled.insert(flow);
    }

    pub fn take_stalled(&self) -> HashSet<Id<FlowView>> {
        std::mem::take(&mut self.lock().stalled)
    }

    pub fn wait(&self, flow: Id<FlowView>) -> oneshot::Receiver<()> {
        let (told, wait) = oneshot::channel();
        let mut inner = self.lock();
        let list = inner.told.entry(flow).or_default();
        list.retain(|waiter| !waiter.is_closed());
        list.push(told);
        wait
    }

    pub fn tell(&self, flow: Id<FlowView>) {
        for told in self.lock().told.remove(&flow).unwrap_or_default() {
            let _ = told.send(());
        }
    }

    pub fn tell_all(&self) {
        let told = std::mem::take(&mut self.lock().told);
        for told in told.into_values().flatten() {
            let _ = told.send(());
        }
    }

    pub fn wish(&self, flow: Id<FlowView>) {
        if let Some(wishes) = self.lock().driven.get(&flow) {
            wishes.notify_one();
        }
    }

    /// Nothing of the era before is ours any longer.
    pub fn forget(&self) {
        let mut inner = self.lock();
        inner.driven.clear();
        inner.stalled.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no code panics while it holds this")
    }
}
