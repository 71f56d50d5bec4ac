//! Jobs: calls that were acknowledged and will be done, whatever crashes.
//!
//! A job is in the database before its 202 leaves. It is settled in the same transaction as the work it
//! stands for: the unit's own, or the last one of its flow. Unsettled jobs are run again at start.

use axum::http::StatusCode;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::args;
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::flow::{self, Flow, Start};
use crate::id::{Any, Id, Stamp};

const INSERT: &str = "INSERT INTO job (uuid, api, account, params, state, web_hook, hooked, create_date) \
     VALUES ($1, $2, $3, $4, 'queued', $5, $6, $7) ON CONFLICT (uuid) DO NOTHING";
const FOLLOW: &str = "UPDATE job SET state = 'running', flow = $2 WHERE uuid = $1 AND state = 'queued'";
const SETTLE: &str = "UPDATE job SET state = 'done', success = $2, result = $3, end_date = $4 \
     WHERE uuid = $1 AND state <> 'done'";
const RESULT: &str = "SELECT state, success, result FROM job WHERE uuid = $1";
const QUEUED: &str = "SELECT uuid, api, account, params FROM job WHERE state = 'queued' ORDER BY create_date";
const UNHOOKED: &str = "SELECT uuid FROM job WHERE state = 'done' AND NOT hooked";
const HOOK: &str = "SELECT web_hook, success, result FROM job WHERE uuid = $1 AND NOT hooked";
const HOOKED: &str = "UPDATE job SET hooked = $2 WHERE uuid = $1";
const EXPIRE: &str = "DELETE FROM job WHERE state = 'done' AND end_date < $1";

/// How long results are kept, as ZStack keeps them.
const KEPT: std::time::Duration = std::time::Duration::from_secs(10_800);
/// A web hook is tried this often, two seconds apart, as ZStack does.
const HOOK_TRIES: u32 = 15;

/// One acknowledged call at work.
pub struct Job {
    engine: Engine,
    id: Id<Any>,
    api: &'static str,
    account: Id<Any>,
}

/// Proof that a job was settled or will be by its flow.
pub struct Settled(());

/// A call about to become a job.
pub(super) struct NewJob {
    pub id: Id<Any>,
    pub api: &'static str,
    pub account: Id<Any>,
    /// Without secrets.
    pub params: Value,
    pub web_hook: Option<String>,
}

#[derive(sqlx::FromRow)]
struct JobRow {
    uuid: Id<Any>,
    api: String,
    account: Id<Any>,
    params: String,
}

impl Job {
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whose call it is.
    pub fn account(&self) -> Id<Any> {
        self.account
    }

    pub fn id(&self) -> Id<Any> {
        self.id
    }

    /// Does all of it in one transaction, whose value is the API's answer.
    pub async fn write<F>(self, unit: F) -> Result<Settled>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Value>> + Send + 'static,
    {
        let id = self.id;
        let whole = self.engine.db().write(move |tx| {
            Box::pin(async move {
                let answer = unit(tx).await?;
                succeed(tx, id, &answer).await
            })
        });
        whole.await?;
        announce(&self.engine, id);
        Ok(Settled(()))
    }

    /// Does it by a flow, which answers when it ends.
    pub async fn flow<F: Flow>(self, flow: F) -> Result<Settled> {
        let id = Id::derived(&[&self.id.to_string(), "flow"]);
        let ended = flow::run(&self.engine, flow, Start { id, job: Some(self.id) }).await;
        announce(&self.engine, self.id);
        ended.map(|_| Settled(()))
    }

