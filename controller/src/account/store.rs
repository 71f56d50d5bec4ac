use engine::db::Tx;
use engine::{Id, Result, Stamp, args};

use super::Account;

const PASSWORD: &str = "SELECT uuid, password FROM account WHERE name = $1";
const INSERT: &str = "INSERT INTO account (uuid, name, type, password, create_date, last_op_date) \
     VALUES ($1, 'admin', 'SystemAdmin', $2, $3, $3) ON CONFLICT (uuid) DO NOTHING";
const OPEN: &str =
    "INSERT INTO session (token, account_uuid, expired_date, create_date) VALUES ($1, $2, $3, $4)";
const SESSION: &str = "SELECT account_uuid, expired_date FROM session WHERE token = $1";
const PROLONG: &str = "UPDATE session SET expired_date = $2 WHERE token = $1";
const CLOSE: &str = "DELETE FROM session WHERE token = $1";
const EXPIRE: &str = "DELETE FROM session WHERE expired_date < $1";

pub(super) async fn password(tx: &mut Tx, name: &str) -> Result<Option<(Id<Account>, String)>> {
    tx.opt(PASSWORD, args![name]).await
}

pub(super) async fn insert_admin(tx: &mut Tx, uuid: Id<Account>, hash: &str) -> Result<()> {
    tx.exec(INSERT, args![uuid, hash, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn open(tx: &mut Tx, token: &str, account: Id<Account>, until: Stamp) -> Result<()> {
    tx.exec(OPEN, args![token, account, until, Stamp::now()]).await?;
    Ok(())
}

/// The session's account and its end.
pub(super) async fn session(tx: &mut Tx, token: &str) -> Result<Option<(Id<Account>, Stamp)>> {
    tx.opt(SESSION, args![token]).await
}

pub(super) async fn prolong(tx: &mut Tx, token: &str, until: Stamp) -> Result<()> {
    tx.exec(PROLONG, args![token, until]).await?;
    Ok(())
}

pub(super) async fn close(tx: &mut Tx, token: &str) -> Result<()> {
    tx.exec(CLOSE, args![token]).await?;
    Ok(())
}

pub(super) async fn expire(tx: &mut Tx, now: Stamp) -> Result<()> {
    tx.exec(EXPIRE, args![now]).await?;
    Ok(())
}
