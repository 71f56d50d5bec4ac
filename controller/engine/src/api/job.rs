//! Jobs: calls that were acknowledged and will be done, whatever crashes.
//!
//! A job is in the database before its 202 leaves. It is settled in the same transaction as the work it
//! stands for: the unit's own, or the last one of its flow. A job has an owner until a flow does it; what a
//! dead owner has left is run again by whom the ring names.

use std::collections::HashSet;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;

use super::{Api, audit};
use crate::args;
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::flow::{self, Flow, Start};
use crate::id::{Any, Id, Stamp};
use crate::node::{self, Era, Node};
use crate::tag::{self, Wanted};

const INSERT: &str = "INSERT INTO job (uuid, api, account, params, state, owner, web_hook, hooked, create_date, \
     user_uuid, session, address, resource) VALUES ($1, $2, $3, $4, 'queued', $5, $6, $7, $8, $9, $10, $11, $12) \
     ON CONFLICT (uuid) DO NOTHING";
const KNOWN: &str = "SELECT (SELECT count(*) FROM account_resource_ref WHERE resource_uuid = $1) \
     + (SELECT count(*) FROM job WHERE resource = $1 AND uuid <> $2 AND state <> 'done') AS known";
const FOLLOW: &str = "UPDATE job SET state = 'running', flow = $2 WHERE uuid = $1 AND state = 'queued'";
const SETTLE: &str = "UPDATE job SET state = 'done', success = $3, result = $4, end_date = $5 \
     WHERE uuid = $1 AND owner = $2 AND state = 'queued'";
const SETTLE_OF: &str = "UPDATE job SET state = 'done', success = $3, result = $4, end_date = $5 \
     WHERE uuid = $1 AND flow = $2 AND state = 'running'";
const RESULT: &str = "SELECT state, success, result FROM job WHERE uuid = $1 \
     AND (CAST($2 AS TEXT) IS NULL OR account = $2) AND (end_date IS NULL OR end_date >= $3)";
/// Said twice, so that the index of jobs that are not done is of use.
const ABANDONED: &str = "SELECT uuid, api, account, user_uuid, params, owner, web_hook FROM job \
     WHERE state = 'queued' AND state <> 'done' AND owner NOT IN (SELECT uuid FROM node) ORDER BY create_date";
const CLAIM: &str = "SELECT uuid, api, account, user_uuid, params, owner, web_hook FROM job \
     WHERE state = 'queued' AND uuid = $1 AND owner = $2";
const ADOPT: &str = "UPDATE job SET owner = $3 WHERE uuid = $1 AND owner = $2 AND state = 'queued'";
const UNHOOKED: &str = "SELECT uuid FROM job WHERE state = 'done' AND NOT hooked";
const HOOK: &str = "SELECT web_hook, success, result FROM job WHERE uuid = $1 AND NOT hooked";
const HOOKED: &str = "UPDATE job SET hooked = $2 WHERE uuid = $1";
const FORGET: &str = "UPDATE job SET result = NULL WHERE success AND result IS NOT NULL AND end_date < $1";
const EXPIRE: &str = "DELETE FROM job WHERE state = 'done' AND end_date < $1";

/// How long results can be polled, as with ZStack; afterwards a job is the record of its call.
const KEPT: Duration = Duration::from_secs(10_800);

/// A web hook is tried this often, two seconds apart, as ZStack does.
const HOOK_TRIES: u32 = 15;

/// One acknowledged call at work.
pub struct Job {
    engine: Engine,
    era: Arc<Era>,
    id: Id<Any>,
    api: &'static str,
    who: Who,
    /// Somebody wants to be told of its end.
    hooked: bool,
    /// The hash of the preview that the caller agreed to.
    agreed: Option<String>,
    tags: Wanted,
}

/// Whose call a job is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    pub account: Id<Any>,
    pub user: Option<Id<Any>>,
}

/// Proof that a job was settled or will be by its flow.
pub struct Settled(());

/// A call about to become a job.
pub(super) struct NewJob {
    pub id: Id<Any>,
    pub api: &'static str,
    pub who: Who,
    /// Of the session, for the record.
    pub token: String,
    pub address: Option<IpAddr>,
    /// What it makes, or works on.
    pub resource: Option<Id<Any>>,
    /// It makes the resource, which must not be there yet.
    pub makes: bool,
    /// Without secrets.
    pub params: Value,
    pub web_hook: Option<String>,
}

#[derive(crate::db::Row)]
struct JobRow {
    uuid: Id<Any>,
    api: String,
    account: Id<Any>,
    user_uuid: Option<Id<Any>>,
    params: String,
    owner: Id<Node>,
    web_hook: Option<String>,
}

