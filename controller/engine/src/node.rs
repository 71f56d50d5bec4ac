//! This controller among the others: its identity, and the numbers that order who may act.

use crate::args;
use crate::db::Tx;
use crate::error::Result;

/// Marks the id of a controller process; a new one at every start.
#[derive(Debug)]
pub enum Node {}

const NEXT: &str = "UPDATE sequence SET value = value + 1 WHERE name = 'epoch' RETURNING value";

/// A number higher than every one handed out before: later always means higher.
pub(crate) async fn next_epoch(tx: &mut Tx) -> Result<i64> {
    tx.number(NEXT, args![]).await
}
