//! Drives one flow from where its row says it is to its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use tokio::sync::Notify;

use super::log::Log;
use super::store::{self, FORWARD, FlowRow, Guard, UNDO};
use super::{Alive, Cx, Flow, FlowView, LOOK_AGAIN, Step, Steps, Work, wish};
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Id, Stamp};
use crate::node::Era;
use crate::queue::Turn;

/// A parked flow is tried again after 1 s, 2 s, 4 s, … at most this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

struct Driver<F: Flow> {
    engine: Engine,
    era: Arc<Era>,
    row: FlowRow,
    epoch: Arc<AtomicI64>,
    flow: F,
    steps: Arc<Steps<F>>,
    log: Log,
    wishes: Arc<Notify>,
    /// Given up when the flow is parked: who comes then is refused with the reason, rather than kept waiting.
    turn: Option<Turn>,
}

/// What a move left behind.
enum Moved {
    On,
    Ended,
}

pub(super) async fn drive<F: Flow>(engine: Engine, era: Arc<Era>, row: FlowRow, turn: Turn) {
    let id = row.uuid;
    let alive = engine.waiters().alive(id);
    let ended = match understood::<F>(&row) {
        Ok(flow) => Driver::new(engine.clone(), era, row, flow, turn, &alive).run().await,
        Err(error) => Err(error),
    };
    drop(alive);
    match ended {
        Ok(()) => {}
        Err(error) if error.is(codes::LOST) => tracing::warn!(flow = %id, "another controller owns it"),
        Err(error) => {
            tracing::error!(flow = %id, %error, "the flow stands still until it is adopted again");
            engine.waiters().stalled(id);
        }
    }
    engine.waiters().tell(id);
}

/// Reads the flow back; one that a newer controller has begun is left to it.
fn understood<F: Flow>(row: &FlowRow) -> Result<F> {
    if row.version > F::VERSION {
        let details = format!("version {} of {} is newer than this controller", row.version, F::NAME);
        return Err(codes::INTERNAL.because(details));
    }
    serde_json::from_str(&row.body)
        .map_err(|error| codes::INTERNAL.because(format!("the flow's body is unreadable: {error}")))
}

impl<F: Flow> Driver<F> {
    fn new(engine: Engine, era: Arc<Era>, row: FlowRow, flow: F, turn: Turn, alive: &Alive) -> Self {
        Driver {
            engine,
            era,
            epoch: Arc::new(AtomicI64::new(row.epoch)),
            log: Log::read(&row.log),
            row,
            flow,
            steps: Arc::new(F::steps()),
            wishes: Arc::clone(&alive.wishes),
            turn: Some(turn),
        }
    }

    async fn run(mut self) -> Result<()> {
        loop {
            let moved = match self.row.direction == FORWARD {
                true => self.forward().await?,
                false => self.backward().await?,
            };
            if matches!(moved, Moved::Ended) {
                return Ok(());
            }
        }
    }

    fn guard(&self) -> Guard {
        Guard { flow: self.row.uuid, node: self.era.id, epoch: self.epoch.load(Ordering::SeqCst) }
    }

    fn step(&self) -> Option<(usize, &Step<F>)> {
        let index = usize::try_from(self.row.step).ok()?;
        Some((index, self.steps.list.get(index)?))
    }

    async fn forward(&mut self) -> Result<Moved> {
        let next = match self.run_act().await {
            Ok(next) => next,
            Err(error) => return self.turn(error).await,
        };
        match self.advance(next).await {
            Ok(moved) => Ok(moved),
            Err(error) => self.turn(error).await,
        }
    }

    /// Runs the act at hand, if the step at hand is one; tells the step to advance from.
    async fn run_act(&mut self) -> Result<usize> {
        let steps = Arc::clone(&self.steps);
        let index = usize::try_from(self.row.step).unwrap_or(0);
        let Some(Step { name, work: Work::Act { run, .. }, limit }) = steps.list.get(index) else {
            return Ok(index);
        };
        let cx = self.cx(name, FORWARD, *limit);
        let began = Stamp::now();
        let cancelled = cancelled(self.engine.clone(), self.row.uuid, Arc::clone(&self.wishes));
        let outcome = tokio::select! {
            biased;
            outcome = guarded(run(&mut self.flow, &cx)) => outcome,
            error = cancelled => Err(error),
        };
        self.log.step(index, FORWARD, began, outcome.as_ref().err());
        outcome.map(|()| index + 1)
    }

    /// Runs the record steps from `from` on and saves where the flow stands then, in one transaction.
    async fn advance(&mut self, from: usize) -> Result<Moved> {
        let (guard, row, steps) = (self.guard(), self.row.clone(), Arc::clone(&self.steps));
        let (flow, log) = (self.copy()?, self.log.written());
        let (at, flow) = self
            .engine
            .db()
            .write(move |tx| Box::pin(record_on(tx, guard, row, steps, flow, log, from)))
            .await?;
        self.flow = flow;
        self.arrive(at)
    }