/// Jobs that this controller must not lose sight of.
#[derive(Default)]
pub(crate) struct Watched {
    /// Ended without being settled, for the database was away.
    stalled: Mutex<HashSet<Id<Any>>>,
    /// Their web hooks are being told.
    telling: Mutex<HashSet<Id<Any>>>,
}

impl Watched {
    /// Perhaps it is open, and nobody works on it.
    pub fn stalled(&self, job: Id<Any>) {
        self.stalled.lock().expect("never poisoned").insert(job);
    }

    fn take_stalled(&self) -> HashSet<Id<Any>> {
        std::mem::take(&mut *self.stalled.lock().expect("never poisoned"))
    }
}

impl Job {
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whose call it is.
    pub fn account(&self) -> Id<Any> {
        self.who.account
    }

    /// Which of the account's users makes it, when one does.
    pub fn user(&self) -> Option<Id<Any>> {
        self.who.user
    }

    pub fn id(&self) -> Id<Any> {
        self.id
    }

    /// What came beside its parameters.
    pub fn tags(&self) -> &Wanted {
        &self.tags
    }

    pub(crate) fn tagged(self, tags: Wanted) -> Job {
        Job { tags, ..self }
    }

    /// Does all of it in one transaction, whose value is the API's answer.
    pub async fn write<F>(self, unit: F) -> Result<Settled>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Value>> + Send + 'static,
    {
        let (id, owner, makes) = (self.id, self.era.id, self.engine.makes(self.api).is_some());
        let whole = self.engine.db().write(move |tx| {
            Box::pin(async move {
                let answer = unit(tx).await?;
                if let Some(made) =
                    answer.pointer("/inventory/uuid").and_then(Value::as_str).filter(|_| makes)
                {
                    tag::born(tx, id, made.parse().map_err(|error: String| codes::INTERNAL.because(error))?)
                        .await?;
                }
                match settle(tx, SETTLE, args![id, owner], true, &answer).await? {
                    true => Ok(()),
                    false => Err(codes::LOST.because(format!("job {id} is settled or another's"))),
                }
            })
        });
        whole.await?;
        if self.hooked {
            announce(&self.engine, id);
        }
        Ok(Settled(()))
    }

    /// Does it by a flow, which answers when it ends.
    pub async fn flow<F: Flow>(self, flow: F) -> Result<Settled> {
        let id = Id::derived(&[&self.id.to_string(), "flow"]);
        let ended = flow::run(&self.engine, flow, Start { id, job: Some(self.id), parent: None }).await;
        if self.hooked {
            announce(&self.engine, self.id);
        }
        ended.map(|_| Settled(()))
    }

    /// Does it by the cascade that the call names, as its preview said.
    pub async fn delete<A: Api>(self, call: &A) -> Result<Settled> {
        let named = call.cascade(&mut self.engine.db().read().await?).await?;
        let delete = named.ok_or_else(|| codes::INTERNAL.because("a deletion names nothing to delete"))?;
        let agreed = self.agreement();
        self.flow(delete.agreed(agreed)).await
    }

    /// One that does the call `api` for `account`, as this era's work.
    pub(super) fn new(engine: &Engine, era: &Arc<Era>, id: Id<Any>, (api, who): (&'static str, Who)) -> Job {
        let (engine, era, tags) = (engine.clone(), Arc::clone(era), Wanted::default());
        Job { engine, era, id, api, who, hooked: false, agreed: None, tags }
    }

    /// Somebody wants to be told of its end.
    pub(super) fn hooked(self, hooked: bool) -> Job {
        Job { hooked, ..self }
    }

    /// To be done as this preview said.
    pub(super) fn agreed(self, agreed: Option<String>) -> Job {
        Job { agreed, ..self }
    }

    /// The hash of the preview that the caller agreed to, for the flow that deletes.
    pub fn agreement(&self) -> Option<String> {
        self.agreed.clone()
    }

    /// Does it with `params`, in the background, and sees to it that it ends. Whom the header names hears from
    /// this controller how long it is at work.
    pub(super) fn begin(self, params: Value, authorization: Option<&str>) {
        let era = Arc::clone(&self.era);
        let present = self.engine.jobs_at_work().enter(self.id, authorization);
        node::spawn(&era, async move {
            self.work(params).await;
            drop(present);
        });
    }

    async fn work(self, params: Value) {
        let (engine, id, api, owner, hooked) =
            (self.engine.clone(), self.id, self.api, self.era.id, self.hooked);
        let began = std::time::Instant::now();
        tracing::info!(job = %id, api, "job");
        let outcome = match engine.start_job(api, params, self) {
            Ok(work) => AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                Err(codes::INTERNAL.because(format!("{api} panicked; see the controller's log")))
            }),
            Err(error) => Err(error),
        };
        engine.ends().ended(api, outcome.is_ok(), began.elapsed());
        let Err(error) = outcome else { return };
        tracing::info!(job = %id, api, %error, "job failed");
        if [codes::LOST, codes::NO_LEASE].iter().any(|code| error.is(*code)) {
            return;
        }
        give_up(&engine, (id, owner), error).await;
        if hooked {
            announce(&engine, id);
        }
    }
}

