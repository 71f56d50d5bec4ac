use engine::db::Tx;
use engine::{Any, Id, Result, Stamp, args};

use crate::account::Account;
use crate::account::share::AccountResourceRefInventory;

const OF: &str = "SELECT account_uuid, resource_uuid, resource_type, master_uuid, create_date, last_op_date \
     FROM account_resource_ref WHERE resource_uuid = $1";
const SHARE: &str = "INSERT INTO shared_resource (uuid, resource_uuid, resource_type, owner_account_uuid, \
     receiver_account_uuid, to_public, create_date, last_op_date) \
     SELECT $2, r.resource_uuid, r.resource_type, r.account_uuid, $3, $4, $5, $5 FROM account_resource_ref r \
     WHERE r.resource_uuid = $1 ON CONFLICT (uuid) DO UPDATE SET last_op_date = excluded.last_op_date";
const REVOKE: &str = "DELETE FROM shared_resource WHERE uuid = $1";
const REVOKE_ALL: &str = "DELETE FROM shared_resource WHERE resource_uuid = $1";
const MASTER: &str = "SELECT master_uuid FROM account_resource_ref WHERE resource_uuid = $1 \
     AND master_uuid IS NOT NULL";
const GIVE: &str = "UPDATE account_resource_ref SET account_uuid = $2, last_op_date = $3 \
     WHERE resource_uuid = $1 OR master_uuid = $1";
const GIVE_SHARES: &str = "UPDATE shared_resource SET owner_account_uuid = $2, last_op_date = $3 \
     WHERE resource_uuid = $1";

pub(in crate::account) async fn of(
    tx: &mut Tx,
    resource: Id<Any>,
) -> Result<Vec<AccountResourceRefInventory>> {
    tx.all(OF, args![resource]).await
}

/// A share is named by what is shared with whom: twice is once.
fn share_id(resource: Id<Any>, receiver: Option<Id<Account>>) -> Id<Any> {
    let receiver = receiver.map_or_else(String::new, |account| account.to_string());
    Id::derived(&["share", &resource.to_string(), &receiver])
}

/// With everybody when no receiver is named; false when nobody owns the resource.
pub(in crate::account) async fn share(
    tx: &mut Tx,
    resource: Id<Any>,
    receiver: Option<Id<Account>>,
) -> Result<bool> {
    let row = args![resource, share_id(resource, receiver), receiver, receiver.is_none(), Stamp::now()];
    Ok(tx.exec(SHARE, row).await? == 1)
}

pub(in crate::account) async fn revoke(
    tx: &mut Tx,
    resource: Id<Any>,
    receiver: Option<Id<Account>>,
) -> Result<()> {
    tx.exec(REVOKE, args![share_id(resource, receiver)]).await?;
    Ok(())
}

pub(in crate::account) async fn revoke_all(tx: &mut Tx, resource: Id<Any>) -> Result<()> {
    tx.exec(REVOKE_ALL, args![resource]).await?;
    Ok(())
}

/// What the resource belongs to.
pub(in crate::account) async fn master(tx: &mut Tx, resource: Id<Any>) -> Result<Option<Id<Any>>> {
    Ok(tx.opt::<(Id<Any>,)>(MASTER, args![resource]).await?.map(|(master,)| master))
}

/// False when nobody owned it.
pub(in crate::account) async fn give(tx: &mut Tx, resource: Id<Any>, to: Id<Account>) -> Result<bool> {
    let given = tx.exec(GIVE, args![resource, to, Stamp::now()]).await? > 0;
    tx.exec(GIVE_SHARES, args![resource, to, Stamp::now()]).await?;
    Ok(given)
}
