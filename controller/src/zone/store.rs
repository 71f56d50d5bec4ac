use engine::db::Tx;
use engine::{Id, Result, Stamp, args};

use super::Zone;
use super::api::{CreateZone, UpdateZone};

/// A zone, which lies in nothing, for settings.
pub const LADDER: &str = "SELECT uuid FROM zone WHERE uuid = $1";
const INSERT: &str = "INSERT INTO zone (uuid, name, description, state, type, is_default, create_date, \
     last_op_date) VALUES ($1, $2, $3, 'Enabled', 'zstack', $4, $5, $5)";
const NO_DEFAULT: &str = "UPDATE zone SET is_default = FALSE WHERE is_default";
const UPDATE: &str = "UPDATE zone SET name = coalesce($2, name), description = coalesce($3, description), \
     is_default = coalesce($4, is_default), last_op_date = $5 WHERE uuid = $1";
const STATE: &str = "UPDATE zone SET state = $2, last_op_date = $3 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM zone WHERE uuid = $1";

pub(super) async fn insert(tx: &mut Tx, uuid: Id<Zone>, zone: &CreateZone) -> Result<()> {
    let default = zone.is_default.unwrap_or(false);
    if default {
        tx.exec(NO_DEFAULT, args![]).await?;
    }
    tx.exec(INSERT, args![uuid, &zone.name, zone.description.as_deref(), default, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, zone: &UpdateZone) -> Result<()> {
    if zone.is_default == Some(true) {
        tx.exec(NO_DEFAULT, args![]).await?;
    }
    let (name, description) = (zone.name.as_deref(), zone.description.as_deref());
    tx.exec(UPDATE, args![zone.uuid, name, description, zone.is_default, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<Zone>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<Zone>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}