/// Enters the job; false when there is one of this id. One that makes what is there, or what another job is
/// making, is refused.
pub(super) async fn enter(tx: &mut Tx, job: NewJob, owner: Id<Node>) -> Result<bool> {
    let (hooked, address) = (job.web_hook.is_none(), job.address.map(|address| address.to_string()));
    let mut row = args![job.id, job.api, job.who.account, &job.params, owner, job.web_hook, hooked];
    row.extend(args![Stamp::now(), job.who.user, job.token, address, job.resource]);
    if tx.exec(INSERT, row).await? == 0 {
        return Ok(false);
    }
    match job.resource.filter(|_| job.makes) {
        Some(new) if tx.number(KNOWN, args![new, job.id]).await? > 0 => {
            Err(codes::INVALID_ARGUMENT.because(format!("there is one of uuid {new} already")))
        }
        _ => Ok(true),
    }
}

/// The job is done by this flow from now on.
pub(crate) async fn follow(tx: &mut Tx, job: Id<Any>, flow: Id<flow::FlowView>) -> Result<()> {
    match tx.exec(FOLLOW, args![job, flow]).await? {
        1 => Ok(()),
        _ => Err(codes::LOST.because(format!("job {job} is settled already"))),
    }
}

/// Ends the job that `flow` does, unless it was told of a failure when the flow was parked.
pub(crate) async fn succeed_of(
    tx: &mut Tx,
    job: Id<Any>,
    flow: Id<flow::FlowView>,
    answer: &Value,
) -> Result<()> {
    settle(tx, SETTLE_OF, args![job, flow], true, answer).await.map(|_| ())
}

/// Ends the job that `flow` does with `error`, unless it has ended.
pub(crate) async fn fail_of(
    tx: &mut Tx,
    job: Id<Any>,
    flow: Id<flow::FlowView>,
    error: &ErrorCode,
) -> Result<()> {
    let result = serde_json::json!({ "error": error });
    settle(tx, SETTLE_OF, args![job, flow], false, &result).await.map(|_| ())
}

/// Ends the job with `error`, unless it has ended or a flow does it.
async fn fail(tx: &mut Tx, job: Id<Any>, owner: Id<Node>, error: ErrorCode) -> Result<()> {
    let result = serde_json::json!({ "error": error });
    settle(tx, SETTLE, args![job, owner], false, &result).await.map(|_| ())
}

/// Writes down how the job failed, or sees to it that it is looked at again.
async fn give_up(engine: &Engine, (id, owner): (Id<Any>, Id<Node>), error: ErrorCode) {
    let written = match error.is(codes::DATABASE) {
        true => Err(error),
        false => engine.db().write(move |tx| Box::pin(fail(tx, id, owner, error))).await,
    };
    if let Err(error) = written {
        tracing::warn!(job = %id, %error, "how the job ended is not known: it is looked at again");
        engine.watched_jobs().stalled(id);
    }
}

async fn settle(
    tx: &mut Tx,
    sql: &'static str,
    mut whose: Vec<crate::db::Value>,
    success: bool,
    result: &Value,
) -> Result<bool> {
    whose.extend(args![success, result, Stamp::now()]);
    Ok(tx.exec(sql, whose).await? == 1)
}

/// What polling answers, to this account when one is named.
pub(super) async fn poll(tx: &mut Tx, job: Id<Any>, account: Option<Id<Any>>) -> Result<(StatusCode, Value)> {
    let since = Stamp::now().minus(KEPT);
    let row = tx.opt::<(String, Option<bool>, Option<String>)>(RESULT, args![job, account, since]).await?;
    let Some((state, success, result)) = row else {
        let error = codes::NOT_FOUND.because(format!("there is no job {job}, or it has expired"));
        return Ok((StatusCode::NOT_FOUND, serde_json::json!({ "error": error })));
    };
    if state != "done" {
        return Ok((StatusCode::ACCEPTED, serde_json::json!({})));
    }
    let status = if success == Some(true) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, serde_json::from_str(result.as_deref().unwrap_or("{}"))?))
}

