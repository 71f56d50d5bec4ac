//! The rows of the controllers that live, and the numbers that order who may act.

use super::ring::Member;
use super::{Membership, Node};
use crate::args;
use crate::db::Tx;
use crate::error::Result;
use crate::id::Id;

const NEXT: &str = "UPDATE sequence SET value = value + 1 WHERE name = 'epoch' RETURNING value";
const BURY_HOME: &str = "DELETE FROM node WHERE home = $1";
const INSERT: &str = "INSERT INTO node (uuid, url, home, lease_until, join_date) VALUES ($1, $2, $3, $4, $5)";
const RENEW: &str = "UPDATE node SET lease_until = $2 WHERE uuid = $1 AND lease_until > $3";
const LEAVE: &str = "DELETE FROM node WHERE uuid = $1";
const BURY: &str = "DELETE FROM node WHERE lease_until <= $1";
const MEMBERS: &str = "SELECT uuid, url, lease_until FROM node ORDER BY uuid";

#[derive(crate::db::Row)]
struct Row {
    #[row(flatten)]
    member: Member,
    lease_until: i64,
}

/// The controllers as the database knows them.
pub struct Census {
    pub living: Vec<Member>,
    /// Somebody's lease has run out.
    pub dead: bool,
    /// When the next of the living is dead unless it renews: in so many milliseconds.
    pub next_death: Option<i64>,
    /// The database's time, milliseconds since 1970.
    pub clock: i64,
}

/// A number higher than every one handed out before: later always means higher.
pub(crate) async fn next_epoch(tx: &mut Tx) -> Result<i64> {
    tx.number(NEXT, args![]).await
}

/// Enters a new era; what went before at the same home is dead.
pub async fn join(tx: &mut Tx, id: Id<Node>, how: &Membership) -> Result<()> {
    tx.exec(BURY_HOME, args![&how.home]).await?;
    let now = tx.clock().await?;
    tx.exec(INSERT, args![id, &how.url, &how.home, now + millis(how.lease), now]).await?;
    Ok(())
}

/// False when the lease has run out or the row is gone: the era is over.
pub async fn renew(tx: &mut Tx, id: Id<Node>, lease: std::time::Duration) -> Result<bool> {
    let now = tx.clock().await?;
    Ok(tx.exec(RENEW, args![id, now + millis(lease), now]).await? == 1)
}

pub async fn leave(tx: &mut Tx, id: Id<Node>) -> Result<()> {
    tx.exec(LEAVE, args![id]).await.map(|_| ())
}

/// Removes those whose lease has run out; they never come back under their id.
pub async fn bury(tx: &mut Tx) -> Result<u64> {
    let now = tx.clock().await?;
    tx.exec(BURY, args![now]).await
}

pub async fn census(tx: &mut Tx) -> Result<Census> {
    let rows: Vec<Row> = tx.all(MEMBERS, args![]).await?;
    let now = tx.clock().await?;
    let dead = rows.iter().any(|row| row.lease_until <= now);
    let next_death = rows.iter().map(|row| row.lease_until - now).filter(|left| *left > 0).min();
    let living = rows.into_iter().filter(|row| row.lease_until > now).map(|row| row.member).collect();
    Ok(Census { living, dead, next_death, clock: now })
}

fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
