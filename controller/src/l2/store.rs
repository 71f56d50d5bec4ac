use engine::db::{Tx, Value};
use engine::inventory::find;
use engine::{Id, Result, Stamp, args, codes};

use super::api::UpdateL2Network;
use super::{L2_NETWORKS, L2Network, L2NetworkInventory};
use crate::cluster::{Cluster, ClusterInventory};
use crate::host::HostInventory;
use crate::zone::{Zone, ZoneInventory};

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM l2_network x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
pub(super) const IN_ZONE: &str = "SELECT uuid, name, zone_uuid FROM l2_network WHERE zone_uuid IN ($*)";
const INSERT: &str = "INSERT INTO l2_network (uuid, name, description, zone_uuid, physical_interface, type, \
     v_switch_type, virtual_network_id, isolated, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, 'LinuxBridge', $8, FALSE, $7, $7)";
const UPDATE: &str = "UPDATE l2_network SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const MARK: &str = "UPDATE l2_network SET deleting = $2 WHERE uuid = $1";
const MARKED: &str = "SELECT count(*) FROM l2_network WHERE uuid = $1 AND deleting";
const DELETE: &str = "DELETE FROM l2_network WHERE uuid = $1";
const ENTER: &str = "INSERT INTO l2_network_cluster (l2_network_uuid, cluster_uuid, state, uuid, cidr) \
     VALUES ($1, $2, 'Attaching', $3, $4) ON CONFLICT (l2_network_uuid, cluster_uuid) DO NOTHING";
const LEAVE: &str = "DELETE FROM l2_network_cluster WHERE l2_network_uuid = $1 AND cluster_uuid = $2";
const CHANGE: &str = "UPDATE l2_network_cluster SET state = $4 \
     WHERE l2_network_uuid = $1 AND cluster_uuid = $2 AND state = $3";
const ATTACHMENT: &str = "SELECT uuid, l2_network_uuid AS l2, cluster_uuid AS cluster \
     FROM l2_network_cluster WHERE uuid = $1";
const ATTACHMENT_OF: &str = "SELECT uuid, l2_network_uuid AS l2, cluster_uuid AS cluster \
     FROM l2_network_cluster WHERE l2_network_uuid = $1 AND cluster_uuid = $2";
const CLUSTERS: &str = "SELECT l2_network_uuid, cluster_uuid FROM l2_network_cluster \
     WHERE state = 'Attached' AND l2_network_uuid IN ($*)";
const CLUSTERS_OF: &str =
    "SELECT cluster_uuid FROM l2_network_cluster WHERE state = 'Attached' AND l2_network_uuid = $1";
const IN_CLUSTER: &str = "SELECT l.* FROM l2_network l \
     JOIN l2_network_cluster c ON c.l2_network_uuid = l.uuid WHERE c.cluster_uuid = $1";
const WANTED_IN_CLUSTER: &str = "SELECT l.* FROM l2_network l \
     JOIN l2_network_cluster c ON c.l2_network_uuid = l.uuid WHERE c.cluster_uuid = $1 AND c.state <> 'Detaching'";
const CLUSTERS_WITHOUT: &str = "SELECT c.* FROM cluster c WHERE c.zone_uuid = $2 AND NOT EXISTS (SELECT 1 \
     FROM l2_network_cluster a WHERE a.cluster_uuid = c.uuid AND a.l2_network_uuid = $1) \
     ORDER BY c.name, c.uuid LIMIT $3 OFFSET $4";
const NETWORKS_WITHOUT: &str = "SELECT n.* FROM l2_network n WHERE n.zone_uuid = $2 AND NOT EXISTS (SELECT 1 \
     FROM l2_network_cluster a WHERE a.l2_network_uuid = n.uuid AND a.cluster_uuid = $1) \
     ORDER BY n.name, n.uuid LIMIT $3 OFFSET $4";
const MTU: &str = "SELECT max(mtu) FROM l3_network WHERE l2_network_uuid = $1";
const CHANGE_VLAN: &str = "UPDATE l2_network SET type = $2, virtual_network_id = $3, last_op_date = $4 \
     WHERE uuid = $1 AND NOT EXISTS (SELECT 1 FROM l2_network_cluster c WHERE c.l2_network_uuid = $1)";
const HOSTS: &str = "SELECT * FROM host_view WHERE cluster_uuid = $1 ORDER BY uuid";
const HOSTS_OF: &str = "SELECT h.* FROM host_view h \
     JOIN l2_network_cluster c ON c.cluster_uuid = h.cluster_uuid WHERE c.l2_network_uuid = $1 ORDER BY h.uuid";

/// A network of a cluster.
#[derive(Clone, Copy, Debug, engine::db::Row)]
pub(super) struct Attachment {
    pub uuid: Id<Attachment>,
    pub l2: Id<L2Network>,
    pub cluster: Id<Cluster>,
}

/// A network of any type.
#[derive(Clone, Copy, Debug)]
pub struct NewL2<'n> {
    pub uuid: Id<L2Network>,
    pub name: &'n str,
    pub description: Option<&'n str>,
    pub zone: Id<Zone>,
    pub physical_interface: &'n str,
    pub r#type: &'n str,
    /// What tells it apart from others on the interface; 0 when nothing does.
    pub virtual_network_id: i64,
}