    fn copy(&self) -> Result<F> {
        Ok(serde_json::from_value(serde_json::to_value(&self.flow)?)?)
    }

    fn arrive(&mut self, at: Option<usize>) -> Result<Moved> {
        let Some(at) = at else { return Ok(Moved::Ended) };
        self.row.step = i64::try_from(at).unwrap_or(i64::MAX);
        self.row.attempts = 0;
        Ok(Moved::On)
    }

    /// Turns back under a new epoch: the step that failed is undone first, for it may have half happened.
    async fn turn(&mut self, error: ErrorCode) -> Result<Moved> {
        if stands_still(&error) {
            return Err(error);
        }
        let step = self.step().map_or("end", |(_, step)| step.name);
        tracing::warn!(flow = %self.row.uuid, title = self.row.title, step, %error, "turns back");
        let (guard, told) = (self.guard(), error.clone());
        let epoch =
            self.engine.db().write(move |tx| Box::pin(async move { guard.turn(tx, &told).await })).await?;
        self.epoch.store(epoch, Ordering::SeqCst);
        self.row.direction = UNDO.to_owned();
        self.row.error = Some(serde_json::to_string(&error)?);
        Ok(Moved::On)
    }

    async fn backward(&mut self) -> Result<Moved> {
        if let Err(error) = self.undo_act().await {
            return self.park(error).await;
        }
        let from = usize::try_from(self.row.step).unwrap_or(0).min(self.steps.list.len());
        match self.retreat(from).await {
            Ok(moved) => Ok(moved),
            Err(error) => self.park(error).await,
        }
    }

    async fn undo_act(&mut self) -> Result<()> {
        let steps = Arc::clone(&self.steps);
        let index = usize::try_from(self.row.step).unwrap_or(0);
        let Some(Step { name, work: Work::Act { undo: Some(undo), .. }, limit }) = steps.list.get(index)
        else {
            return Ok(());
        };
        let cx = self.cx(name, UNDO, *limit);
        let began = Stamp::now();
        let outcome = guarded(undo(&mut self.flow, &cx)).await;
        self.log.step(index, UNDO, began, outcome.as_ref().err());
        outcome
    }

    async fn retreat(&mut self, from: usize) -> Result<Moved> {
        let (guard, row, steps) = (self.guard(), self.row.clone(), Arc::clone(&self.steps));
        let (flow, log) = (self.copy()?, self.log.written());
        let (at, flow) = self
            .engine
            .db()
            .write(move |tx| Box::pin(record_back(tx, guard, row, steps, flow, log, from)))
            .await?;
        self.flow = flow;
        self.arrive(at)
    }

    /// An undo failed: visible with its reason, tried again after a while.
    async fn park(&mut self, error: ErrorCode) -> Result<Moved> {
        if stands_still(&error) {
            return Err(error);
        }
        let step = self.step().map_or("end", |(_, step)| step.name);
        tracing::error!(flow = %self.row.uuid, title = self.row.title, step, %error, "parked: an undo failed");
        let first: Option<ErrorCode> = serde_json::from_str(self.row.error.as_deref().unwrap_or("null"))?;
        let told = match first {
            Some(first) => parked(&first, step, &error),
            None => error,
        };
        let (guard, job, log) = (self.guard(), self.row.job, self.log.written());
        let written = self.engine.db().write(move |tx| {
            Box::pin(async move {
                guard.park(tx, &told, log).await?;
                match job {
                    Some(job) => crate::api::job::fail_of(tx, job, guard.flow, &told).await,
                    None => Ok(()),
                }
            })
        });
        written.await?;
        self.turn = None;
        self.row.attempts += 1;
        self.rest(pause(self.row.attempts)).await
    }

    /// Waits until an undo is to be tried again: for a while, or until an operator says what to do.
    async fn rest(&mut self, pause: Duration) -> Result<Moved> {
        let timed = tokio::time::timeout(pause, wish(&self.engine, self.row.uuid, &self.wishes));
        match timed.await.ok().as_deref() {
            Some(wish::ABANDON) => self.abandon().await,
            Some(_) => {
                let guard = self.guard();
                self.engine.db().write(move |tx| Box::pin(guard.granted(tx))).await?;
                Ok(Moved::On)
            }
            None => Ok(Moved::On),
        }
    }

