//! The process that keeps this host's leases and kills its VMs when it has lost one.
//!
//! Each storage has a thread that reads and writes there and may hang. The thread that counts the time and kills
//! does neither, there or on the disk of the agent's state: it knows nothing but memory and `/proc`. Others look
//! for a new plan, answer the agent, and lay reports down.

mod guarded;
mod hunt;
mod keeper;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};
use std::time::Duration;

use wire::calls::ha::SelfFencerReport;

use self::guarded::Guarded;
use self::hunt::Hunt;
use super::lease::Phase;
use super::plan::{self, Plan};
use super::standing::{self, Standing};
use super::{DIR, report};
use crate::state::private_dir;
use crate::sys::clock;
use crate::sys::fencer_process::{endure, take_lock};

/// How soon a changed plan is seen, and how soon after its end a lease is known to be lost.
const LOOK: Duration = Duration::from_millis(200);
/// They do little: what they hold is locked into memory.
const STACK: usize = 256 << 10;

/// What the threads share.
pub(super) struct Fencer {
    dir: PathBuf,
    era: String,
    storages: Mutex<BTreeMap<String, Arc<Guarded>>>,
}

/// Runs until there is nothing to guard; with `stays` until it is killed. One fencer at a time: with `stays` another
/// one's end is waited for.
///
/// # Errors
/// When the directory cannot be used.
pub fn run(state_dir: &Path, stays: bool) -> io::Result<()> {
    let dir = state_dir.join(DIR);
    private_dir(&dir)?;
    let Some(_alone) = alone(&dir, stays)? else { return Ok(()) };
    let listener = standing::listen(&dir)?;
    let era = format!("{}-{}", std::process::id(), clock::now().as_nanos());
    let fencer = Arc::new(Fencer { dir, era, storages: Mutex::default() });
    fencer.follow_plan();
    let (reports, laid_down) = channel();
    let (answering, following, dir) = (fencer.clone(), fencer.clone(), fencer.dir.clone());
    spawn("answers", move || standing::answer(&listener, || answering.standing()))?;
    spawn("reports", move || lay_down(&dir, &laid_down))?;
    spawn("plan", move || following.follow(stays))?;
    endure();
    tracing::info!(dir = %fencer.dir.display(), "the fencer watches");
    Hunt::new(fencer, reports).run()
}

/// The lock, which is held as long as this process lives. Without `stays`, `None` when another one has it.
fn alone(dir: &Path, stays: bool) -> io::Result<Option<fs::File>> {
    loop {
        match take_lock(&dir.join("lock"))? {
            None if stays => thread::park_timeout(LOOK),
            taken => return Ok(taken),
        }
    }
}

pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<thread::Thread> {
    let handle = Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work)?;
    Ok(handle.thread().clone())
}

fn lay_down(dir: &Path, reports: &Receiver<SelfFencerReport>) {
    for report in reports {
        if let Err(error) = report::lay_down(dir, &report) {
            tracing::error!(%error, ?report, "a report is lost");
        }
    }
}

impl Fencer {
    fn storages(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Guarded>>> {
        self.storages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guarded(&self) -> Vec<Arc<Guarded>> {
        self.storages().values().cloned().collect()
    }

    fn standing(&self) -> Standing {
        let now = clock::now();
        let storages = self.storages();
        let stands = storages.iter().map(|(uuid, guarded)| (uuid.clone(), guarded.stand(now)));
        Standing { era: self.era.clone(), storages: stands.collect() }
    }

    fn follow(&self, stays: bool) {
        loop {
            thread::park_timeout(LOOK);
            self.follow_plan();
            let idle = self.storages().is_empty()
                && Plan::read(&self.dir).is_ok_and(|plan| plan.storages.is_empty());
            if (idle && !stays) || self.is_abandoned() {
                tracing::info!("there is nothing to guard any more");
                std::process::exit(0);
            }
        }
    }

    /// A plan that cannot be read changes nothing.
    fn follow_plan(&self) {
        match Plan::read(&self.dir) {
            Ok(plan) => self.take_over(&plan),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "the plan cannot be read: the last one holds"),
        }
    }

    fn take_over(&self, plan: &Plan) {
        let mut storages = self.storages();
        for (uuid, guarded) in storages.iter() {
            match plan.storages.get(uuid) {
                Some(order) => guarded.obey(order),
                None => guarded.cancel(),
            }
        }
        storages.retain(|_, guarded| !guarded.is_over());
        for (uuid, order) in &plan.storages {
            if !storages.contains_key(uuid) {
                let given_up = plan::given_up(&self.dir, uuid);
                let begun = plan::has_begun(&self.dir, uuid, order.since);
                let guarded = Arc::new(Guarded::new(uuid, order, begun, given_up));
                match keeper::start(&guarded, &self.dir) {
                    Ok(()) => drop(storages.insert(uuid.clone(), guarded)),
                    Err(error) => tracing::error!(%error, uuid, "cannot keep the lease of a storage"),
                }
            }
        }
    }

    /// The agent's state was taken away and nothing runs on what was guarded: nobody will ever say that it is over.
    fn is_abandoned(&self) -> bool {
        let quiet = |guarded: &Arc<Guarded>| matches!(guarded.phase(), Phase::Quiet(..));
        !self.dir.exists() && self.storages().values().all(quiet)
    }
}
