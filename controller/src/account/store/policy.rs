use engine::db::Tx;
use engine::{Any, Id, Result, Stamp, args, codes};
use serde_json::Value;

use crate::account::Account;
use crate::account::policy::{Holder, Policy};
use crate::account::role::Role;
use crate::account::user::User;

const INSERT: &str = "INSERT INTO policy (uuid, account_uuid, name, description, statements, create_date, \
     last_op_date) VALUES ($1, $2, $3, $4, $5, $6, $6)";
const DELETE: &str = "DELETE FROM policy WHERE uuid = $1";
const TO_USER: &str = "INSERT INTO policy_holder (policy_uuid, holder_uuid) SELECT p.uuid, h.uuid FROM policy p \
     JOIN account_user h ON h.account_uuid = p.account_uuid WHERE p.uuid = $1 AND h.uuid = $2 \
     ON CONFLICT (policy_uuid, holder_uuid) DO UPDATE SET holder_uuid = excluded.holder_uuid";
const TO_GROUP: &str = "INSERT INTO policy_holder (policy_uuid, holder_uuid) SELECT p.uuid, h.uuid FROM policy p \
     JOIN user_group h ON h.account_uuid = p.account_uuid WHERE p.uuid = $1 AND h.uuid = $2 \
     ON CONFLICT (policy_uuid, holder_uuid) DO UPDATE SET holder_uuid = excluded.holder_uuid";
const TO_ROLE: &str = "INSERT INTO policy_holder (policy_uuid, holder_uuid) SELECT p.uuid, h.uuid FROM policy p \
     CROSS JOIN role h WHERE p.uuid = $1 AND h.uuid = $2 \
     ON CONFLICT (policy_uuid, holder_uuid) DO UPDATE SET holder_uuid = excluded.holder_uuid";
const DETACH: &str = "DELETE FROM policy_holder WHERE policy_uuid = $1 AND holder_uuid = $2";
const OF_USER: &str = "SELECT p.statements FROM policy p JOIN policy_holder h ON h.policy_uuid = p.uuid \
     WHERE h.holder_uuid = $1 OR h.holder_uuid IN (SELECT group_uuid FROM user_group_user WHERE user_uuid = $1)";
const OF_ACCOUNT: &str = "SELECT s.statement AS statements FROM role_statement s \
     JOIN role r ON r.uuid = s.role_uuid JOIN account_role a ON a.role_uuid = r.uuid \
     WHERE a.account_uuid = $1 AND r.state = 'Enabled' \
     UNION ALL SELECT p.statements FROM policy p JOIN policy_holder h ON h.policy_uuid = p.uuid \
     JOIN role r ON r.uuid = h.holder_uuid JOIN account_role a ON a.role_uuid = r.uuid \
     WHERE a.account_uuid = $1 AND r.state = 'Enabled'";
const INSERT_ROLE: &str = "INSERT INTO role (uuid, account_uuid, name, description, identity, type, state, \
     create_date, last_op_date) VALUES ($1, $2, $3, $4, $5, 'Customized', 'Enabled', $6, $6)";
const UPDATE_ROLE: &str = "UPDATE role SET name = coalesce($2, name), description = coalesce($3, description), \
     last_op_date = $4 WHERE uuid = $1";
const ROLE_STATE: &str = "UPDATE role SET state = $2, last_op_date = $3 WHERE uuid = $1";
const DELETE_ROLE: &str = "DELETE FROM role WHERE uuid = $1";
const ADD_STATEMENT: &str = "INSERT INTO role_statement (uuid, role_uuid, statement, create_date) \
     VALUES ($1, $2, $3, $4)";
const REMOVE_STATEMENT: &str = "DELETE FROM role_statement WHERE role_uuid = $1 AND uuid = $2";
const CLEAR_STATEMENTS: &str = "DELETE FROM role_statement WHERE role_uuid = $1";
const CLEAR_POLICIES: &str = "DELETE FROM policy_holder WHERE holder_uuid = $1";
const STATEMENTS: &str = "SELECT role_uuid, uuid, statement FROM role_statement WHERE role_uuid IN ($*) \
     ORDER BY create_date, uuid";
const GIVE: &str = "INSERT INTO account_role (role_uuid, account_uuid) VALUES ($1, $2) \
     ON CONFLICT (role_uuid, account_uuid) DO NOTHING";
const TAKE: &str = "DELETE FROM account_role WHERE role_uuid = $1 AND account_uuid = $2";

