use engine::db::{Tx, Value};
use engine::{Id, Result, Stamp, args};
use wire::calls::network::VtepFound;

use super::range::CreateVniRange;
use super::{L2VxlanNetworkInventory, VniRange, VniRangeInventory, Vtep, VtepInventory};
use crate::cluster::Cluster;
use crate::host::{Host, HostInventory};
use crate::l2::{L2Network, L2NetworkInventory};

const RANGES: &str = "SELECT * FROM vni_range WHERE l2_network_uuid IN ($*) ORDER BY start_vni";
const NETWORKS: &str = "SELECT * FROM l2_vxlan_network WHERE pool_uuid IN ($*) ORDER BY vni";
const VTEPS: &str = "SELECT * FROM vtep WHERE pool_uuid IN ($*) ORDER BY vtep_ip";
const CIDRS: &str = "SELECT l2_network_uuid AS pool, cluster_uuid AS cluster, cidr FROM l2_network_cluster \
     WHERE cidr IS NOT NULL AND l2_network_uuid IN ($*)";
const CARRIED: &str = "SELECT l.* FROM l2_network l JOIN vxlan_network x ON x.uuid = l.uuid \
     WHERE x.pool_uuid = $1 ORDER BY x.vni";
const POOL_OF: &str = "SELECT pool_uuid FROM vxlan_network WHERE uuid = $1";
const CIDR: &str = "SELECT cidr FROM l2_network_cluster WHERE l2_network_uuid = $1 AND cluster_uuid = $2";
const VTEP: &str = "SELECT vtep_ip, leaving FROM vtep WHERE pool_uuid = $1 AND host_uuid = $2";
const ENTER_VTEP: &str = "INSERT INTO vtep (uuid, pool_uuid, host_uuid, vtep_ip, port, type, \
     physical_interface, create_date, last_op_date) VALUES ($1, $2, $3, $4, 8472, 'LinuxBridge', $5, $6, $6) \
     ON CONFLICT (pool_uuid, host_uuid) DO UPDATE SET vtep_ip = $4, physical_interface = $5, leaving = FALSE, \
     last_op_date = $6";
const MARK_VTEP: &str = "UPDATE vtep SET leaving = TRUE WHERE pool_uuid = $1 AND host_uuid = $2";
const LEAVE_VTEP: &str = "DELETE FROM vtep WHERE pool_uuid = $1 AND host_uuid = $2";
const PEERS: &str = "SELECT DISTINCT vtep_ip FROM vtep WHERE pool_uuid = $1 AND host_uuid <> $2 AND NOT leaving \
     ORDER BY vtep_ip";
const HOSTS_WITH_ENDS: &str = "SELECT h.* FROM host_view h JOIN vtep v ON v.host_uuid = h.uuid \
     WHERE v.pool_uuid = $1 ORDER BY h.uuid";
const INSERT_RANGE: &str = "INSERT INTO vni_range (uuid, name, description, start_vni, end_vni, \
     l2_network_uuid, create_date, last_op_date) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)";
const OVERLAPPING: &str = "SELECT name, start_vni, end_vni FROM vni_range \
     WHERE l2_network_uuid = $1 AND start_vni <= $3 AND end_vni >= $2 LIMIT 1";
const RENAME_RANGE: &str = "UPDATE vni_range SET name = $2, last_op_date = $3 WHERE uuid = $1";
const DELETE_RANGE: &str = "DELETE FROM vni_range WHERE uuid = $1";
const CLAIM: &str = "INSERT INTO vxlan_network (uuid, pool_uuid, vni) SELECT $1, $2, $3 \
     WHERE EXISTS (SELECT 1 FROM vni_range r \
     WHERE r.l2_network_uuid = $2 AND $3 BETWEEN r.start_vni AND r.end_vni) \
     ON CONFLICT (pool_uuid, vni) DO NOTHING";
/// The first of a range, or the next after one that is taken.
const FREE: &str = "SELECT min(c.vni) FROM (SELECT start_vni AS vni FROM vni_range WHERE l2_network_uuid = $1 \
     UNION SELECT vni + 1 FROM vxlan_network WHERE pool_uuid = $1) c \
     WHERE EXISTS (SELECT 1 FROM vni_range r \
     WHERE r.l2_network_uuid = $1 AND c.vni BETWEEN r.start_vni AND r.end_vni) \
     AND NOT EXISTS (SELECT 1 FROM vxlan_network x WHERE x.pool_uuid = $1 AND x.vni = c.vni)";
const CLUSTERS: &str = "SELECT cluster_uuid FROM l2_network_cluster \
     WHERE l2_network_uuid = $1 AND state <> 'Detaching' ORDER BY cluster_uuid";

/// The IP network of a pool's tunnels in a cluster.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Cidr {
    pub pool: Id<L2Network>,
    pub cluster: Id<Cluster>,
    pub cidr: String,
}

pub(super) async fn ranges(tx: &mut Tx, pools: Vec<Value>) -> Result<Vec<VniRangeInventory>> {
    tx.all_of(RANGES, pools).await
}

