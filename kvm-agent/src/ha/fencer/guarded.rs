//! One storage, as all threads of the fencer see it. Nobody waits for anything while holding its lock.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use wire::calls::ha::SelfFencerReport;

use crate::ha::lease::{Cause, Lease, Phase};
use crate::ha::plan::Order;
use crate::ha::standing::Stand;
use crate::sys::clock::{self, Moment};

pub struct Guarded {
    pub uuid: String,
    state: Mutex<State>,
    /// Keeps the lease.
    pub keeper: OnceLock<Thread>,
}

struct State {
    lease: Lease,
    order: Order,
    /// The order under which this host was last given up.
    given_up: Option<u64>,
    /// Where the mount path leads, when it is another path.
    real: Option<PathBuf>,
    /// What went wrong last.
    trouble: String,
    killed: BTreeSet<String>,
    /// The losses that were told.
    told: u64,
    cancelled: bool,
    over: bool,
}

impl Guarded {
    /// When there was a lease (`begun`), what runs goes on for two intervals, unless the storage says within them
    /// how long it lasts. Otherwise nobody relies on it yet.
    pub fn new(uuid: &str, order: &Order, begun: bool, given_up: Option<u64>) -> Self {
        let terms = order.terms();
        let soon = clock::now() + terms.lasts.min(Duration::from_secs(2 * order.interval));
        let until = if begun { soon } else { Moment::MAX };
        let state = State {
            lease: Lease::new(until, terms),
            order: order.clone(),
            given_up,
            real: None,
            trouble: "no renewal has returned yet".into(),
            killed: BTreeSet::new(),
            told: 0,
            cancelled: false,
            over: false,
        };
        Guarded { uuid: uuid.to_owned(), state: Mutex::new(state), keeper: OnceLock::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn order(&self) -> Order {
        self.state().order.clone()
    }

    pub fn phase(&self) -> Phase {
        self.state().lease.phase()
    }

    /// What is new holds from the next renewal on, which comes at once.
    pub fn obey(&self, order: &Order) {
        let mut state = self.state();
        let changed = state.order != *order;
        state.order = order.clone();
        drop(state);
        if changed {
            self.wake();
        }
    }

    pub fn cancel(&self) {
        self.state().cancelled = true;
        self.wake();
    }

    /// Between two renewals: whether there shall be no more.
    pub fn ends(&self) -> bool {
        let mut state = self.state();
        state.over = state.cancelled;
        state.over
    }

    /// Nothing is written to the storage any more.
    pub fn is_over(&self) -> bool {
        self.state().over
    }

    /// Works on the lease, and notices first how much time has passed.
    pub fn lease<T>(&self, work: impl FnOnce(&mut Lease) -> T) -> T {
        let mut state = self.state();
        state.lease.pass(clock::now());
        work(&mut state.lease)
    }

    pub fn give_up(&self, order: u64) {
        self.state().given_up = Some(order);
    }

    pub fn found_at(&self, real: PathBuf) {
        let mut state = self.state();
        state.real = Some(real).filter(|real| *real != Path::new(&state.order.mount_path));
    }

    pub fn in_trouble(&self, trouble: Option<String>) {
        let mut state = self.state();
        if let Some(trouble) = trouble.as_ref().filter(|trouble| **trouble != state.trouble) {
            tracing::warn!(storage = self.uuid, trouble, "the lease was not renewed");
        }
        state.trouble = trouble.unwrap_or_default();
    }

    pub fn mounts(&self) -> Vec<PathBuf> {
        let state = self.state();
        let told = PathBuf::from(&state.order.mount_path);
        state.real.iter().cloned().chain([told]).collect()
    }

    pub fn killed(&self, vm: &str) {
        self.state().killed.insert(vm.to_owned());
    }

    /// What is to be told of a loss, once: when nothing is left, or when what runs is spared.
    pub fn report(&self) -> Option<SelfFencerReport> {
        let mut state = self.state();
        let cause = match state.lease.phase() {
            Phase::Quiet(cause, _) => cause,
            Phase::Lost(cause) if !state.lease.kills() => cause,
            _ => return None,
        };
        if state.told == state.lease.generation() {
            return None;
        }
        state.told = state.lease.generation();
        let vms: Vec<String> = std::mem::take(&mut state.killed).into_iter().collect();
        Some(SelfFencerReport {
            host_uuid: state.order.host.clone(),
            ps_uuids: vec![self.uuid.clone()],
            vm_uuids: vms.join(","),
            reason: reason(cause, &state.trouble),
            fencer_failure: cause == Cause::Silence,
        })
    }

    pub fn stand(&self, now: Moment) -> Stand {
        let mut state = self.state();
        state.lease.pass(now);
        let given_up = state.given_up.is_some_and(|order| order >= state.order.number);
        let held = state.lease.is_held(now) && !given_up;
        let why = match state.lease.phase() {
            _ if held => String::new(),
            _ if given_up => "it was fenced by another host, and not set up again since".into(),
            Phase::Lost(cause) | Phase::Quiet(cause, _) => reason(cause, &state.trouble),
            Phase::Untried | Phase::Held => state.trouble.clone(),
        };
        Stand {
            order: state.order.number,
            held,
            given_up,
            generation: state.lease.generation(),
            until: u64::try_from(state.lease.until().as_millis()).unwrap_or(u64::MAX),
            why,
        }
    }

    fn wake(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
    }
}

fn reason(cause: Cause, trouble: &str) -> String {
    match cause {
        Cause::Silence if trouble.is_empty() => "the storage did not answer in time".into(),
        Cause::Silence => format!("the lease could not be renewed in time: {trouble}"),
        Cause::Fenced(_) => "the host was fenced by another one".into(),
    }
}
