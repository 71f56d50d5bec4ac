use std::time::Duration;

use engine::api::inner::{self, Inner, Standing};
use engine::api::{Api, Entry, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::{Any, Engine, Id, Result, api, codes, deletion};
use serde_json::{Value, json};

use super::store::{self, New};
use super::{LongJob, LongJobInventory};
use crate::account;
use crate::validate;

/// Who cancels looks so often whether it has ended.
const LOOK: Duration = Duration::from_millis(100);
/// Members of messages that are no parameters.
const ENVELOPE: &[&str] = &["session", "timeout", "id", "serviceId", "headers", "createdTime"];

api! {
    /// `jobName` is the message, `APIAddImageMsg`, and `jobData` its members as JSON text.
    SubmitLongJob: POST "/longjobs" "params" {
        name: Option<String>,
        description: Option<String>,
        job_name: String,
        job_data: String,
        target_resource_uuid: Option<Id<Any>>,
        resource_uuid: Option<Id<LongJob>>,
    }
}

impl Api for SubmitLongJob {
    const ROUTE: Route = SubmitLongJob::ROUTE;
    const MAKES: Option<&'static str> = Some(LongJobInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        let call = Call::read(job.engine(), &self.job_name, &self.job_data)?;
        call.admit(&job).await?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        let inner = call.inner(&job, "submitted");
        let api = inner.id;
        job.write(move |tx| {
            Box::pin(async move {
                let name = self.name.as_deref().unwrap_or(&self.job_name);
                let (description, target) = (self.description.as_deref(), self.target_resource_uuid);
                let (job_name, job_data) = (&self.job_name, &self.job_data);
                store::insert(tx, uuid, &New { name, description, api, job_name, job_data, target }).await?;
                inner::enter(tx, inner).await?;
                show::<LongJobInventory>(tx, uuid).await
            })
        })
        .await
    }
}

/// What a long job calls.
struct Call {
    api: &'static str,
    params: Value,
}

impl Call {
    fn read(engine: &Engine, message: &str, data: &str) -> Result<Call> {
        let last = message.rsplit('.').next().unwrap_or_default();
        let short = last.strip_prefix("API").unwrap_or(last);
        let entry = engine.call(short.strip_suffix("Msg").unwrap_or(short))?;
        refuse_unsuitable(entry)?;
        let mut params = inner::object(data)?;
        params.retain(|name, value| !value.is_null() && !ENVELOPE.contains(&name.as_str()));
        Ok(Call { api: entry.route.name, params: params.into() })
    }

    /// Refuses what who makes this job could not call.
    async fn admit(&self, job: &Job) -> Result<()> {
        let engine = job.engine();
        let mut tx = engine.db().read().await?;
        let session = account::acting(&mut tx, job.account(), job.user()).await?;
        drop(tx);
        engine.admit(&session, engine.call(self.api)?, &self.params).await
    }

    /// As a job of its own, the same one however often `job` is begun.
    fn inner(self, job: &Job, label: &str) -> Inner {
        let id = Id::derived(&[&job.id().to_string(), label]);
        Inner { id, api: self.api, params: self.params, account: job.account(), user: job.user() }
    }
}

/// Long jobs do not make each other; and what may not be stored cannot be called later.
fn refuse_unsuitable(entry: &Entry) -> Result<()> {
    let name = entry.route.name;
    if name.ends_with("LongJob") {
        return Err(codes::INVALID_ARGUMENT.because(format!("{name} cannot be a long job: call it directly")));
    }
    match entry.route.secrets.iter().chain(entry.route.unread).next() {
        Some(secret) => Err(codes::INVALID_ARGUMENT.because(format!(
            "{name} takes \"{secret}\", which is not stored, so it cannot be a long job: call it directly"
        ))),
        None => Ok(()),
    }
}

api! {
    /// Turns it back, and answers when that is done.
    CancelLongJob: PUT "/longjobs/{uuid}/actions" "cancelLongJob" {
        uuid: Id<LongJob>,
    }
}

impl Api for CancelLongJob {
    const ROUTE: Route = CancelLongJob::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let (engine, uuid, by) = (job.engine().clone(), self.uuid, job.id());
        let marked = engine.db().write(move |tx| Box::pin(mark(tx, uuid, by))).await?;
        turn_back(&job, marked.api_id).await?;
        job.write(move |tx| {
            Box::pin(async move {
                let ended: LongJobInventory = find(tx, uuid).await?;
                if ended.state == "Succeeded" {
                    let details =
                        format!("long job \"{}\" was done before it could be cancelled", ended.name);
                    return Err(codes::STATE.because(details));
                }
                show::<LongJobInventory>(tx, uuid).await
            })
        })
        .await
    }
}

/// It is being cancelled from now on, by this call.
async fn mark(tx: &mut Tx, uuid: Id<LongJob>, by: Id<Any>) -> Result<LongJobInventory> {
    let ours = store::cancel(tx, uuid, by).await?;
    let found: LongJobInventory = find(tx, uuid).await?;
    match ours {
        true => Ok(found),
        false => Err(codes::STATE.because(format!(
            "long job \"{}\" is {}: only a running one can be cancelled",
            found.name, found.state
        ))),
    }
}

/// Cancels the flow of the job once there is one, and waits until the job has ended.
async fn turn_back(job: &Job, api: Id<Any>) -> Result<()> {
    let engine = job.engine();
    let mut asked = false;
    loop {
        let standing = inner::standing(&mut engine.db().read().await?, api).await?;
        match standing {
            Some(Standing { state, flow }) if state != "done" => {
                if let Some(flow) = flow.filter(|_| !asked) {
                    asked = true;
                    let id = Id::derived(&[&job.id().to_string(), "cancel", &flow.to_string()]);
                    let params = json!({ "uuid": flow });
                    let (account, user) = (job.account(), job.user());
                    let cancel = Inner { id, api: "CancelFlow", params, account, user };
                    engine.db().write(move |tx| Box::pin(inner::enter(tx, cancel))).await?;
                }
            }
            _ => return Ok(()),
        }
        tokio::time::sleep(LOOK).await;
    }
}

api! {
    /// The same call once more, after it has ended.
    RerunLongJob: PUT "/longjobs/{uuid}/actions" "rerunLongJob" {
        uuid: Id<LongJob>,
    }
}

impl Api for RerunLongJob {
    const ROUTE: Route = RerunLongJob::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let (engine, uuid) = (job.engine().clone(), self.uuid);
        let known: LongJobInventory = find(&mut engine.db().read().await?, uuid).await?;
        let call = Call::read(&engine, &known.job_name, &known.job_data)?;
        call.admit(&job).await?;
        let inner = call.inner(&job, "again");
        job.write(move |tx| {
            Box::pin(async move {
                let known: LongJobInventory = find(tx, uuid).await?;
                if !known.has_ended() {
                    let details = format!("long job \"{}\" is {}: cancel it first", known.name, known.state);
                    return Err(codes::STATE.because(details));
                }
                store::begin_again(tx, uuid, inner.id).await?;
                inner::enter(tx, inner).await?;
                show::<LongJobInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    UpdateLongJob: PUT "/longjobs/{uuid}/actions" "updateLongJob" {
        uuid: Id<LongJob>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateLongJob {
    const ROUTE: Route = UpdateLongJob::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<LongJobInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteLongJob: "/longjobs/{uuid}" of LongJob: LongJobInventory }