/// Runs again what dead controllers have left and this one is to do, and what a failing database has left
/// open; tells web hooks what ended.
pub(crate) async fn recover(engine: &Engine, era: &Arc<Era>) -> Result<()> {
    let stalled = engine.watched_jobs().take_stalled();
    let (found, unhooked) = open_ends(engine, era, &stalled).await.inspect_err(|_| {
        stalled.iter().for_each(|job| engine.watched_jobs().stalled(*job));
    })?;
    for row in found {
        let job = row.uuid;
        if let Err(error) = adopt(engine, era, row).await {
            tracing::warn!(%job, %error, "the job is not adopted yet");
            engine.watched_jobs().stalled(job);
        }
    }
    for (job,) in unhooked.into_iter().filter(|(job,)| engine.owns(&job.to_string())) {
        announce(engine, job);
    }
    Ok(())
}

type Unhooked = Vec<(Id<Any>,)>;

async fn open_ends(
    engine: &Engine,
    era: &Era,
    stalled: &HashSet<Id<Any>>,
) -> Result<(Vec<JobRow>, Unhooked)> {
    let mut tx = engine.db().read().await?;
    let mut found: Vec<JobRow> = tx.all(ABANDONED, args![]).await?;
    found.retain(|job| engine.owns(&job.uuid.to_string()));
    for job in stalled {
        found.extend(tx.opt::<JobRow>(CLAIM, args![*job, era.id]).await?);
    }
    Ok((found, tx.all(UNHOOKED, args![]).await?))
}

async fn adopt(engine: &Engine, era: &Arc<Era>, row: JobRow) -> Result<()> {
    let Some(api) = engine.job_name(&row.api) else {
        tracing::error!(job = %row.uuid, api = row.api, "this controller does not know this call");
        return Ok(());
    };
    let change = args![row.uuid, row.owner, era.id];
    if engine.db().write(move |tx| Box::pin(tx.exec(ADOPT, change))).await? == 1 {
        tracing::info!(job = %row.uuid, api, "job adopted");
        let params = serde_json::from_str(&row.params)?;
        if let Some(secret) = engine.lost_secret(api, &params) {
            give_up(engine, (row.uuid, era.id), untold(secret)).await;
            return Ok(());
        }
        let who = Who { account: row.account, user: row.user_uuid };
        Job::new(engine, era, row.uuid, (api, who)).hooked(row.web_hook.is_some()).begin(params, None);
    }
    Ok(())
}

fn untold(secret: &str) -> ErrorCode {
    let details = format!(
        "the controller stopped before this was begun, and \"{secret}\" is never written down: call again"
    );
    codes::OPERATION.because(details)
}

/// Forgets results, and records, whose time is over.
pub(crate) async fn expire(engine: &Engine) -> Result<()> {
    let kept = engine.setting(&audit::KEPT).max(KEPT);
    let (results, records) = (Stamp::now().minus(KEPT), Stamp::now().minus(kept));
    let unit = engine.db().write(move |tx| {
        Box::pin(async move {
            tx.exec(FORGET, args![results]).await?;
            tx.exec(EXPIRE, args![records]).await
        })
    });
    unit.await.map(|_| ())
}

/// Tells the job's web hook, if it has one.
fn announce(engine: &Engine, job: Id<Any>) {
    if !engine.watched_jobs().telling.lock().expect("never poisoned").insert(job) {
        return;
    }
    let engine = engine.clone();
    tokio::spawn(async move {
        if let Err(error) = push(&engine, job).await {
            tracing::warn!(%job, %error, "the web hook was not told");
        }
        engine.watched_jobs().telling.lock().expect("never poisoned").remove(&job);
    });
}

async fn push(engine: &Engine, job: Id<Any>) -> Result<()> {
    let hook = engine.db().read().await?.opt::<(String, bool, String)>(HOOK, args![job]).await?;
    let Some((url, success, body)) = hook else { return Ok(()) };
    for _ in 0..HOOK_TRIES {
        let sent = engine
            .http()
            .post(&url)
            .header("Content-Type", "application/json")
            .header("X-Job-UUID", job.to_string())
            .header("X-Job-Success", success.to_string())
            .body(body.clone())
            .send()
            .await;
        if sent.is_ok_and(|answer| answer.status().is_success()) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    engine.db().write(move |tx| Box::pin(tx.exec(HOOKED, args![job, true]))).await.map(|_| ())
}
