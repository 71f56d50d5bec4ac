//! Drives one flow from where its row says it is to its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::store::{FORWARD, FlowRow, Guard, UNDO};
use super::{Cx, Flow, Step, Steps, Work};
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::queue::Turn;

/// A parked flow is tried again after 1 s, 2 s, 4 s, … at most this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

struct Driver<F: Flow> {
    engine: Engine,
    row: FlowRow,
    epoch: Arc<AtomicI64>,
    flow: F,
    steps: Arc<Steps<F>>,
    /// Given up when the flow is parked: who comes then is refused with the reason, rather than kept waiting.
    turn: Option<Turn>,
}

/// What a move left behind.
enum Moved {
    On,
    Ended,
}

pub(super) async fn drive<F: Flow>(engine: Engine, row: FlowRow, turn: Turn) {
    let id = row.uuid;
    let _alive = engine.waiters().alive(id);
    let ended = match understood::<F>(&row) {
        Ok(flow) => Driver::new(engine.clone(), row, flow, turn).run().await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => {}
        Err(error) if error.is(codes::LOST) => tracing::warn!(flow = %id, "another controller owns it"),
        Err(error) => tracing::error!(flow = %id, %error, "the flow stands still until it is adopted again"),
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
    fn new(engine: Engine, row: FlowRow, flow: F, turn: Turn) -> Self {
        let epoch = Arc::new(AtomicI64::new(row.epoch));
        Driver { engine, row, epoch, flow, steps: Arc::new(F::steps()), turn: Some(turn) }
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
        Guard { flow: self.row.uuid, node: self.engine.node(), epoch: self.epoch.load(Ordering::SeqCst) }
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
            Err(error) if error.is(codes::LOST) => Err(error),
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
        guarded(run(&mut self.flow, &cx)).await?;
        Ok(index + 1)
    }

    /// Runs the record steps from `from` on and saves where the flow stands then, in one transaction.
    async fn advance(&mut self, from: usize) -> Result<Moved> {
        let (guard, row, steps) = (self.guard(), self.row.clone(), Arc::clone(&self.steps));
        let flow = self.copy()?;
        let (at, flow) =
            self.engine.db().write(move |tx| Box::pin(record_on(tx, guard, row, steps, flow, from))).await?;
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
        if error.is(codes::LOST) {
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
        guarded(undo(&mut self.flow, &cx)).await
    }

    async fn retreat(&mut self, from: usize) -> Result<Moved> {
        let (guard, row, steps) = (self.guard(), self.row.clone(), Arc::clone(&self.steps));
        let flow = self.copy()?;
        let (at, flow) = self
            .engine
            .db()
            .write(move |tx| Box::pin(record_back(tx, guard, row, steps, flow, from)))
            .await?;
        self.flow = flow;
        self.arrive(at)
    }

    /// An undo failed: visible with its reason, tried again after a while.
    async fn park(&mut self, error: ErrorCode) -> Result<Moved> {
        if error.is(codes::LOST) {
            return Err(error);
        }
        let step = self.step().map_or("end", |(_, step)| step.name);
        tracing::error!(flow = %self.row.uuid, title = self.row.title, step, %error, "parked: an undo failed");
        let first: Option<ErrorCode> = serde_json::from_str(self.row.error.as_deref().unwrap_or("null"))?;
        let told = match first {
            Some(first) => parked(&first, step, &error),
            None => error,
        };
        let (guard, job) = (self.guard(), self.row.job);
        let written = self.engine.db().write(move |tx| {
            Box::pin(async move {
                guard.park(tx, &told).await?;
                match job {
                    Some(job) => crate::api::job::fail(tx, job, &told).await,
                    None => Ok(()),
                }
            })
        });
        written.await?;
        self.turn = None;
        self.engine.waiters().tell(self.row.uuid);
        self.row.attempts += 1;
        tokio::time::sleep(pause(self.row.attempts)).await;
        Ok(Moved::On)
    }

    fn cx(&self, step: &'static str, direction: &'static str, limit: Duration) -> Cx {
        Cx {
            engine: self.engine.clone(),
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
    from: usize,
) -> Result<Stand<F>> {
    let mut at = from;
    while let Some(Step { work: Work::Record { run, .. }, .. }) = steps.list.get(at) {
        run(&mut flow, tx).await?;
        at += 1;
    }
    let body = serde_json::to_string(&flow)?;
    if at < steps.list.len() {
        guard.save(tx, i64::try_from(at).unwrap_or(i64::MAX), body).await?;
        return Ok((Some(at), flow));
    }
    let answer = flow.answer(tx).await?;
    guard.end(tx, row.resource, "done", body, Some(&answer)).await?;
    if let Some(job) = row.job {
        crate::api::job::succeed(tx, job, &answer).await?;
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
                guard.save(tx, i64::try_from(at).unwrap_or(i64::MAX), body).await?;
                return Ok((Some(at), flow));
            }
        }
    }
    let body = serde_json::to_string(&flow)?;
    guard.end(tx, row.resource, "undone", body, None).await?;
    if let Some(job) = row.job {
        let error: ErrorCode = serde_json::from_str(row.error.as_deref().unwrap_or("null"))?;
        crate::api::job::fail(tx, job, &error).await?;
    }
    Ok((None, flow))
}