pub(in crate::account) async fn insert(
    tx: &mut Tx,
    policy: Id<Policy>,
    account: Id<Account>,
    (name, description): (&str, Option<&str>),
    statements: &Value,
) -> Result<()> {
    tx.exec(INSERT, args![policy, account, name, description, statements, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn delete(tx: &mut Tx, policy: Id<Policy>) -> Result<()> {
    tx.exec(DELETE, args![policy]).await?;
    Ok(())
}

pub(in crate::account) async fn attach(tx: &mut Tx, policy: Id<Policy>, holder: Holder) -> Result<()> {
    let (sql, holder, kind) = match holder {
        Holder::User(user) => (TO_USER, user.cast::<Any>(), "user"),
        Holder::Group(group) => (TO_GROUP, group.cast(), "group"),
        Holder::Role(role) => (TO_ROLE, role.cast(), "role"),
    };
    match tx.exec(sql, args![policy, holder]).await? {
        1 => Ok(()),
        _ => Err(codes::NOT_FOUND
            .because(format!("there is no policy {policy} and {kind} {holder} of one account"))),
    }
}

pub(in crate::account) async fn detach(tx: &mut Tx, policy: Id<Policy>, holder: Holder) -> Result<()> {
    let holder: Id<Any> = match holder {
        Holder::User(user) => user.cast(),
        Holder::Group(group) => group.cast(),
        Holder::Role(role) => role.cast(),
    };
    tx.exec(DETACH, args![policy, holder]).await?;
    Ok(())
}

/// The statements of the user's policies, and of its groups'.
pub(in crate::account) async fn of_user(tx: &mut Tx, user: Id<User>) -> Result<Vec<String>> {
    Ok(tx.all::<(String,)>(OF_USER, args![user]).await?.into_iter().map(|(text,)| text).collect())
}

/// The statements of the account's roles.
pub(in crate::account) async fn of_account(tx: &mut Tx, account: Id<Account>) -> Result<Vec<String>> {
    Ok(tx.all::<(String,)>(OF_ACCOUNT, args![account]).await?.into_iter().map(|(text,)| text).collect())
}

pub(in crate::account) async fn insert_role(
    tx: &mut Tx,
    role: Id<Role>,
    account: Id<Any>,
    (name, description, identity): (&str, Option<&str>, Option<&str>),
) -> Result<()> {
    tx.exec(INSERT_ROLE, args![role, account, name, description, identity, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn update_role(
    tx: &mut Tx,
    role: Id<Role>,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<()> {
    tx.exec(UPDATE_ROLE, args![role, name, description, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn set_role_state(tx: &mut Tx, role: Id<Role>, state: &str) -> Result<()> {
    tx.exec(ROLE_STATE, args![role, state, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn delete_role(tx: &mut Tx, role: Id<Role>) -> Result<()> {
    tx.exec(DELETE_ROLE, args![role]).await?;
    Ok(())
}

pub(in crate::account) async fn add_statement(tx: &mut Tx, role: Id<Role>, statement: &Value) -> Result<()> {
    tx.exec(ADD_STATEMENT, args![Id::<Any>::random(), role, statement, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn remove_statement(tx: &mut Tx, role: Id<Role>, uuid: &str) -> Result<()> {
    tx.exec(REMOVE_STATEMENT, args![role, uuid]).await?;
    Ok(())
}

/// Takes the statements, or the policies, of a role away.
pub(in crate::account) async fn clear(tx: &mut Tx, role: Id<Role>, statements: bool) -> Result<()> {
    let sql = if statements { CLEAR_STATEMENTS } else { CLEAR_POLICIES };
    tx.exec(sql, args![role]).await?;
    Ok(())
}

/// Role, uuid and text of each.
pub(in crate::account) async fn statements(
    tx: &mut Tx,
    roles: Vec<engine::db::Value>,
) -> Result<Vec<(String, String, String)>> {
    tx.all_of(STATEMENTS, roles).await
}

pub(in crate::account) async fn give(tx: &mut Tx, role: Id<Role>, account: Id<Account>) -> Result<()> {
    tx.exec(GIVE, args![role, account]).await?;
    Ok(())
}

pub(in crate::account) async fn take(tx: &mut Tx, role: Id<Role>, account: Id<Account>) -> Result<()> {
    tx.exec(TAKE, args![role, account]).await?;
    Ok(())
}
