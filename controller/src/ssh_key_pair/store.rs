use engine::db::Tx;
use engine::{Id, Result, Stamp, args};

use super::SshKeyPair;
use super::api::{CreateSshKeyPair, UpdateSshKeyPair};

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM ssh_key_pair x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
pub(super) const DELETE: &str = "DELETE FROM ssh_key_pair WHERE uuid = $1";
const INSERT: &str = "INSERT INTO ssh_key_pair (uuid, name, description, public_key, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $5)";
const UPDATE: &str = "UPDATE ssh_key_pair SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";

pub(super) async fn insert(tx: &mut Tx, uuid: Id<SshKeyPair>, new: &CreateSshKeyPair) -> Result<()> {
    let (name, description) = (&new.name, new.description.as_deref());
    tx.exec(INSERT, args![uuid, name, description, new.public_key.trim(), Stamp::now()]).await.map(|_| ())
}

pub(super) async fn update(tx: &mut Tx, changed: &UpdateSshKeyPair) -> Result<()> {
    let (name, description) = (changed.name.as_deref(), changed.description.as_deref());
    tx.exec(UPDATE, args![changed.uuid, name, description, Stamp::now()]).await.map(|_| ())
}
