use engine::db::Tx;
use engine::{Id, Result, Stamp, args};

use crate::account::Account;
use crate::account::access_key::AccessKey;
use crate::account::user::User;

const INSERT: &str = "INSERT INTO access_key (uuid, account_uuid, user_uuid, description, access_key_id, secret, \
     state, create_date, last_op_date) VALUES ($1, $2, $3, $4, $5, $6, 'Enabled', $7, $7)";
const STATE: &str = "UPDATE access_key SET state = $2, last_op_date = $3 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM access_key WHERE uuid = $1";
const OF: &str = "SELECT k.uuid, k.account_uuid, k.user_uuid, k.secret, a.type AS account_type FROM access_key k \
     JOIN account a ON a.uuid = k.account_uuid WHERE k.access_key_id = $1 AND k.state = 'Enabled' \
     AND a.state = 'Enabled'";

/// A key about to be made.
pub(in crate::account) struct NewKey {
    pub uuid: Id<AccessKey>,
    pub account: Id<Account>,
    pub user: Option<Id<User>>,
    pub description: Option<String>,
    pub id: String,
    pub secret: String,
}

/// A key as the check of a signature needs it.
#[derive(Clone, Debug, engine::db::Row)]
pub(in crate::account) struct Key {
    pub uuid: Id<AccessKey>,
    pub account_uuid: Id<Account>,
    pub user_uuid: Option<Id<User>>,
    pub secret: String,
    pub account_type: String,
}

pub(in crate::account) async fn insert(tx: &mut Tx, new: NewKey) -> Result<()> {
    let mut row = args![new.uuid, new.account, new.user, new.description, new.id, new.secret];
    row.push(Stamp::now().into());
    tx.exec(INSERT, row).await?;
    Ok(())
}

pub(in crate::account) async fn set_state(tx: &mut Tx, key: Id<AccessKey>, state: &str) -> Result<()> {
    tx.exec(STATE, args![key, state, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn delete(tx: &mut Tx, key: Id<AccessKey>) -> Result<()> {
    tx.exec(DELETE, args![key]).await?;
    Ok(())
}

/// The usable key of this name.
pub(in crate::account) async fn of(tx: &mut Tx, id: &str) -> Result<Option<Key>> {
    tx.opt(OF, args![id]).await
}
