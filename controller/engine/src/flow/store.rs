//! The journal of flows and who owns what: the only SQL of this room.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Flow, Start, Steps, drive};
use crate::args;
use crate::db::Tx;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Any, Id, Stamp};
use crate::inventory::Members;
use crate::node::{self, Node};
use crate::notice::Notice;

/// One line of the journal.
#[derive(Clone, Debug, crate::db::Row)]
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
    pub body: String,
    pub error: Option<String>,
    pub job: Option<Id<Any>>,
    pub attempts: i64,
    pub log: String,
}

/// An unfinished flow as it was when it was found to be nobody's.
#[derive(Clone, Debug, crate::db::Row)]
pub(crate) struct Claim {
    pub uuid: Id<FlowView>,
    pub name: String,
    pub title: String,
    pub resource: Id<Any>,
    pub owner: Id<Node>,
    epoch: i64,
}

/// What became of a flow that was to begin.
pub(crate) enum Begun {
    Now(Box<FlowRow>),
    /// And ended at once.
    Over,
    /// It had begun before.
    Before,
    Busy(OwnedBy),
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
        log: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill {
        step_name: Option<String>,
        log: Vec<super::log::View>,
    }
}

impl FlowView {
    /// The name of the step at hand, for people.
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let engine = tx.engine();
        for flow in page {
            let known = flow.read::<String>("name").and_then(|name| engine.flow_type(&name));
            if let Some(log) = flow.read::<String>("log") {
                let log = super::log::Log::read(&log).view(known.map_or(&[], |known| &known.steps));
                flow.insert("log", &log)?;
            }
            let step = flow.read::<usize>("step");
            if let Some(name) = known.zip(step).and_then(|(known, step)| known.steps.get(step)) {
                flow.insert("stepName", name)?;
            }
        }
        Ok(())
    }
}

/// The live flow that owns a resource.
#[derive(Clone, Debug, Serialize, crate::db::Row)]
pub struct OwnedBy {
    pub flow: Id<FlowView>,
    pub title: String,
    pub state: String,
    pub error: Option<String>,
}

pub(crate) const FORWARD: &str = "forward";
pub(crate) const UNDO: &str = "undo";

const ROW: &str = "SELECT uuid, name, version, title, resource, generation, epoch, direction, step, \
     body, error, job, attempts, log FROM flow WHERE uuid = $1";
const ENDED: &str = "SELECT state, error, answer FROM flow WHERE uuid = $1";
const LIVES: &str = "SELECT count(*) FROM flow WHERE uuid = $1 AND state IN ('running', 'parked')";
const KNOWN: &str = "SELECT count(*) FROM flow WHERE uuid = $1";
const ABANDONED: &str = "SELECT uuid, name, title, resource, owner, epoch FROM flow \
     WHERE state IN ('running', 'parked') AND owner NOT IN (SELECT uuid FROM node) ORDER BY epoch";
const CLAIM: &str = "SELECT uuid, name, title, resource, owner, epoch FROM flow \
     WHERE state IN ('running', 'parked') AND uuid = $1 AND owner = $2";
const COUNT: &str = "SELECT count(*) FROM flow WHERE state IN ('running', 'parked') AND state = $1";
const EXPIRE: &str = "DELETE FROM flow WHERE state IN ('done', 'undone', 'abandoned') \
     AND create_date < $1 AND last_op_date < $1";
const OWN: &str = "INSERT INTO ownership (resource, generation, flow) \
     SELECT $1, 1, $2 WHERE NOT EXISTS (SELECT 1 FROM flow WHERE uuid = $2) \
     ON CONFLICT (resource) DO UPDATE SET generation = ownership.generation + 1, flow = excluded.flow \
     WHERE ownership.flow IS NULL RETURNING generation";
const OWNER: &str = "SELECT f.uuid AS flow, f.title, f.state, f.error FROM ownership o \
     JOIN flow f ON f.uuid = o.flow WHERE o.resource = $1";
const PARKED_ON: &str = "SELECT o.resource, f.title FROM ownership o JOIN flow f ON f.uuid = o.flow \
     WHERE f.state = 'parked' AND o.resource IN ($*)";