pub(super) async fn networks(tx: &mut Tx, pools: Vec<Value>) -> Result<Vec<L2VxlanNetworkInventory>> {
    tx.all_of(NETWORKS, pools).await
}

pub(super) async fn vteps(tx: &mut Tx, pools: Vec<Value>) -> Result<Vec<VtepInventory>> {
    tx.all_of(VTEPS, pools).await
}

pub(super) async fn cidrs(tx: &mut Tx, pools: Vec<Value>) -> Result<Vec<Cidr>> {
    tx.all_of(CIDRS, pools).await
}

/// The networks of a pool.
pub(super) async fn carried(tx: &mut Tx, pool: Id<L2Network>) -> Result<Vec<L2NetworkInventory>> {
    tx.all(CARRIED, args![pool]).await
}

pub(super) async fn pool_of(tx: &mut Tx, network: Id<L2Network>) -> Result<Id<L2Network>> {
    let (pool,): (Id<L2Network>,) = tx.one(POOL_OF, args![network]).await?;
    Ok(pool)
}

pub(super) async fn cidr(tx: &mut Tx, pool: Id<L2Network>, cluster: Id<Cluster>) -> Result<Option<String>> {
    let found: Option<(Option<String>,)> = tx.opt(CIDR, args![pool, cluster]).await?;
    Ok(found.and_then(|row| row.0))
}

/// The clusters that the pool is in, or comes to.
pub(super) async fn clusters(tx: &mut Tx, pool: Id<L2Network>) -> Result<Vec<Id<Cluster>>> {
    let rows: Vec<(Id<Cluster>,)> = tx.all(CLUSTERS, args![pool]).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// The address of the host's end, and whether that is about to go.
pub(super) async fn vtep(tx: &mut Tx, pool: Id<L2Network>, host: Id<Host>) -> Result<Option<(String, bool)>> {
    tx.opt(VTEP, args![pool, host]).await
}

pub(super) async fn enter_vtep(
    tx: &mut Tx,
    (pool, host): (Id<L2Network>, Id<Host>),
    found: &VtepFound,
) -> Result<()> {
    let mut row = args![Id::<Vtep>::random(), pool, host, found.vtep_ip.as_str()];
    row.extend(args![found.physical_interface_name.as_str(), Stamp::now()]);
    tx.exec(ENTER_VTEP, row).await.map(|_| ())
}

/// From now on nobody hears of it anew.
pub(super) async fn mark_vtep(tx: &mut Tx, pool: Id<L2Network>, host: Id<Host>) -> Result<()> {
    tx.exec(MARK_VTEP, args![pool, host]).await.map(|_| ())
}

pub(super) async fn leave_vtep(tx: &mut Tx, pool: Id<L2Network>, host: Id<Host>) -> Result<()> {
    tx.exec(LEAVE_VTEP, args![pool, host]).await.map(|_| ())
}

/// The ends of the other hosts.
pub(super) async fn peers(tx: &mut Tx, pool: Id<L2Network>, host: Id<Host>) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = tx.all(PEERS, args![pool, host]).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub(super) async fn hosts_with_ends(tx: &mut Tx, pool: Id<L2Network>) -> Result<Vec<HostInventory>> {
    tx.all(HOSTS_WITH_ENDS, args![pool]).await
}

pub(super) async fn insert_range(tx: &mut Tx, uuid: Id<VniRange>, range: &CreateVniRange) -> Result<()> {
    let (name, description) = (range.name.as_str(), range.description.as_deref());
    let mut row = args![uuid, name, description, range.start_vni, range.end_vni, range.l2_network_uuid];
    row.extend(args![Stamp::now()]);
    tx.exec(INSERT_RANGE, row).await.map(|_| ())
}

/// A range of the pool that has some of these numbers.
pub(super) async fn overlapping(
    tx: &mut Tx,
    pool: Id<L2Network>,
    (start, end): (i64, i64),
) -> Result<Option<(String, i64, i64)>> {
    tx.opt(OVERLAPPING, args![pool, start, end]).await
}

pub(super) async fn rename_range(tx: &mut Tx, uuid: Id<VniRange>, name: &str) -> Result<()> {
    tx.exec(RENAME_RANGE, args![uuid, name, Stamp::now()]).await.map(|_| ())
}

pub(super) async fn delete_range(tx: &mut Tx, uuid: Id<VniRange>) -> Result<()> {
    tx.exec(DELETE_RANGE, args![uuid]).await.map(|_| ())
}

/// Whether the number was free, and one of the pool's.
pub(super) async fn claim(
    tx: &mut Tx,
    network: Id<L2Network>,
    pool: Id<L2Network>,
    vni: i64,
) -> Result<bool> {
    Ok(tx.exec(CLAIM, args![network, pool, vni]).await? == 1)
}

pub(super) async fn free(tx: &mut Tx, pool: Id<L2Network>) -> Result<Option<i64>> {
    let (free,): (Option<i64>,) = tx.one(FREE, args![pool]).await?;
    Ok(free)
}
