//! Takes tasks in, runs each to its end, and sees to it that somebody hears the outcome.
//!
//! A task whose resource gets a later owner while it runs is told so; when it stops for it, it ends stale and
//! may be begun anew, as one that never started.
//!
//! A task lives in one spawned future, which no connection owns: journalled → acknowledged → its turn →
//! run → outcome journalled → reported. A crash at any point is repaired by [`Runner::resume`].

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use super::headers::Headers;
use super::journal::{Durable, Journal, NotDurable};
use super::ledger::{Arrival, Ledger, State, Verdict};
use super::machine::now;
use super::record::Record;
use super::replay::{Pending, raw};
use super::report::{Reporter, first};
use super::routes::{Ended, Route, Run, Table};
use super::signals::Signals;
use super::task::Task;
use super::turns::{Turn, Turns};
use crate::backoff::Backoff;
use crate::call::{EXPIRED, Effect, Fault, Fence, REBOOTED, TaskId};
use crate::metrics::{Ends, Metrics, gauge};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Nobody waits longer for the outcome of a call that only looks.
const GLANCE: Duration = Duration::from_secs(60);

pub struct Runner {
    ledger: Mutex<Ledger>,
    turns: Turns,
    /// To be locked after the ledger.
    signals: Signals,
    journal: Journal,
    reporter: Reporter,
    boot_id: String,
    again: bool,
    metrics: Metrics,
    ends: Ends,
    /// Some task has ended.
    ended: Notify,
    pub lives: TaskTracker,
    /// Nothing new is begun any more; what runs may end.
    pub stopping: CancellationToken,
}

/// Why a command is not acknowledged.
#[derive(Debug)]
pub enum Refusal {
    /// Stale or expired.
    Fenced(Fault),
    /// Its first copy is just being journalled, or is just being stopped.
    Busy,
    NotDurable(NotDurable),
}

/// What GET /tasks tells.
pub struct Known {
    pub path: Arc<str>,
    pub state: &'static str,
    pub outcome: Option<Bytes>,
}

/// A task from its acceptance to its report.
struct Life {
    id: TaskId,
    path: &'static str,
    acts: bool,
    run: Result<Run, Fault>,
    turn: Option<Turn>,
    /// It was accepted before the agent's restart, so it may have begun then.
    resumed: bool,
}

