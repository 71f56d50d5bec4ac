//! Drives one flow from where its row says it is to its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use tokio::sync::Notify;

use super::fault::{Hook, Hooked, Phase, Place, Then};
use super::log::Log;
use super::store::{self, FORWARD, FlowRow, Guard, UNDO};
use super::{Act, Alive, Cx, Flow, FlowView, LOOK_AGAIN, Step, Steps, Work, wish};
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Id, Stamp};
use crate::node::Era;
use crate::queue::Turn;
use crate::tag;

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
    /// A ghost is asked no more ([`super::fault`]).
    is_ghost: bool,
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
        Ok(flow) => Driver::new(engine.clone(), Arc::clone(&era), row, flow, turn, &alive).run().await,
        Err(error) => Err(error),
    };
    drop(alive);
    match ended {
        Ok(()) => {}
        Err(error) if error.is_rooted_in(codes::LOST) => {
            tracing::warn!(flow = %id, "another controller owns it");
            // Or another part of the same step has just taken a new epoch for it.
            if era.holds() && is_ours(&engine, id, &era).await {
                engine.waiters().stalled(id);
            }
        }
        Err(error) => {
            tracing::error!(flow = %id, %error, "the flow stands still until it is adopted again");
            engine.waiters().stalled(id);
            if engine.faults().is_some() {
                engine.recover();
            }
        }
    }
    engine.waiters().tell(id);
}

