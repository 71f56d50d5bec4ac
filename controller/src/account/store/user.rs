use engine::db::Tx;
use engine::{Id, Result, Stamp, args};

use crate::account::Account;
use crate::account::user::{User, UserGroup};

/// The account by its uuid or its name.
const PASSWORD: &str = "SELECT u.uuid, u.account_uuid, u.password FROM account_user u \
     JOIN account a ON a.uuid = u.account_uuid WHERE (a.uuid = $1 OR a.name = $1) AND u.name = $2 \
     AND a.state = 'Enabled'";
const PASSWORD_OF: &str = "SELECT password FROM account_user WHERE uuid = $1";
const INSERT: &str = "INSERT INTO account_user (uuid, account_uuid, name, description, password, create_date, \
     last_op_date) VALUES ($1, $2, $3, $4, $5, $6, $6)";
const UPDATE: &str = "UPDATE account_user SET name = coalesce($2, name), \
     description = coalesce($3, description), password = coalesce($4, password), last_op_date = $5 \
     WHERE uuid = $1";
const DELETE: &str = "DELETE FROM account_user WHERE uuid = $1";
const INSERT_GROUP: &str = "INSERT INTO user_group (uuid, account_uuid, name, description, create_date, \
     last_op_date) VALUES ($1, $2, $3, $4, $5, $5)";
const UPDATE_GROUP: &str = "UPDATE user_group SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const DELETE_GROUP: &str = "DELETE FROM user_group WHERE uuid = $1";
const JOIN: &str = "INSERT INTO user_group_user (group_uuid, user_uuid) SELECT g.uuid, u.uuid FROM user_group g \
     JOIN account_user u ON u.account_uuid = g.account_uuid WHERE g.uuid = $1 AND u.uuid = $2 \
     ON CONFLICT (group_uuid, user_uuid) DO UPDATE SET user_uuid = excluded.user_uuid";
const LEAVE: &str = "DELETE FROM user_group_user WHERE group_uuid = $1 AND user_uuid = $2";

/// A user as a login needs it.
#[derive(Clone, Debug, engine::db::Row)]
pub(in crate::account) struct Secret {
    pub uuid: Id<User>,
    pub account_uuid: Id<Account>,
    pub password: String,
}

pub(in crate::account) async fn password(tx: &mut Tx, account: &str, name: &str) -> Result<Option<Secret>> {
    tx.opt(PASSWORD, args![account, name]).await
}

pub(in crate::account) async fn password_of(tx: &mut Tx, user: Id<User>) -> Result<Option<String>> {
    Ok(tx.opt::<(String,)>(PASSWORD_OF, args![user]).await?.map(|(hash,)| hash))
}

pub(in crate::account) async fn insert(
    tx: &mut Tx,
    user: Id<User>,
    account: Id<Account>,
    (name, description): (&str, Option<&str>),
    hash: &str,
) -> Result<()> {
    tx.exec(INSERT, args![user, account, name, description, hash, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn update(
    tx: &mut Tx,
    user: Id<User>,
    name: Option<&str>,
    description: Option<&str>,
    hash: Option<&str>,
) -> Result<()> {
    tx.exec(UPDATE, args![user, name, description, hash, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn delete(tx: &mut Tx, user: Id<User>) -> Result<()> {
    tx.exec(DELETE, args![user]).await?;
    Ok(())
}

pub(in crate::account) async fn insert_group(
    tx: &mut Tx,
    group: Id<UserGroup>,
    account: Id<Account>,
    name: &str,
    description: Option<&str>,
) -> Result<()> {
    tx.exec(INSERT_GROUP, args![group, account, name, description, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn update_group(
    tx: &mut Tx,
    group: Id<UserGroup>,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<()> {
    tx.exec(UPDATE_GROUP, args![group, name, description, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn delete_group(tx: &mut Tx, group: Id<UserGroup>) -> Result<()> {
    tx.exec(DELETE_GROUP, args![group]).await?;
    Ok(())
}

/// False when there is no such user and group of one account.
pub(in crate::account) async fn join(tx: &mut Tx, group: Id<UserGroup>, user: Id<User>) -> Result<bool> {
    Ok(tx.exec(JOIN, args![group, user]).await? == 1)
}

pub(in crate::account) async fn leave(tx: &mut Tx, group: Id<UserGroup>, user: Id<User>) -> Result<()> {
    tx.exec(LEAVE, args![group, user]).await?;
    Ok(())
}