const DISOWN: &str = "UPDATE ownership SET flow = NULL WHERE flow = $1";
const HOLD: &str = "INSERT INTO ownership (resource, generation, flow) \
     SELECT $1, 1, uuid FROM flow WHERE uuid = $2 AND owner = $3 AND epoch = $4 AND state IN ('running', 'parked') \
     ON CONFLICT (resource) DO UPDATE SET generation = ownership.generation + 1, flow = excluded.flow \
     WHERE ownership.flow IS NULL OR ownership.flow = excluded.flow RETURNING generation";
const LET_GO: &str = "UPDATE ownership SET flow = NULL WHERE resource = $1 AND flow = $2 AND generation = $3";
const INSERT: &str = "INSERT INTO flow (uuid, name, version, title, resource, generation, owner, epoch, \
     direction, step, state, body, job, attempts, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'forward', $9, 'running', $10, $11, 0, $12, $12)";
const ADOPT: &str = "UPDATE flow SET owner = $4, epoch = $5, last_op_date = $6 \
     WHERE uuid = $1 AND owner = $2 AND epoch = $3 AND state IN ('running', 'parked')";
const WISHED: &str = "SELECT wish FROM flow WHERE uuid = $1";
const WISH: &str = "UPDATE flow SET wish = $2 WHERE uuid = $1 AND state = $3 AND direction = $4";
const GRANTED: &str = "UPDATE flow SET wish = NULL WHERE uuid = $1 AND owner = $2 AND epoch = $3";
const SAVE: &str = "UPDATE flow SET step = $4, body = $5, log = $6, state = 'running', attempts = 0, \
     last_op_date = $7 \
     WHERE uuid = $1 AND owner = $2 AND epoch = $3";
const TURN: &str = "UPDATE flow SET direction = 'undo', epoch = $4, error = $5, wish = NULL, \
     last_op_date = $6 \
     WHERE uuid = $1 AND owner = $2 AND epoch = $3";
const PARK: &str = "UPDATE flow SET state = 'parked', error = $4, log = $5, attempts = attempts + 1, \
     last_op_date = $6 \
     WHERE uuid = $1 AND owner = $2 AND epoch = $3";
const HELD: &str = "SELECT count(*) FROM flow WHERE uuid = $1 AND owner = $2 AND epoch = $3 \
     AND state IN ('running', 'parked')";
const RENEW: &str = "UPDATE flow SET epoch = $4 WHERE uuid = $1 AND owner = $2 AND epoch = $3";
const END: &str = "UPDATE flow SET state = $4, body = $5, log = $6, answer = $7, last_op_date = $8 \
     WHERE uuid = $1 AND owner = $2 AND epoch = $3";

/// How a flow stands, for those who wait for its end.
#[derive(Debug, crate::db::Row)]
pub(crate) struct End {
    state: String,
    error: Option<String>,
    answer: Option<String>,
}