impl Runner {
    pub fn new(journal: Journal, ledger: Ledger, reporter: Reporter, boot_id: String, again: bool) -> Self {
        let mut metrics = Metrics::default();
        let ends = metrics.ends("cumulet_tasks", "Tasks that ended, by their path");
        Runner {
            metrics,
            ends,
            ledger: Mutex::new(ledger),
            turns: Turns::default(),
            signals: Signals::default(),
            journal,
            reporter,
            boot_id,
            again,
            ended: Notify::new(),
            lives: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// Takes a command in. When it returns `Ok`, the command is durable and may be acknowledged.
    pub async fn admit(
        self: &Arc<Self>,
        route: &Route,
        id: TaskId,
        headers: &Headers,
        body: &str,
        run: Run,
    ) -> Result<(), Refusal> {
        let (callback, fence) = (headers.callback.as_deref(), headers.fence.as_ref());
        let admitted = {
            let mut ledger = self.ledger();
            match ledger.judge(&id, fence, now(), self.again) {
                Verdict::Refuse(fault) => return Err(Refusal::Fenced(fault)),
                Verdict::Accepting => return Err(Refusal::Busy),
                // It ends stale. That is no answer to its new owner, who is not.
                Verdict::Attach if self.signals.is_told(&id) => return Err(Refusal::Busy),
                Verdict::Attach => Err(self.attach(&mut ledger, &id, callback, fence)),
                Verdict::Fresh => Ok(self.accept(&mut ledger, route, &id, headers, body)),
            }
        };
        match admitted {
            Ok((durable, turn)) => {
                let acts = route.effect == Effect::Acts;
                let life = Life { id, path: route.path, acts, run: Ok(run), turn, resumed: false };
                self.begin(life, durable).await
            }
            Err((durable, due)) => {
                // Before anything is waited for: the sender may hang up, and the round before has ended.
                due.into_iter().for_each(|round| self.begin_report(id.clone(), round));
                match durable {
                    Some(durable) => durable.wait().await.map_err(Refusal::NotDurable),
                    None => Ok(()),
                }
            }
        }
    }

    /// Refuses what is stale or expired; for calls that leave no trace in the journal.
    pub fn look(&self, fence: &Fence) -> Result<(), Fault> {
        let stale = self.ledger().stale(fence);
        stale.or_else(|| super::ledger::expired(fence, now())).map_or(Ok(()), Err)
    }

    /// What Prometheus is told.
    pub fn scrape(&self) -> axum::response::Response {
        let tasks = self.ledger().tasks.len();
        let mut more = String::new();
        gauge(&mut more, "cumulet_tasks_remembered", "", tasks);
        self.metrics.scrape(&more)
    }

    pub fn known(&self, id: &TaskId) -> Option<Known> {
        let ledger = self.ledger();
        let entry = ledger.tasks.get(id)?;
        let (state, outcome) = match &entry.state {
            State::Accepting | State::Queued => ("queued", None),
            State::Running => ("running", None),
            State::Done { outcome, .. } => ("done", Some(outcome.clone())),
        };
        Some(Known { path: entry.path.clone(), state, outcome })
    }

    /// Runs a synchronous call to its end, whatever becomes of its connection.
    pub async fn answer(self: &Arc<Self>, path: &'static str, fence: Option<Fence>, run: Run) -> Ended {
        let superseded = CancellationToken::new();
        let task = Arc::new(Task { id: TaskId::random(), fence, callback: None, path, superseded });
        let runner = self.clone();
        let running = self.lives.spawn(async move { caught(run, task, runner).await });
        running.await.unwrap_or_else(|_| Ended::failed(Fault::new("the agent is shutting down")))
    }

    /// Refuses every epoch below `epoch`, and waits until nothing acts under one any more: what had begun
    /// before does not look at its token again.
    pub async fn raise_floor(&self, epoch: u64, asking: &TaskId) -> Result<(), NotDurable> {
        let durable = {
            let mut ledger = self.ledger();
            ledger.raise_floor(epoch);
            self.signals.tell(&ledger, None);
            // Written even when it is not news: the record that raised it may have been refused.
            self.journal.append(&Record::Floor { epoch })
        };
        durable.wait().await?;
        loop {
            let ended = self.ended.notified();
            if !self.ledger().acts_below(epoch, asking) {
                return Ok(());
            }
            self.stopping.run_until_cancelled(ended).await.ok_or(NotDurable::Closed)?;
        }
    }

    /// Goes on where the agent ended before: runs what was accepted, reports what was not heard.
    pub fn resume(self: &Arc<Self>, table: &Table) {
        let (pending, unreported) = {
            let mut ledger = self.ledger();
            (ledger.take_pending(), ledger.unreported())
        };
        if pending.len() + unreported.len() > 0 {
            info!(unfinished = pending.len(), unreported = unreported.len(), "going on with earlier tasks");
        }
        for pending in pending {
            let life = self.revive(table, pending);
            let runner = self.clone();
            self.lives.spawn(async move { runner.live(life).await });
        }
        unreported.into_iter().for_each(|(id, round)| self.begin_report(id, round));
    }

    /// Ends in good order: begins nothing, lets what runs end within `grace`, then closes the journal.
    /// What has not ended by then is resumed at the next start.
    pub async fn stop(self: Arc<Self>, grace: Duration) {
        self.stopping.cancel();
        self.lives.close();
        if tokio::time::timeout(grace, self.lives.wait()).await.is_err() {
            warn!(tasks = self.lives.len(), "tasks still run; they are resumed at the next start");
        }
        let closed = tokio::task::spawn_blocking(move || self.journal.close()).await;
        closed.unwrap_or_else(|error| warn!(%error, "the journal was not closed"));
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(
        &self,
        ledger: &mut Ledger,
        route: &Route,
        id: &TaskId,
        headers: &Headers,
        body: &str,
    ) -> (Option<Durable>, Option<Turn>) {
        let (callback, fence) = (headers.callback.as_deref(), headers.fence.as_ref());
        let (acts, at) = (route.effect == Effect::Acts, now());
        let arrival = Arrival { path: route.path, callback, fence, acts, now: at };
        ledger.accept(id.clone(), &arrival);
        if !acts {
            return (None, None);
        }
        self.signals.tell(ledger, fence.map(|fence| &*fence.resource));
        let durable = self.journal.append(&Record::Accepted {
            task: id.clone(),
            path: route.path.into(),
            body: raw(body.as_bytes()),
            callback: callback.map(Into::into),
            fence: fence.map(std::borrow::Cow::Borrowed),
            boot: (&*self.boot_id).into(),
            at,
        });
        (Some(durable), fence.map(|f| self.turns.line_up(&f.resource)))
    }

    fn attach(
        &self,
        ledger: &mut Ledger,
        id: &TaskId,
        callback: Option<&str>,
        fence: Option<&Fence>,
    ) -> (Option<Durable>, Option<u32>) {
        let attachment = ledger.attach(id, callback, fence);
        self.signals.tell(ledger, fence.map(|fence| &*fence.resource));
        let durable = attachment.changed.then(|| {
            self.journal.append(&Record::Attached {
                task: id.clone(),
                callback: callback.map(Into::into),
                fence: fence.map(std::borrow::Cow::Borrowed),
            })
        });
        (durable, attachment.due)
    }

    /// Starts a new task's life and waits until the task is durable.
    async fn begin(self: &Arc<Self>, life: Life, durable: Option<Durable>) -> Result<(), Refusal> {
        let runner = self.clone();
        let Some(durable) = durable else {
            self.lives.spawn(async move { runner.live(life).await });
            return Ok(());
        };
        let (tell, told) = oneshot::channel();
        self.lives.spawn(async move {
            let result = durable.wait().await;
            let refused = result.is_err();
            if refused {
                runner.ledger().withdraw(&life.id);
            }
            let _ = tell.send(result);
            if !refused {
                runner.live(life).await;
            }
        });
        told.await.unwrap_or(Err(NotDurable::Closed)).map_err(Refusal::NotDurable)
    }

    fn begin_report(self: &Arc<Self>, id: TaskId, round: u32) {
        let runner = self.clone();
        self.lives.spawn(async move { runner.report(&id, round, None).await });
    }

    async fn live(self: Arc<Self>, mut life: Life) {
        self.ledger().accepted(&life.id);
        if let Some(turn) = &mut life.turn {
            turn.wait().await;
        }
        if self.stopping.is_cancelled() && life.acts {
            return;
        }
        let since = Instant::now();
        let began = Instant::now();
        let span = info_span!("task", task = %life.id, path = life.path);
        let Life { id, path, acts, run, turn, resumed } = life;
        let ended = match run.map(|run| (self.start(&id, path, acts, resumed), run)) {
            Ok((Ok(task), run)) => caught(run, task, self.clone()).instrument(span).await,
            Ok((Err(fault), _)) => Ended { refused: true, ..Ended::failed(fault) },
            Err(fault) => Ended::failed(fault),
        };
        self.ends.ended(path, ended.success, began.elapsed());
        let Some(round) = self.end(&id, acts, ended).await else { return };
        drop(turn);
        if let Some(round) = round {
            let until = (!acts).then(|| since + GLANCE);
            self.report(&id, round, until).await;
        }
    }

    /// The task's turn has come.
    fn start(&self, id: &TaskId, path: &'static str, acts: bool, resumed: bool) -> Result<Arc<Task>, Fault> {
        let mut ledger = self.ledger();
        let fence = ledger.start(id, now()).map_err(|fault| match resumed && fault.is(EXPIRED) {
            // "Expired" would promise that it had no effect.
            true => Fault::new("the agent was restarted and the deadline passed: it may have been half done"),
            false => fault,
        })?;
        let callback = ledger.tasks.get(id).and_then(|entry| entry.callback.as_ref().map(first));
        let signal = |fence: &Fence| self.signals.begin(&fence.resource, id);
        let superseded = fence.as_ref().filter(|_| acts).map(signal).unwrap_or_default();
        Ok(Arc::new(Task { id: id.clone(), fence, callback, path, superseded }))
    }

    /// Journals the outcome and remembers it. `None` when the agent ends first.
    async fn end(&self, id: &TaskId, acts: bool, ended: Ended) -> Option<Option<u32>> {
        let Ended { body, refused, .. } = ended;
        if acts {
            self.journal_outcome(id, &body, refused).await?;
        }
        let round = {
            let mut ledger = self.ledger();
            self.signals.end(id);
            ledger.done(id, body, refused, now())
        };
        self.ended.notify_waiters();
        Some(round)
    }

    /// Tries for as long as it takes: until then nobody hears of the outcome.
    async fn journal_outcome(&self, id: &TaskId, outcome: &[u8], refused: bool) -> Option<()> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let record = Record::Done { task: id.clone(), outcome: raw(outcome), refused, at: now() };
            match self.journal.append(&record).wait().await {
                Ok(()) => return Some(()),
                Err(NotDurable::Closed) => return None,
                Err(NotDurable::Disk(_)) => self.stopping.run_until_cancelled(sleep(backoff.pause())).await?,
            }
        }
    }

    /// Reports until somebody takes the outcome, the task is forgotten, or a later round has begun. While the
    /// sender is silent the other addresses are tried: every controller accepts every outcome.
    async fn report(&self, id: &TaskId, round: u32, until: Option<Instant>) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let Some((urls, outcome)) = self.ledger().due(id, round) else { return };
            let taken = self.reporter.report(&urls, id, &outcome).await;
            let Err(error) = taken else { break };
            let pause = backoff.pause();
            debug!(task = %id, %urls, error = %Fault::from(error), ?pause, "nobody took the outcome");
            if until.is_some_and(|until| Instant::now() + pause > until) {
                warn!(task = %id, %urls, "nobody takes the outcome: given up, since the call only looked");
                return;
            }
            if self.stopping.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
        if self.ledger().reported(id, round) {
            self.journal.note(&Record::Reported { task: id.clone() });
        }
    }

    /// Gives a task of the journal its life back.
    fn revive(&self, table: &Table, pending: Pending) -> Life {
        let Pending { id, path, body, boot, resource } = pending;
        let route = table.find(&path);
        let run = match route {
            _ if *boot != *self.boot_id => Err(Fault::coded(REBOOTED, "host rebooted")),
            None => Err(Fault::new(format!("this version of the agent does not serve {path}"))),
            Some(route) => route.parse(body.as_bytes()),
        };
        let turn = resource.map(|resource| self.turns.line_up(&resource));
        Life { id, path: route.map_or("", |r| r.path), acts: true, run, turn, resumed: true }
    }
}

/// Runs a command; a panic is a failed outcome.
async fn caught(run: Run, task: Arc<Task>, runner: Arc<Runner>) -> Ended {
    let path = task.path;
    let running = AssertUnwindSafe(async move { run(task, runner).await });
    running.catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("without a message");
        tracing::error!(path, panic = text, "the operation panicked");
        Ended::failed(Fault::new(format!("the agent's operation {path} panicked: {text}")))
    })
}
