use engine::db::{Tx, Value};
use engine::{Id, Result, Stamp, args};

use super::Certificate;
use super::api::{CreateCertificate, UpdateCertificate};

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM certificate x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
pub(super) const DELETE: &str = "DELETE FROM certificate WHERE uuid = $1";
const PEMS: &str = "SELECT uuid, certificate FROM certificate WHERE uuid IN ($*)";
const INSERT: &str = "INSERT INTO certificate (uuid, name, description, certificate, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $5)";
const UPDATE: &str = "UPDATE certificate SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";

pub(super) async fn insert(tx: &mut Tx, uuid: Id<Certificate>, new: &CreateCertificate) -> Result<()> {
    let (name, description) = (&new.name, new.description.as_deref());
    tx.exec(INSERT, args![uuid, name, description, new.certificate.trim(), Stamp::now()]).await.map(|_| ())
}

pub(super) async fn update(tx: &mut Tx, changed: &UpdateCertificate) -> Result<()> {
    let (name, description) = (changed.name.as_deref(), changed.description.as_deref());
    tx.exec(UPDATE, args![changed.uuid, name, description, Stamp::now()]).await.map(|_| ())
}

/// With the private keys.
pub(super) async fn pems(tx: &mut Tx, uuids: Vec<Value>) -> Result<Vec<(String, String)>> {
    tx.all_of(PEMS, uuids).await
}