impl End {
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

pub(crate) async fn end(tx: &mut Tx, id: Id<FlowView>) -> Result<Option<End>> {
    tx.opt(ENDED, args![id]).await
}

pub(crate) async fn find(tx: &mut Tx, id: Id<FlowView>) -> Result<Option<FlowRow>> {
    tx.opt(ROW, args![id]).await
}

/// Unfinished flows whose owner is dead.
pub(crate) async fn abandoned(tx: &mut Tx) -> Result<Vec<Claim>> {
    tx.all(ABANDONED, args![]).await
}

/// The flow, if it is unfinished and `owner`'s.
pub(crate) async fn claim_of(tx: &mut Tx, id: Id<FlowView>, owner: Id<Node>) -> Result<Option<Claim>> {
    tx.opt(CLAIM, args![id, owner]).await
}

/// Whether it has not ended.
pub(crate) async fn lives(tx: &mut Tx, id: Id<FlowView>) -> Result<bool> {
    Ok(tx.number(LIVES, args![id]).await? > 0)
}

/// Which of `resources` parked flows own.
pub(crate) async fn parked_on(tx: &mut Tx, resources: &[Id<Any>]) -> Result<Vec<(Id<Any>, String)>> {
    tx.all_of(PARKED_ON, resources.iter().map(|id| (*id).into()).collect()).await
}

pub(crate) async fn count(tx: &mut Tx, state: &str) -> Result<i64> {
    tx.number(COUNT, args![state]).await
}

pub(crate) async fn expire(tx: &mut Tx, limit: Stamp) -> Result<()> {
    tx.exec(EXPIRE, args![limit]).await.map(|_| ())
}

/// What an operator wants of the flow.
pub(crate) async fn wished(tx: &mut Tx, id: Id<FlowView>) -> Result<Option<String>> {
    Ok(tx.opt::<(Option<String>,)>(WISHED, args![id]).await?.and_then(|row| row.0))
}

/// Writes down what an operator wants of a flow that is in this state and one of these directions;
/// false when it is not.
pub(crate) async fn wish(
    tx: &mut Tx,
    id: Id<FlowView>,
    wish: &str,
    state: &str,
    directions: &[&str],
) -> Result<bool> {
    for direction in directions {
        if tx.exec(WISH, args![id, wish, state, *direction]).await? == 1 {
            tx.notify(Notice::Wish(id));
            return Ok(true);
        }
    }
    Ok(false)
}

/// Which live flow owns `resource`.
pub(crate) async fn owner(tx: &mut Tx, resource: Id<Any>) -> Result<Option<OwnedBy>> {
    tx.opt(OWNER, args![resource]).await
}

/// Enters the flow as the owner of its resource, where it stands when `first` of its steps have been run as far
/// as they only change rows: what fails of them leaves nothing of it.
pub(crate) async fn begin<F: Flow>(
    tx: &mut Tx,
    mut flow: F,
    start: Start,
    node: Id<Node>,
    first: Option<&Steps<F>>,
) -> Result<Begun> {
    let resource = flow.resource();
    let Some((generation,)) = tx.opt::<(i64,)>(OWN, args![resource, start.id]).await? else {
        if tx.number(KNOWN, args![start.id]).await? > 0 {
            return Ok(Begun::Before);
        }
        let owner = owner(tx, resource).await?;
        return owner.map(Begun::Busy).ok_or_else(|| codes::BUSY.because("the resource is being worked on"));
    };
    if let Some(parent) = start.parent {
        parent.prove(tx).await?;
    }
    let mut row = FlowRow {
        uuid: start.id,
        name: F::NAME.to_owned(),
        version: F::VERSION,
        title: flow.title(),
        resource,
        generation,
        epoch: node::next_epoch(tx).await?,
        direction: FORWARD.to_owned(),
        step: 0,
        body: String::new(),
        error: None,
        job: start.job,
        attempts: 0,
        log: "[]".to_owned(),
    };
    let at = match first {
        Some(steps) => drive::first_records(tx, steps, &row, &mut flow).await?,
        None => 0,
    };
    (row.step, row.body) = (drive::position(at), serde_json::to_string(&flow)?);
    insert(tx, &row, node).await?;
    if let Some(job) = start.job {
        crate::api::job::follow(tx, job, start.id).await?;
    }
    if first.is_some_and(|steps| at == steps.list.len()) {
        let guard = Guard { flow: row.uuid, node, epoch: row.epoch };
        drive::finish(tx, guard, (&row, &flow), row.log.clone()).await?;
        return Ok(Begun::Over);
    }
    Ok(Begun::Now(Box::new(row)))
}

async fn insert(tx: &mut Tx, row: &FlowRow, node: Id<Node>) -> Result<()> {
    let FlowRow { uuid, name, version, title, resource, generation, epoch, step, body, job, .. } = row;
    let mut values = args![*uuid, name, *version, title, *resource, *generation, node, *epoch];
    values.extend(args![*step, body, *job, Stamp::now()]);
    tx.exec(INSERT, values).await.map(|_| ())
}

impl OwnedBy {
    /// Why nothing else can be done with the resource.
    pub(crate) fn refuses(&self) -> ErrorCode {
        let state =
            if self.state == "parked" { "is parked, an operator must look at it" } else { "is at work" };
        codes::BUSY.because(format!("the operation \"{}\" (flow {}) {state}", self.title, self.flow))
    }
}

/// Takes an unfinished flow over under a new epoch; `None` when it has ended or was taken meanwhile.
pub(crate) async fn adopt(tx: &mut Tx, claim: &Claim, node: Id<Node>) -> Result<Option<FlowRow>> {
    let epoch = node::next_epoch(tx).await?;
    let change = args![claim.uuid, claim.owner, claim.epoch, node, epoch, Stamp::now()];
    let taken = tx.exec(ADOPT, change).await?;
    if taken == 1 { find(tx, claim.uuid).await } else { Ok(None) }
}

/// Who writes: a write of a flow that is no longer one's own fails with [`codes::LOST`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Guard {
    pub flow: Id<FlowView>,
    pub node: Id<Node>,
    pub epoch: i64,
}

