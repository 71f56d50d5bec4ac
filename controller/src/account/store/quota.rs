use engine::db::Tx;
use engine::{Id, Result, Stamp, args};

use crate::account::Account;
use crate::account::quota::Quota;

const SET: &str = "INSERT INTO quota (uuid, name, identity_uuid, identity_type, value, create_date, last_op_date) \
     VALUES ($1, $2, $3, 'AccountVO', $4, $5, $5) ON CONFLICT (identity_uuid, name) \
     DO UPDATE SET value = excluded.value, last_op_date = excluded.last_op_date";
const ENTER: &str = "INSERT INTO quota (uuid, name, identity_uuid, identity_type, value, create_date, \
     last_op_date) VALUES ($1, $2, $3, 'AccountVO', $4, $5, $5) ON CONFLICT (identity_uuid, name) DO NOTHING";
const ACCOUNTS: &str = "SELECT uuid FROM account";

pub(in crate::account) fn quota_id(account: Id<Account>, name: &str) -> Id<Quota> {
    Id::derived(&["quota", &account.to_string(), name])
}

pub(in crate::account) async fn set(tx: &mut Tx, account: Id<Account>, name: &str, value: i64) -> Result<()> {
    tx.exec(SET, args![quota_id(account, name), name, account, value, Stamp::now()]).await?;
    Ok(())
}

/// The quotas that the account has not got yet, so that lists show them all.
pub(in crate::account) async fn enter_defaults(tx: &mut Tx, account: Id<Account>) -> Result<()> {
    let engine = tx.engine();
    for quota in engine.quotas() {
        let id = quota_id(account, quota.name);
        tx.exec(ENTER, args![id, quota.name, account, quota.default, Stamp::now()]).await?;
    }
    Ok(())
}

pub(in crate::account) async fn accounts(tx: &mut Tx) -> Result<Vec<(Id<Account>,)>> {
    tx.all(ACCOUNTS, args![]).await
}
