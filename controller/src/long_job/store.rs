use engine::db::Tx;
use engine::{Any, Id, Result, Stamp, args};

use super::LongJob;
use super::api::UpdateLongJob;

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM long_job x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
pub(super) const OPEN: &str = "SELECT uuid, name FROM long_job WHERE state IN ('Running', 'Canceling') \
     AND uuid IN ($*)";
const INSERT: &str = "INSERT INTO long_job (uuid, name, description, api_id, job_name, job_data, state, \
     target_resource_uuid, start_date, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, 'Running', $7, $8, $8, $8)";
/// Also when the call that cancels it begins again.
const CANCEL: &str = "UPDATE long_job SET state = CASE state WHEN 'Running' THEN 'Canceling' ELSE state END, \
     canceled_by = $2, last_op_date = $3 WHERE uuid = $1 AND (state = 'Running' OR canceled_by = $2)";
const AGAIN: &str = "UPDATE long_job SET state = 'Running', api_id = $2, job_result = NULL, canceled_by = NULL, \
     execute_time = NULL, start_date = $3, last_op_date = $3 WHERE uuid = $1";
const UPDATE: &str = "UPDATE long_job SET name = coalesce($2, name), description = coalesce($3, description), \
     last_op_date = $4 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM long_job WHERE uuid = $1";

/// A long job that begins.
pub(super) struct New<'a> {
    pub name: &'a str,
    pub description: Option<&'a str>,
    pub api: Id<Any>,
    pub job_name: &'a str,
    pub job_data: &'a str,
    pub target: Option<Id<Any>>,
}

pub(super) async fn insert(tx: &mut Tx, uuid: Id<LongJob>, new: &New<'_>) -> Result<()> {
    let mut row = args![uuid, new.name, new.description, new.api, new.job_name, new.job_data];
    row.extend(args![new.target, Stamp::now()]);
    tx.exec(INSERT, row).await.map(|_| ())
}

/// False when it has ended, or another call cancels it.
pub(super) async fn cancel(tx: &mut Tx, uuid: Id<LongJob>, by: Id<Any>) -> Result<bool> {
    Ok(tx.exec(CANCEL, args![uuid, by, Stamp::now()]).await? == 1)
}

pub(super) async fn begin_again(tx: &mut Tx, uuid: Id<LongJob>, api: Id<Any>) -> Result<()> {
    tx.exec(AGAIN, args![uuid, api, Stamp::now()]).await.map(|_| ())
}

pub(super) async fn update(tx: &mut Tx, changed: &UpdateLongJob) -> Result<()> {
    let (name, description) = (changed.name.as_deref(), changed.description.as_deref());
    tx.exec(UPDATE, args![changed.uuid, name, description, Stamp::now()]).await.map(|_| ())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<LongJob>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await.map(|_| ())
}

/// Those of them that have not ended.
pub(super) async fn open(tx: &mut Tx, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, String)>> {
    tx.all_of(OPEN, ids.iter().map(|id| (*id).into()).collect()).await
}
