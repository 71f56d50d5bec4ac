use engine::db::Tx;
use engine::{Id, Result, Stamp, args};

use super::Cluster;
use super::api::{CreateCluster, UpdateCluster};

pub(super) const IN_ZONE: &str = "SELECT uuid, name, zone_uuid FROM cluster WHERE zone_uuid IN ($*)";
/// A cluster and what it lies in, for settings.
pub const LADDER: &str = "SELECT uuid FROM (SELECT uuid, 0 AS far FROM cluster WHERE uuid = $1 \
     UNION ALL SELECT zone_uuid, 1 FROM cluster WHERE uuid = $1) x ORDER BY far";
const INSERT: &str = "INSERT INTO cluster (uuid, name, description, state, hypervisor_type, zone_uuid, type, \
     architecture, create_date, last_op_date) VALUES ($1, $2, $3, 'Enabled', $4, $5, 'zstack', $6, $7, $7)";
const UPDATE: &str = "UPDATE cluster SET name = coalesce($2, name), description = coalesce($3, description), \
     last_op_date = $4 WHERE uuid = $1";
const STATE: &str = "UPDATE cluster SET state = $2, last_op_date = $3 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM cluster WHERE uuid = $1";

pub(super) async fn insert(tx: &mut Tx, uuid: Id<Cluster>, cluster: &CreateCluster) -> Result<()> {
    let (name, description) = (&cluster.name, cluster.description.as_deref());
    let (hypervisor, architecture) = (cluster.hypervisor_type.as_str(), cluster.architecture());
    let row = args![uuid, name, description, hypervisor, cluster.zone_uuid, architecture, Stamp::now()];
    tx.exec(INSERT, row).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, cluster: &UpdateCluster) -> Result<()> {
    let (name, description) = (cluster.name.as_deref(), cluster.description.as_deref());
    tx.exec(UPDATE, args![cluster.uuid, name, description, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<Cluster>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<Cluster>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}