impl Guard {
    /// Whether a driver with this guard still has the flow.
    pub(crate) async fn holds(self, tx: &mut Tx) -> Result<bool> {
        Ok(tx.number(HELD, args![self.flow, self.node, self.epoch]).await? == 1)
    }

    /// For what is written in the course of an act.
    pub(crate) async fn prove(self, tx: &mut Tx) -> Result<()> {
        match self.holds(tx).await? {
            true => Ok(()),
            false => Err(self.lost()),
        }
    }

    fn lost(self) -> ErrorCode {
        codes::LOST.because(format!("flow {} has another owner", self.flow))
    }

    async fn change(self, tx: &mut Tx, sql: &'static str, rest: Vec<crate::db::Value>) -> Result<()> {
        let mut args = args![self.flow, self.node, self.epoch];
        args.extend(rest);
        match tx.exec(sql, args).await? {
            1 => Ok(()),
            _ => Err(self.lost()),
        }
    }

    /// `memory` is the flow's body and its log.
    pub(crate) async fn save(self, tx: &mut Tx, step: i64, memory: (String, String)) -> Result<()> {
        self.change(tx, SAVE, args![step, memory.0, memory.1, Stamp::now()]).await
    }

    /// Turns back, under a new epoch, which it returns.
    pub(crate) async fn turn(self, tx: &mut Tx, error: &ErrorCode) -> Result<i64> {
        let epoch = node::next_epoch(tx).await?;
        self.change(tx, TURN, args![epoch, serde_json::to_string(error)?, Stamp::now()]).await?;
        Ok(epoch)
    }

    pub(crate) async fn park(self, tx: &mut Tx, error: &ErrorCode, log: String) -> Result<()> {
        tx.notify(Notice::Flow(self.flow));
        self.change(tx, PARK, args![serde_json::to_string(error)?, log, Stamp::now()]).await
    }

    /// The operator's wish was granted.
    pub(crate) async fn granted(self, tx: &mut Tx) -> Result<()> {
        self.change(tx, GRANTED, args![]).await
    }

    /// Proves ownership again and takes a new epoch, after a command was refused as stale.
    pub(crate) async fn renew(self, tx: &mut Tx) -> Result<i64> {
        let epoch = node::next_epoch(tx).await?;
        self.change(tx, RENEW, args![epoch]).await?;
        Ok(epoch)
    }

    /// Owns `resource` too, for a while: its generation, or who owns it.
    pub(crate) async fn hold(self, tx: &mut Tx, resource: Id<Any>) -> Result<Result<i64, OwnedBy>> {
        let hold = args![resource, self.flow, self.node, self.epoch];
        if let Some((generation,)) = tx.opt::<(i64,)>(HOLD, hold).await? {
            return Ok(Ok(generation));
        }
        self.prove(tx).await?;
        let owner = owner(tx, resource).await?;
        owner.map(Err).ok_or_else(|| codes::BUSY.because("the resource is being worked on"))
    }

    /// Gives back what [`Guard::hold`] took.
    pub(crate) async fn let_go(self, tx: &mut Tx, resource: Id<Any>, generation: i64) -> Result<()> {
        tx.notify(Notice::Flow(self.flow));
        tx.exec(LET_GO, args![resource, self.flow, generation]).await.map(|_| ())
    }

    /// Ends the flow: `done` with its answer, `undone`, or `abandoned`. Its resource is free again.
    pub(crate) async fn end(
        self,
        tx: &mut Tx,
        state: &str,
        memory: (String, String),
        answer: Option<&Value>,
    ) -> Result<()> {
        self.change(tx, END, args![state, memory.0, memory.1, answer, Stamp::now()]).await?;
        tx.exec(DISOWN, args![self.flow]).await?;
        tx.notify(Notice::Flow(self.flow));
        Ok(())
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