    /// Runs the call `api` with `params` and sees to it that the job ends.
    pub(super) async fn run(engine: Engine, id: Id<Any>, api: &'static str, account: Id<Any>, params: Value) {
        let job = Job { engine: engine.clone(), id, api, account };
        let began = std::time::Instant::now();
        tracing::info!(job = %id, api = job.api, "job");
        let outcome = match engine.start_job(api, params, job) {
            Ok(work) => tokio::spawn(work).await.unwrap_or_else(|_| {
                Err(codes::INTERNAL.because(format!("{api} panicked; see the controller's log")))
            }),
            Err(error) => Err(error),
        };
        engine.ends().ended(api, outcome.is_ok(), began.elapsed());
        let Err(error) = outcome else { return };
        tracing::info!(job = %id, api, %error, "job failed");
        let written = engine.db().write(move |tx| Box::pin(async move { fail(tx, id, &error).await })).await;
        if let Err(error) = written {
            tracing::error!(job = %id, %error, "the job's failure could not be written; it runs again at start");
        }
        announce(&engine, id);
    }
}

/// Enters the job; false when there is one of this id.
pub(super) async fn enter(tx: &mut Tx, job: NewJob) -> Result<bool> {
    let hooked = job.web_hook.is_none();
    let row = args![job.id, job.api, job.account, &job.params, job.web_hook, hooked, Stamp::now()];
    Ok(tx.exec(INSERT, row).await? == 1)
}

/// The job is done by this flow from now on.
pub(crate) async fn follow(tx: &mut Tx, job: Id<Any>, flow: Id<flow::FlowView>) -> Result<()> {
    match tx.exec(FOLLOW, args![job, flow]).await? {
        1 => Ok(()),
        _ => Err(codes::LOST.because(format!("job {job} is settled already"))),
    }
}

pub(crate) async fn succeed(tx: &mut Tx, job: Id<Any>, answer: &Value) -> Result<()> {
    match settle(tx, job, true, answer).await? {
        true => Ok(()),
        false => Err(codes::LOST.because(format!("job {job} is settled already"))),
    }
}

/// Ends the job with `error`, unless it has ended.
pub(crate) async fn fail(tx: &mut Tx, job: Id<Any>, error: &ErrorCode) -> Result<()> {
    settle(tx, job, false, &serde_json::json!({ "error": error })).await.map(|_| ())
}

async fn settle(tx: &mut Tx, job: Id<Any>, success: bool, result: &Value) -> Result<bool> {
    Ok(tx.exec(SETTLE, args![job, success, result, Stamp::now()]).await? == 1)
}

/// What polling answers.
pub(super) async fn poll(tx: &mut Tx, job: Id<Any>) -> Result<(StatusCode, Value)> {
    let row = tx.opt::<(String, Option<bool>, Option<String>)>(RESULT, args![job]).await?;
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

/// Runs again what was acknowledged before a crash and has not begun, and tells web hooks what ended.
pub(crate) async fn resume(engine: &Engine) -> Result<()> {
    let mut tx = engine.db().read().await?;
    for row in tx.all::<JobRow>(QUEUED, args![]).await? {
        let Some(api) = engine.job_name(&row.api) else {
            tracing::error!(job = %row.uuid, api = row.api, "this controller does not know this call");
            continue;
        };
        let params = serde_json::from_str(&row.params)?;
        tokio::spawn(Job::run(engine.clone(), row.uuid, api, row.account, params));
    }
    for (job,) in tx.all::<(Id<Any>,)>(UNHOOKED, args![]).await? {
        announce(engine, job);
    }
    Ok(())
}

/// Forgets results whose time is over.
pub(crate) async fn expire(engine: &Engine) -> Result<()> {
    let limit = Stamp(Stamp::now().0 - i64::try_from(KEPT.as_micros()).unwrap_or(0));
    engine.db().write(move |tx| Box::pin(tx.exec(EXPIRE, args![limit]))).await.map(|_| ())
}

/// Tells the job's web hook, if it has one.
fn announce(engine: &Engine, job: Id<Any>) {
    let engine = engine.clone();
    tokio::spawn(async move {
        if let Err(error) = push(&engine, job).await {
            tracing::warn!(%job, %error, "the web hook was not told");
        }
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
