use engine::db::{Tx, Value};
use engine::{Any, Id, Result, Stamp, args};

use super::Directory;
use super::api::CreateDirectory;

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM directory x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
pub(super) const IN_ZONE: &str = "SELECT uuid, name, zone_uuid FROM directory WHERE zone_uuid IN ($*)";
const INSERT: &str = "INSERT INTO directory (uuid, name, parent_uuid, zone_uuid, type, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $6)";
const TAKEN: &str = "SELECT count(*) FROM directory d JOIN account_resource_ref r ON r.resource_uuid = d.uuid \
     WHERE d.name = $1 AND coalesce(d.parent_uuid, '') = coalesce(CAST($2 AS TEXT), '') AND d.zone_uuid = $3 \
     AND d.type = $4 AND r.account_uuid = $5 AND d.uuid <> $6";
const RENAME: &str = "UPDATE directory SET name = $2, last_op_date = $3 WHERE uuid = $1";
const MOVE: &str = "UPDATE directory SET parent_uuid = $2, last_op_date = $3 WHERE uuid = $1";
const DEPTH: &str = "WITH RECURSIVE below (uuid, depth) AS (SELECT uuid, CAST(1 AS BIGINT) FROM directory \
     WHERE uuid = $1 UNION ALL SELECT d.uuid, b.depth + 1 FROM directory d JOIN below b ON b.uuid = d.parent_uuid) \
     SELECT coalesce(max(depth), 0) FROM below";
const HEIGHT: &str = "WITH RECURSIVE above (uuid, parent, height) AS (SELECT uuid, parent_uuid, CAST(1 AS BIGINT) \
     FROM directory WHERE uuid = $1 UNION ALL SELECT d.uuid, d.parent_uuid, a.height + 1 FROM directory d \
     JOIN above a ON a.parent = d.uuid) SELECT coalesce(max(height), 0) FROM above";
const IS_BELOW: &str = "WITH RECURSIVE above (uuid, parent) AS (SELECT uuid, parent_uuid FROM directory \
     WHERE uuid = $1 UNION ALL SELECT d.uuid, d.parent_uuid FROM directory d JOIN above a ON a.parent = d.uuid) \
     SELECT count(*) FROM above WHERE uuid = $2";
const DELETE: &str = "DELETE FROM directory WHERE uuid IN (WITH RECURSIVE below (uuid) AS (SELECT uuid \
     FROM directory WHERE uuid = $1 UNION ALL SELECT d.uuid FROM directory d \
     JOIN below b ON b.uuid = d.parent_uuid) SELECT uuid FROM below)";
const HELD: &str = "SELECT directory_uuid, resource_uuid FROM directory_resource WHERE directory_uuid IN ($*) \
     ORDER BY resource_uuid";
const HOLDER: &str = "SELECT d.uuid, d.name FROM directory d \
     JOIN directory_resource r ON r.directory_uuid = d.uuid WHERE r.resource_uuid = $1";
const PUT: &str = "INSERT INTO directory_resource (resource_uuid, directory_uuid) VALUES ($1, $2) \
     ON CONFLICT (resource_uuid) DO UPDATE SET directory_uuid = excluded.directory_uuid";
const TAKE: &str = "DELETE FROM directory_resource WHERE resource_uuid = $1 AND directory_uuid = $2";

/// Where a name may stand once.
pub(super) struct Spot<'a> {
    pub name: &'a str,
    pub parent: Option<Id<Directory>>,
    pub zone: Id<Any>,
    pub kind: &'a str,
    pub account: Id<Any>,
}

pub(super) async fn insert(
    tx: &mut Tx,
    uuid: Id<Directory>,
    new: &CreateDirectory,
    kind: &str,
) -> Result<()> {
    let row = args![uuid, &new.name, new.parent_uuid, new.zone_uuid, kind, Stamp::now()];
    tx.exec(INSERT, row).await.map(|_| ())
}

/// Whether another directory than `uuid` has the name there.
pub(super) async fn is_taken(tx: &mut Tx, spot: &Spot<'_>, uuid: Id<Directory>) -> Result<bool> {
    let row = args![spot.name, spot.parent, spot.zone, spot.kind, spot.account, uuid];
    Ok(tx.number(TAKEN, row).await? > 0)
}

pub(super) async fn rename(tx: &mut Tx, uuid: Id<Directory>, name: &str) -> Result<()> {
    tx.exec(RENAME, args![uuid, name, Stamp::now()]).await.map(|_| ())
}

pub(super) async fn shift(tx: &mut Tx, uuid: Id<Directory>, parent: Id<Directory>) -> Result<()> {
    tx.exec(MOVE, args![uuid, parent, Stamp::now()]).await.map(|_| ())
}

/// How many directories follow each other from this one down.
pub(super) async fn depth(tx: &mut Tx, uuid: Id<Directory>) -> Result<i64> {
    tx.number(DEPTH, args![uuid]).await
}

/// How many follow each other from the top to this one; 0 for none.
pub(super) async fn height(tx: &mut Tx, uuid: Option<Id<Directory>>) -> Result<i64> {
    tx.number(HEIGHT, args![uuid]).await
}

/// Whether `uuid` is `top` or lies below it.
pub(super) async fn is_below(tx: &mut Tx, uuid: Id<Directory>, top: Id<Directory>) -> Result<bool> {
    Ok(tx.number(IS_BELOW, args![uuid, top]).await? > 0)
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<Directory>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await.map(|_| ())
}

pub(super) async fn held(tx: &mut Tx, directories: Vec<Value>) -> Result<Vec<(String, Id<Any>)>> {
    tx.all_of(HELD, directories).await
}

/// Where the resource is.
pub(super) async fn holder(tx: &mut Tx, resource: Id<Any>) -> Result<Option<(Id<Directory>, String)>> {
    tx.opt(HOLDER, args![resource]).await
}

pub(super) async fn put(tx: &mut Tx, resource: Id<Any>, directory: Id<Directory>) -> Result<()> {
    tx.exec(PUT, args![resource, directory]).await.map(|_| ())
}

/// False when it was not there.
pub(super) async fn take(tx: &mut Tx, resource: Id<Any>, directory: Id<Directory>) -> Result<bool> {
    Ok(tx.exec(TAKE, args![resource, directory]).await? == 1)
}