    /// Ends it where it stands; what is left behind was named to the operator.
    async fn abandon(&mut self) -> Result<Moved> {
        tracing::warn!(flow = %self.row.uuid, title = self.row.title, "abandoned by an operator");
        let (guard, body, log) = (self.guard(), serde_json::to_string(&self.flow)?, self.log.written());
        let written = self
            .engine
            .db()
            .write(move |tx| Box::pin(async move { guard.end(tx, "abandoned", (body, log), None).await }));
        written.await.map(|()| Moved::Ended)
    }

    fn cx(&self, step: &'static str, direction: &'static str, limit: Duration) -> Cx {
        Cx {
            engine: self.engine.clone(),
            era: Arc::clone(&self.era),
            flow: self.row.uuid,
            step,
            direction,
            attempt: self.row.attempts,
            resource: self.row.resource,
            generation: self.row.generation,
            epoch: Arc::clone(&self.epoch),
            limit,
        }
    }
}

/// Errors that say nothing of the step: the flow goes on where its row says, once it is adopted again.
fn stands_still(error: &ErrorCode) -> bool {
    [codes::LOST, codes::DATABASE, codes::NO_LEASE].iter().any(|code| error.is(*code))
}

/// Ends when an operator has cancelled the flow.
async fn cancelled(engine: Engine, flow: Id<FlowView>, wishes: Arc<Notify>) -> ErrorCode {
    while wish(&engine, flow, &wishes).await != wish::CANCEL {}
    codes::CANCELLED.because("the operation was cancelled")
}

/// What an operator wants of the flow, as soon as there is something.
async fn wish(engine: &Engine, flow: Id<FlowView>, wishes: &Notify) -> String {
    loop {
        let _ = tokio::time::timeout(LOOK_AGAIN, wishes.notified()).await;
        let wished = async { store::wished(&mut engine.db().read().await?, flow).await };
        match wished.await {
            Ok(Some(wish)) => return wish,
            Ok(None) => {}
            Err(error) => tracing::debug!(%flow, %error, "whether there is a wish is not known"),
        }
    }
}

fn parked(first: &ErrorCode, step: &str, undo: &ErrorCode) -> ErrorCode {
    let details = format!(
        "{}; what it had begun is not cleaned up yet, step \"{step}\" is tried again",
        first.details()
    );
    codes::OPERATION.because(details).caused_by(undo.clone())
}

fn pause(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(6);
    Duration::from_secs(1 << doublings).min(LONGEST_PAUSE)
}

/// A panic in a step is a failure of the step, never silence.
async fn guarded(step: BoxFuture<'_, Result<()>>) -> Result<()> {
    match AssertUnwindSafe(step).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => Err(codes::INTERNAL.because("a step panicked; see the log")),
    }
}

type Stand<F> = (Option<usize>, F);

async fn record_on<F: Flow>(
    tx: &mut Tx,
    guard: Guard,
    row: FlowRow,
    steps: Arc<Steps<F>>,
    mut flow: F,
    log: String,
    from: usize,
) -> Result<Stand<F>> {
    let mut at = from;
    while let Some(Step { work: Work::Record { run, .. }, .. }) = steps.list.get(at) {
        run(&mut flow, tx).await?;
        at += 1;
    }
    let body = serde_json::to_string(&flow)?;
    if at < steps.list.len() {
        guard.save(tx, i64::try_from(at).unwrap_or(i64::MAX), (body, log)).await?;
        return Ok((Some(at), flow));
    }
    let answer = flow.answer(tx).await?;
    guard.end(tx, "done", (body, log), Some(&answer)).await?;
    if let Some(job) = row.job {
        crate::api::job::succeed_of(tx, job, row.uuid, &answer).await?;
    }
    Ok((None, flow))
}

/// Undoes the record steps below `from`, down to the next act, in one transaction. A record step that
/// failed was rolled back, there is nothing of it to undo.
async fn record_back<F: Flow>(
    tx: &mut Tx,
    guard: Guard,
    row: FlowRow,
    steps: Arc<Steps<F>>,
    mut flow: F,
    log: String,
    from: usize,
) -> Result<Stand<F>> {
    let mut at = from;
    while at > 0 {
        at -= 1;
        match &steps.list[at].work {
            Work::Record { undo, .. } => {
                if let Some(undo) = undo {
                    undo(&mut flow, tx).await?;
                }
            }
            Work::Act { .. } => {
                let body = serde_json::to_string(&flow)?;
                guard.save(tx, i64::try_from(at).unwrap_or(i64::MAX), (body, log)).await?;
                return Ok((Some(at), flow));
            }
        }
    }
    let body = serde_json::to_string(&flow)?;
    guard.end(tx, "undone", (body, log), None).await?;
    if let Some(job) = row.job {
        let error: ErrorCode = serde_json::from_str(row.error.as_deref().unwrap_or("null"))?;
        crate::api::job::fail_of(tx, job, row.uuid, &error).await?;
    }
    Ok((None, flow))
}