/// Enters a network of a type that there is, into a zone that is there.
pub async fn insert(tx: &mut Tx, new: NewL2<'_>) -> Result<()> {
    L2_NETWORKS.get(new.r#type)?;
    find::<ZoneInventory>(tx, new.zone).await?;
    let mut row = args![new.uuid, new.name, new.description, new.zone, new.physical_interface];
    row.extend(args![new.r#type, Stamp::now(), new.virtual_network_id]);
    tx.exec(INSERT, row).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, l2: &UpdateL2Network) -> Result<()> {
    let (name, description) = (l2.name.as_deref(), l2.description.as_deref());
    tx.exec(UPDATE, args![l2.uuid, name, description, Stamp::now()]).await?;
    Ok(())
}

/// From now on, or no longer, nothing new may come to use it.
pub(super) async fn mark_deleting(tx: &mut Tx, uuid: Id<L2Network>, deleting: bool) -> Result<()> {
    tx.exec(MARK, args![uuid, deleting]).await?;
    Ok(())
}

pub(super) async fn refuse_deleting(tx: &mut Tx, l2: &L2NetworkInventory) -> Result<()> {
    match tx.number(MARKED, args![l2.uuid]).await? {
        0 => Ok(()),
        _ => Err(codes::STATE.because(format!("l2 network \"{}\" is being deleted", l2.name))),
    }
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<L2Network>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}

/// False when it is there already.
pub(super) async fn enter(
    tx: &mut Tx,
    l2: Id<L2Network>,
    cluster: Id<Cluster>,
    cidr: Option<&str>,
) -> Result<bool> {
    let uuid = Id::<Attachment>::random();
    Ok(tx.exec(ENTER, args![l2, cluster, uuid, cidr]).await? == 1)
}

pub(super) async fn attachment(tx: &mut Tx, uuid: Id<Attachment>) -> Result<Option<Attachment>> {
    tx.opt(ATTACHMENT, args![uuid]).await
}

pub(super) async fn attachment_of(
    tx: &mut Tx,
    l2: Id<L2Network>,
    cluster: Id<Cluster>,
) -> Result<Option<Attachment>> {
    tx.opt(ATTACHMENT_OF, args![l2, cluster]).await
}

pub(super) async fn leave(tx: &mut Tx, l2: Id<L2Network>, cluster: Id<Cluster>) -> Result<()> {
    tx.exec(LEAVE, args![l2, cluster]).await?;
    Ok(())
}

/// False when the attachment was not in the state `from`.
pub(super) async fn change(
    tx: &mut Tx,
    l2: Id<L2Network>,
    cluster: Id<Cluster>,
    from: &str,
    to: &str,
) -> Result<bool> {
    Ok(tx.exec(CHANGE, args![l2, cluster, from, to]).await? == 1)
}

/// Which clusters each of `networks` is attached to.
pub(super) async fn clusters(tx: &mut Tx, networks: Vec<Value>) -> Result<Vec<(String, String)>> {
    tx.all_of(CLUSTERS, networks).await
}

pub(super) async fn clusters_of(tx: &mut Tx, l2: Id<L2Network>) -> Result<Vec<Id<Cluster>>> {
    let rows: Vec<(Id<Cluster>,)> = tx.all(CLUSTERS_OF, args![l2]).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// All networks that hosts of the cluster may have something of.
pub(super) async fn in_cluster(tx: &mut Tx, cluster: Id<Cluster>) -> Result<Vec<L2NetworkInventory>> {
    tx.all(IN_CLUSTER, args![cluster]).await
}

/// Those that its hosts shall have.
pub(super) async fn wanted_in_cluster(tx: &mut Tx, cluster: Id<Cluster>) -> Result<Vec<L2NetworkInventory>> {
    tx.all(WANTED_IN_CLUSTER, args![cluster]).await
}

pub(super) async fn hosts(tx: &mut Tx, cluster: Id<Cluster>) -> Result<Vec<HostInventory>> {
    tx.all(HOSTS, args![cluster]).await
}

/// The longest frames that its L3 networks ask for; none when none does.
pub(super) async fn mtu(tx: &mut Tx, l2: Id<L2Network>) -> Result<Option<u32>> {
    let (mtu,): (Option<i64>,) = tx.one(MTU, args![l2]).await?;
    Ok(mtu.and_then(|mtu| u32::try_from(mtu).ok()))
}

/// False when a cluster has it.
pub(super) async fn change_vlan(tx: &mut Tx, l2: Id<L2Network>, kind: &str, vlan: i64) -> Result<bool> {
    Ok(tx.exec(CHANGE_VLAN, args![l2, kind, vlan, Stamp::now()]).await? == 1)
}

/// The hosts of all clusters that the network is attached to.
pub(super) async fn hosts_of(tx: &mut Tx, l2: Id<L2Network>) -> Result<Vec<HostInventory>> {
    tx.all(HOSTS_OF, args![l2]).await
}

/// Clusters of the zone that have not the network: so many, after so many.
pub(super) async fn clusters_without(
    tx: &mut Tx,
    network: Id<L2Network>,
    zone: Id<Zone>,
    (start, limit): (i64, i64),
) -> Result<Vec<ClusterInventory>> {
    tx.all(CLUSTERS_WITHOUT, args![network, zone, limit, start]).await
}

/// Networks of the zone that the cluster has not.
pub(super) async fn networks_without(
    tx: &mut Tx,
    cluster: Id<Cluster>,
    zone: Id<Zone>,
    (start, limit): (i64, i64),
) -> Result<Vec<L2NetworkInventory>> {
    tx.all(NETWORKS_WITHOUT, args![cluster, zone, limit, start]).await
}
