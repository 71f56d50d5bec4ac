//! The journal of flows and who owns what: the only SQL of this room.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Flow, Start};
use crate::args;
use crate::db::Tx;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Any, Id, Stamp};
use crate::node::{self, Node};

/// One line of the journal.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct FlowRow {
    pub uuid: Id<FlowView>,
    pub name: String,
    pub version: i64,
    pub title: String,
    pub resource: Id<Any>,
    pub generation: i64,
    pub epoch: i64,
    pub direction: String,
    pub step: i64,
    pub state: String,
    pub body: String,
    pub error: Option<String>,
    pub answer: Option<String>,
    pub job: Option<Id<Any>>,
    pub attempts: i64,
}

crate::inventory! {
    /// A flow as operators see it.
    FlowView in "flow" {
        uuid: Id<FlowView>,
        name: String,
        title: String,
        resource: Id<Any>,
        generation: i64,
        owner: Id<Node>,
        epoch: i64,
        direction: String,
        step: i64,
        state: String,
        error: Option<String>,
        job: Option<Id<Any>>,
        attempts: i64,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill
}

impl FlowView {
    /// The name of the step at hand, for people.
    async fn fill_page(tx: &mut Tx, page: &mut [Map<String, Value>]) -> Result<()> {
        let engine = tx.engine();
        for flow in page {
            let known = flow.get("name").and_then(Value::as_str).and_then(|name| engine.flow_type(name));
            let step = flow.get("step").and_then(Value::as_u64).and_then(|step| usize::try_from(step).ok());
            if let Some(name) = known.zip(step).and_then(|(known, step)| known.steps.get(step)) {
                flow.insert("stepName".into(), (*name).into());
            }
        }
        Ok(())
    }
}

/// The live flow that owns a resource.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct OwnedBy {
    pub flow: Id<FlowView>,
    pub title: String,
    pub state: String,
    pub error: Option<String>,
}

pub(crate) const FORWARD: &str = "forward";
pub(crate) const UNDO: &str = "undo";

const ROW: &str = "SELECT uuid, name, version, title, resource, generation, epoch, direction, step, state, \
     body, error, answer, job, attempts FROM flow WHERE uuid = $1";
const UNFINISHED: &str = "SELECT uuid, name, version, title, resource, generation, epoch, direction, step, \
     state, body, error, answer, job, attempts FROM flow WHERE state IN ('running', 'parked') ORDER BY epoch";
const OWN: &str = "INSERT INTO ownership (resource, generation, flow) VALUES ($1, 1, $2) \
     ON CONFLICT (resource) DO UPDATE SET generation = ownership.generation + 1, flow = excluded.flow \
     WHERE ownership.flow IS NULL RETURNING generation";
const OWNER: &str = "SELECT f.uuid AS flow, f.title, f.state, f.error FROM ownership o \
     JOIN flow f ON f.uuid = o.flow WHERE o.resource = $1";
const DISOWN: &str = "UPDATE ownership SET flow = NULL WHERE resource = $1 AND flow = $2";
const INSERT: &str = "INSERT INTO flow (uuid, name, version, title, resource, generation, owner, epoch, \
     direction, step, state, body, job, attempts, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'forward', 0, 'running', $9, $10, 0, $11, $11)";
const ADOPT: &str = "UPDATE flow SET owner = $2, epoch = $3, last_op_date = $4 \
     WHERE uuid = $1 AND state IN ('running', 'parked')";
const SAVE: &str = "UPDATE flow SET step = $4, body = $5, state = 'running', attempts = 0, last_op_date = $6 \
     WHERE uuid = $1 AND owner = $2 AND epoch = $3";
const TURN: &str = "UPDATE flow SET direction = 'undo', epoch = $4, error = $5, last_op_date = $6 \
     WHERE uuid = $1 AND owner = $2 AND epoch = $3";
const PARK: &str = "UPDATE flow SET state = 'parked', error = $4, attempts = attempts + 1, last_op_date = $5 \
     WHERE uuid = $1 AND owner = $2 AND epoch = $3";
const RENEW: &str = "UPDATE flow SET epoch = $4 WHERE uuid = $1 AND owner = $2 AND epoch = $3";
const END: &str = "UPDATE flow SET state = $4, body = $5, answer = $6, last_op_date = $7 \
     WHERE uuid = $1 AND owner = $2 AND epoch = $3";

impl FlowRow {
    /// How it ended; `None` while it lives. A parked flow has failed as far as those who wait can tell.
    pub(crate) fn outcome(&self) -> Result<Option<Result<Value>>> {
        let failure = || self.failure().map(|error| Some(Err(error)));
        match self.state.as_str() {
            "done" => Ok(Some(Ok(serde_json::from_str(self.answer.as_deref().unwrap_or("{}"))?))),
            "running" => Ok(None),
            _ => failure(),
        }
    }