/// Whether the flow is this era's, as far as the database can be asked.
async fn is_ours(engine: &Engine, flow: Id<FlowView>, era: &Era) -> bool {
    let claim = async { store::claim_of(&mut engine.db().read().await?, flow, era.id).await };
    claim.await.is_ok_and(|claim| claim.is_some())
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
        let steps = Arc::new(F::steps().among(engine.hooks()));
        Driver {
            engine,
            era,
            epoch: Arc::new(AtomicI64::new(row.epoch)),
            log: Log::read(&row.log),
            row,
            flow,
            steps,
            wishes: Arc::clone(&alive.wishes),
            turn: Some(turn),
            is_ghost: false,
        }
    }

    async fn run(mut self) -> Result<()> {
        self.pass(Phase::Saved)?;
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

    /// Who may let something happen to the flow as it stands now.
    fn hook(&self) -> Hook {
        let Some(faults) = self.engine.faults().filter(|_| !self.is_ghost) else { return Hook::default() };
        let (engine, era, mut row) = (self.engine.clone(), Arc::clone(&self.era), self.row.clone());
        row.body = serde_json::to_string(&self.flow).unwrap_or_default();
        row.epoch = self.epoch.load(Ordering::SeqCst);
        Hook::of(Hooked {
            faults: Arc::clone(faults),
            engine: engine.clone(),
            era: Arc::clone(&era),
            flow: row.uuid,
            name: F::NAME,
            title: row.title.clone(),
            resource: row.resource,
            generation: row.generation,
            ghost: Box::new(move || Box::pin(haunt::<F>(engine.clone(), Arc::clone(&era), row.clone()))),
        })
    }

    /// Where the flow stands.
    fn pass(&self, phase: Phase) -> Result<()> {
        let place = place(&self.steps, self.row.step, self.row.direction == UNDO);
        self.hook().at(place, phase).map(|_| ())
    }

    async fn forward(&mut self) -> Result<Moved> {
        let moved = match self.run_act().await {
            Ok(next) => self.advance(next).await,
            Err(error) => Err(error),
        };
        match moved {
            Ok(moved) => Ok(moved),
            Err(error) if self.is_onward() => self.park(error).await,
            Err(error) => self.turn(error).await,
        }
    }

    /// Whether there is no way back.
    fn is_onward(&self) -> bool {
        self.step().is_some_and(|(index, _)| index >= self.steps.onward)
    }

    /// Runs the act at hand, if the step at hand is one; tells the step to advance from.
    async fn run_act(&mut self) -> Result<usize> {
        let steps = Arc::clone(&self.steps);
        let index = usize::try_from(self.row.step).unwrap_or(0);
        let Some(Step { name, work: work @ Work::Act { run, .. }, limit, .. }) = steps.list.get(index) else {
            return Ok(index);
        };
        if work.is_idle(&self.flow) {
            return Ok(index);
        }
        let (hook, place, began) = (self.hook(), place(&steps, self.row.step, false), Stamp::now());
        let cx = self.cx(name, FORWARD, *limit, (hook.clone(), place));
        let cancelled = cancelled(self.engine.clone(), self.row.uuid, Arc::clone(&self.wishes));
        let may_turn = !self.is_onward();
        let outcome = tokio::select! {
            biased;
            outcome = guarded(Box::pin(act(&hook, place, run, &mut self.flow, &cx))) => outcome,
            error = cancelled, if may_turn => Err(error),
        };
        self.log.step(index, FORWARD, began, outcome.as_ref().err());
        outcome.map(|()| index + 1)
    }

    /// Runs the record steps from `from` on and saves where the flow stands then, in one transaction.
    async fn advance(&mut self, from: usize) -> Result<Moved> {
        let stand = self.stand(from)?;
        let (at, flow) = self.engine.db().write(move |tx| Box::pin(record_on(tx, stand))).await?;
        self.flow = flow;
        self.arrive(at)
    }

    fn stand(&self, at: usize) -> Result<Stand<F>> {
        Ok(Stand {
            guard: self.guard(),
            row: self.row.clone(),
            steps: Arc::clone(&self.steps),
            flow: serde_json::from_value(serde_json::to_value(&self.flow)?)?,
            log: self.log.written(),
            hook: self.hook(),
            at,
        })
    }

    fn arrive(&mut self, at: Option<usize>) -> Result<Moved> {
        self.row.step = position(at.unwrap_or(self.steps.list.len()));
        self.pass(Phase::Saved)?;
        self.row.attempts = 0;
        Ok(if at.is_some() { Moved::On } else { Moved::Ended })
    }

    /// Turns back under a new epoch: the step that failed is undone first, for it may have half happened.
    async fn turn(&mut self, error: ErrorCode) -> Result<Moved> {
        if error.says_nothing() {
            return Err(error);
        }
        let step = self.step().map_or("end", |(_, step)| step.name);
        tracing::warn!(flow = %self.row.uuid, title = self.row.title, step, %error, "turns back");
        self.pass(Phase::Turning)?;
        let (guard, told) = (self.guard(), error.clone());
        let epoch =
            self.engine.db().write(move |tx| Box::pin(async move { guard.turn(tx, &told).await })).await?;
        self.epoch.store(epoch, Ordering::SeqCst);
        self.row.direction = UNDO.to_owned();
        self.row.error = Some(serde_json::to_string(&error)?);
        self.pass(Phase::Saved)?;
        Ok(Moved::On)
    }

    async fn backward(&mut self) -> Result<Moved> {
        if let Some(gone) = self.gone() {
            return self.park(gone).await;
        }
        if let Err(error) = self.undo_act().await {
            return self.park(error).await;
        }
        let from = usize::try_from(self.row.step).unwrap_or(0).min(self.steps.list.len());
        match self.retreat(from).await {
            Ok(moved) => Ok(moved),
            Err(error) => self.park(error).await,
        }
    }

    /// What others have done in this flow cannot be taken back by a controller that they are no part of.
    fn gone(&self) -> Option<ErrorCode> {
        let upto = usize::try_from(self.row.step).unwrap_or(0);
        let idle = self
            .steps
            .list
            .iter()
            .take(upto + 1)
            .enumerate()
            .filter(|(_, s)| s.point.is_some() && s.work.is_idle(&self.flow));
        let (_, step) = idle.into_iter().find(|(at, _)| *at == upto || self.log.has_run(*at))?;
        let details = format!(
            "a plugin has acted {}, and this controller has none there: start one that has it",
            step.name
        );
        Some(codes::UNIMPLEMENTED.because(details))
    }

    async fn undo_act(&mut self) -> Result<()> {
        let steps = Arc::clone(&self.steps);
        let index = usize::try_from(self.row.step).unwrap_or(0);
        let Some(Step { name, work: work @ Work::Act { undo: Some(undo), .. }, limit, .. }) =
            steps.list.get(index)
        else {
            return Ok(());
        };
        if work.is_idle(&self.flow) {
            return Ok(());
        }
        let (hook, place, began) = (self.hook(), place(&steps, self.row.step, true), Stamp::now());
        let cx = self.cx(name, UNDO, *limit, (hook.clone(), place));
        let outcome = guarded(Box::pin(act(&hook, place, undo, &mut self.flow, &cx))).await;
        self.log.step(index, UNDO, began, outcome.as_ref().err());
        outcome
    }

    async fn retreat(&mut self, from: usize) -> Result<Moved> {
        let stand = self.stand(from)?;
        let (at, flow) = self.engine.db().write(move |tx| Box::pin(record_back(tx, stand))).await?;
        self.flow = flow;
        self.arrive(at)
    }

    /// An undo failed, or what has no way back: visible with its reason, tried again after a while.
    async fn park(&mut self, error: ErrorCode) -> Result<Moved> {
        if error.says_nothing() {
            return Err(error);
        }
        let step = self.step().map_or("end", |(_, step)| step.name);
        let direction = self.row.direction.as_str();
        tracing::error!(flow = %self.row.uuid, title = self.row.title, step, direction, %error, "parked");
        let first: Option<ErrorCode> = serde_json::from_str(self.row.error.as_deref().unwrap_or("null"))?;
        let told = match first {
            _ if direction == FORWARD => delayed(step, error),
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
        self.pass(Phase::Parked)?;
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

    fn cx(&self, step: &'static str, direction: &'static str, limit: Duration, at: (Hook, Place)) -> Cx {
        Cx {
            at,
            engine: self.engine.clone(),
            era: Arc::clone(&self.era),
            flow: self.row.uuid,
            step,
            part: "",
            direction,
            attempt: self.row.attempts,
            resource: self.row.resource,
            generation: self.row.generation,
            epoch: Arc::clone(&self.epoch),
            limit,
        }
    }
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
    first.retold(details).caused_by(undo.clone())
}

fn delayed(step: &str, error: ErrorCode) -> ErrorCode {
    let details = format!("{}; step \"{step}\" is tried again until it is done", error.details());
    error.retold(details)
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

/// An act or its undo, with what may happen before and after it.
async fn act<F: Flow>(hook: &Hook, place: Place, work: &Act<F>, flow: &mut F, cx: &Cx) -> Result<()> {
    let then = hook.at(place, Phase::Before)?;
    if then != Then::Never {
        hook.during(work(flow, cx)).await?;
    }
    if then == Then::Twice {
        work(flow, cx).await?;
    }
    hook.at(place, Phase::After).map(|_| ())
}

fn place<F: Flow>(steps: &Steps<F>, index: i64, back: bool) -> Place {
    let index = usize::try_from(index).unwrap_or(0);
    let step = steps.list.get(index);
    Place {
        step: step.map_or("end", |step| step.name),
        back,
        record: step.is_none_or(|step| !matches!(step.work, Work::Act { .. })),
        last: index + 1 == steps.list.len(),
    }
}

pub(super) fn position(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

/// Goes on with a flow as a controller would that was stopped and does not know that it is another's.
async fn haunt<F: Flow>(engine: Engine, era: Arc<Era>, row: FlowRow) -> Result<()> {
    let ghost = Driver {
        steps: Arc::new(F::steps().among(engine.hooks())),
        engine,
        era,
        epoch: Arc::new(AtomicI64::new(row.epoch)),
        log: Log::read(&row.log),
        flow: understood::<F>(&row)?,
        row,
        wishes: Arc::default(),
        turn: None,
        is_ghost: true,
    };
    ghost.run().await
}

/// What a transaction of record steps begins with.
struct Stand<F: Flow> {
    guard: Guard,
    row: FlowRow,
    steps: Arc<Steps<F>>,
    flow: F,
    log: String,
    hook: Hook,
    at: usize,
}

/// Where it ended, unless the flow has ended.
type Stands<F> = (Option<usize>, F);

async fn record_on<F: Flow>(tx: &mut Tx, stand: Stand<F>) -> Result<Stands<F>> {
    let Stand { guard, row, steps, mut flow, log, hook, at } = stand;
    let at = run_records(tx, &steps, (&row, &mut flow), &hook, at).await?;
    if at < steps.list.len() {
        guard.save(tx, position(at), (serde_json::to_string(&flow)?, log)).await?;
        return Ok((Some(at), flow));
    }
    finish(tx, guard, (&row, &flow), log).await?;
    Ok((None, flow))
}

/// Runs the record steps at which a flow begins that nobody has heard of yet; tells where it stands then.
pub(super) async fn first_records<F: Flow>(
    tx: &mut Tx,
    steps: &Steps<F>,
    row: &FlowRow,
    flow: &mut F,
) -> Result<usize> {
    run_records(tx, steps, (row, flow), &Hook::default(), 0).await
}

async fn run_records<F: Flow>(
    tx: &mut Tx,
    steps: &Steps<F>,
    (row, flow): (&FlowRow, &mut F),
    hook: &Hook,
    mut at: usize,
) -> Result<usize> {
    while let Some(step) = steps.list.get(at) {
        let Work::Record { run, .. } = &step.work else {
            if !step.work.is_idle(flow) {
                break;
            }
            at += 1;
            continue;
        };
        let place = place(steps, position(at), false);
        hook.at(place, Phase::Before)?;
        run(flow, tx).await?;
        if let Some(job) = row.job.filter(|_| at == 0) {
            tag::born_of_flow(tx, job, row.resource).await?;
        }
        hook.at(place, Phase::After)?;
        at += 1;
    }
    Ok(at)
}

/// All is done: the flow answers, and so does its job.
pub(super) async fn finish<F: Flow>(
    tx: &mut Tx,
    guard: Guard,
    (row, flow): (&FlowRow, &F),
    log: String,
) -> Result<()> {
    let answer = flow.answer(tx).await?;
    guard.end(tx, "done", (serde_json::to_string(flow)?, log), Some(&answer)).await?;
    match row.job {
        Some(job) => crate::api::job::succeed_of(tx, job, row.uuid, &answer).await,
        None => Ok(()),
    }
}

/// Undoes the record steps below `from`, down to the next act, in one transaction. A record step that
/// failed was rolled back, there is nothing of it to undo.
async fn record_back<F: Flow>(tx: &mut Tx, stand: Stand<F>) -> Result<Stands<F>> {
    let Stand { guard, row, steps, mut flow, log, hook, mut at } = stand;
    while at > 0 {
        at -= 1;
        match &steps.list[at].work {
            Work::Record { undo: Some(undo), .. } => {
                let place = place(&steps, position(at), true);
                if hook.at(place, Phase::Before)? != Then::Never {
                    undo(&mut flow, tx).await?;
                }
                if let Some(job) = row.job.filter(|_| at == 0) {
                    tag::unborn(tx, job, row.resource).await?;
                }
                hook.at(place, Phase::After)?;
            }
            Work::Record { undo: None, .. } => {}
            act if act.is_idle(&flow) => {}
            Work::Act { .. } => {
                let body = serde_json::to_string(&flow)?;
                guard.save(tx, position(at), (body, log)).await?;
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
