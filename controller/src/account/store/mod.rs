//! What is known of accounts and sessions; everything else of them stands beside.

pub(super) mod key;
pub(super) mod login;
pub(super) mod policy;
pub(super) mod quota;
pub(super) mod share;
pub(super) mod user;

use engine::db::Tx;
use engine::{Any, Id, Result, Stamp, args};

use super::Account;
use super::user::User;

const PASSWORD: &str = "SELECT uuid, password FROM account WHERE name = $1 AND state = 'Enabled'";
const PASSWORD_OF: &str = "SELECT password FROM account WHERE uuid = $1";
const INSERT: &str = "INSERT INTO account (uuid, name, description, type, password, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $6)";
const UPDATE: &str = "UPDATE account SET name = coalesce($2, name), description = coalesce($3, description), \
     password = coalesce($4, password), last_op_date = $5 WHERE uuid = $1";
const STATE: &str = "UPDATE account SET state = $2, last_op_date = $3 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM account WHERE uuid = $1";
const OPEN: &str = "INSERT INTO session (token, account_uuid, user_uuid, expired_date, create_date) \
     VALUES ($1, $2, $3, $4, $5)";
const COUNT: &str = "SELECT count(*) FROM session WHERE account_uuid = $1 AND expired_date > $2";
const SESSION: &str = "SELECT s.account_uuid, s.user_uuid, s.expired_date, s.create_date, a.type AS account_type \
     FROM session s JOIN account a ON a.uuid = s.account_uuid WHERE s.token = $1 AND a.state = 'Enabled'";
const PROLONG: &str = "UPDATE session SET expired_date = $2 WHERE token = $1";
const CLOSE: &str = "DELETE FROM session WHERE token = $1";
/// All but the one that asks for it.
const CLOSE_OF_ACCOUNT: &str = "DELETE FROM session WHERE account_uuid = $1 AND user_uuid IS NULL \
     AND token NOT IN (SELECT j.session FROM job j WHERE j.uuid = $2 AND j.session IS NOT NULL)";
const CLOSE_OF_USER: &str = "DELETE FROM session WHERE user_uuid = $1 \
     AND token NOT IN (SELECT j.session FROM job j WHERE j.uuid = $2 AND j.session IS NOT NULL)";
const CLOSE_ALL: &str = "DELETE FROM session WHERE account_uuid = $1";
const EXPIRE: &str = "DELETE FROM session WHERE expired_date < $1";

/// A session that is known.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Opened {
    pub account_uuid: Id<Account>,
    pub user_uuid: Option<Id<User>>,
    pub expired_date: Stamp,
    pub create_date: Stamp,
    pub account_type: String,
}

/// An account about to be made.
pub(super) struct NewAccount<'a> {
    pub uuid: Id<Account>,
    pub name: &'a str,
    pub description: Option<&'a str>,
    pub kind: &'a str,
    pub hash: &'a str,
}

pub(super) async fn password(tx: &mut Tx, name: &str) -> Result<Option<(Id<Account>, String)>> {
    tx.opt(PASSWORD, args![name]).await
}

pub(super) async fn password_of(tx: &mut Tx, account: Id<Account>) -> Result<Option<String>> {
    Ok(tx.opt::<(String,)>(PASSWORD_OF, args![account]).await?.map(|(hash,)| hash))
}

pub(super) async fn insert(tx: &mut Tx, new: NewAccount<'_>) -> Result<()> {
    tx.exec(INSERT, args![new.uuid, new.name, new.description, new.kind, new.hash, Stamp::now()]).await?;
    quota::enter_defaults(tx, new.uuid).await
}

pub(super) async fn update(
    tx: &mut Tx,
    account: Id<Account>,
    name: Option<&str>,
    description: Option<&str>,
    hash: Option<&str>,
) -> Result<()> {
    tx.exec(UPDATE, args![account, name, description, hash, Stamp::now()]).await?;
    Ok(())
}

/// What it owns can be made or changed no more, but for what is under way.
pub(super) async fn close_account(tx: &mut Tx, account: Id<Account>) -> Result<()> {
    tx.exec(STATE, args![account, "Deleting", Stamp::now()]).await?;
    tx.exec(CLOSE_ALL, args![account]).await?;
    Ok(())
}

pub(super) async fn reopen_account(tx: &mut Tx, account: Id<Account>) -> Result<()> {
    tx.exec(STATE, args![account, "Enabled", Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, account: Id<Account>) -> Result<()> {
    tx.exec(DELETE, args![account]).await?;
    Ok(())
}

pub(super) async fn open(
    tx: &mut Tx,
    token: &str,
    account: Id<Account>,
    user: Option<Id<User>>,
    until: Stamp,
) -> Result<()> {
    tx.exec(OPEN, args![token, account, user, until, Stamp::now()]).await?;
    Ok(())
}

/// How many sessions the account has.
pub(super) async fn count(tx: &mut Tx, account: Id<Account>) -> Result<i64> {
    tx.number(COUNT, args![account, Stamp::now()]).await
}

pub(super) async fn session(tx: &mut Tx, token: &str) -> Result<Option<Opened>> {
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

/// Ends the account's own sessions, but for the one that `job` comes from.
pub(super) async fn close_others(tx: &mut Tx, account: Id<Account>, job: Id<Any>) -> Result<()> {
    tx.exec(CLOSE_OF_ACCOUNT, args![account, job]).await?;
    Ok(())
}

pub(super) async fn close_others_of_user(tx: &mut Tx, user: Id<User>, job: Id<Any>) -> Result<()> {
    tx.exec(CLOSE_OF_USER, args![user, job]).await?;
    Ok(())
}

pub(super) async fn expire(tx: &mut Tx, now: Stamp) -> Result<()> {
    tx.exec(EXPIRE, args![now]).await?;
    login::expire(tx, now).await
}