    fn failure(&self) -> Result<ErrorCode> {
        Ok(serde_json::from_str(self.error.as_deref().unwrap_or("null"))?)
    }
}

pub(crate) async fn find(tx: &mut Tx, id: Id<FlowView>) -> Result<Option<FlowRow>> {
    tx.opt(ROW, args![id]).await
}

pub(crate) async fn unfinished(tx: &mut Tx) -> Result<Vec<FlowRow>> {
    tx.all(UNFINISHED, args![]).await
}

/// Which live flow owns `resource`.
pub(crate) async fn owner(tx: &mut Tx, resource: Id<Any>) -> Result<Option<OwnedBy>> {
    tx.opt(OWNER, args![resource]).await
}

/// Enters the flow as the owner of its resource; `None` when it was entered before.
pub(crate) async fn begin<F: Flow>(
    tx: &mut Tx,
    flow: F,
    start: Start,
    node: Id<Node>,
) -> Result<Option<FlowRow>> {
    if find(tx, start.id).await?.is_some() {
        return Ok(None);
    }
    let resource = flow.resource();
    let Some((generation,)) = tx.opt::<(i64,)>(OWN, args![resource, start.id]).await? else {
        return Err(busy(owner(tx, resource).await?));
    };
    let (epoch, now) = (node::next_epoch(tx).await?, Stamp::now());
    let body = serde_json::to_string(&flow)?;
    let row = args![
        start.id,
        F::NAME,
        F::VERSION,
        flow.title(),
        resource,
        generation,
        node,
        epoch,
        body,
        start.job,
        now
    ];
    tx.exec(INSERT, row).await?;
    if let Some(job) = start.job {
        crate::api::job::follow(tx, job, start.id).await?;
    }
    find(tx, start.id).await
}

fn busy(owner: Option<OwnedBy>) -> ErrorCode {
    let Some(owner) = owner else { return codes::BUSY.because("the resource is being worked on") };
    let state = if owner.state == "parked" { "is parked, an operator must look at it" } else { "is at work" };
    codes::BUSY.because(format!("the operation \"{}\" (flow {}) {state}", owner.title, owner.flow))
}

/// Takes an unfinished flow over under a new epoch; `None` when it has ended meanwhile.
pub(crate) async fn adopt(tx: &mut Tx, id: Id<FlowView>, node: Id<Node>) -> Result<Option<FlowRow>> {
    let epoch = node::next_epoch(tx).await?;
    let taken = tx.exec(ADOPT, args![id, node, epoch, Stamp::now()]).await?;
    if taken == 1 { find(tx, id).await } else { Ok(None) }
}

/// Who writes: a write of a flow that is no longer one's own fails with [`codes::LOST`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    pub flow: Id<FlowView>,
    pub node: Id<Node>,
    pub epoch: i64,
}

impl Guard {
    async fn change(self, tx: &mut Tx, sql: &'static str, rest: Vec<crate::db::Value>) -> Result<()> {
        let mut args = args![self.flow, self.node, self.epoch];
        args.extend(rest);
        match tx.exec(sql, args).await? {
            1 => Ok(()),
            _ => Err(codes::LOST.because(format!("flow {} has another owner", self.flow))),
        }
    }

    pub(crate) async fn save(self, tx: &mut Tx, step: i64, body: String) -> Result<()> {
        self.change(tx, SAVE, args![step, body, Stamp::now()]).await
    }

    /// Turns back, under a new epoch, which it returns.
    pub(crate) async fn turn(self, tx: &mut Tx, error: &ErrorCode) -> Result<i64> {
        let epoch = node::next_epoch(tx).await?;
        self.change(tx, TURN, args![epoch, serde_json::to_string(error)?, Stamp::now()]).await?;
        Ok(epoch)
    }

    pub(crate) async fn park(self, tx: &mut Tx, error: &ErrorCode) -> Result<()> {
        self.change(tx, PARK, args![serde_json::to_string(error)?, Stamp::now()]).await
    }

    /// Proves ownership again and takes a new epoch, after a command was refused as stale.
    pub(crate) async fn renew(self, tx: &mut Tx) -> Result<i64> {
        let epoch = node::next_epoch(tx).await?;
        self.change(tx, RENEW, args![epoch]).await?;
        Ok(epoch)
    }

    /// Ends the flow: `done` with its answer, or `undone`. Its resource is free again.
    pub(crate) async fn end(
        self,
        tx: &mut Tx,
        resource: Id<Any>,
        state: &str,
        body: String,
        answer: Option<&Value>,
    ) -> Result<()> {
        self.change(tx, END, args![state, body, answer, Stamp::now()]).await?;
        tx.exec(DISOWN, args![resource, self.flow]).await?;
        Ok(())
    }
}
