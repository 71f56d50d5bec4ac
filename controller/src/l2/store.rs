use engine::db::{Tx, Value};
use engine::{Id, Result, Stamp, args, codes};

use super::api::{CreateL2NoVlanNetwork, UpdateL2Network};
use super::{L2Network, L2NetworkInventory, no_vlan};
use crate::cluster::Cluster;
use crate::host::HostInventory;

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM l2_network x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
pub(super) const IN_ZONE: &str = "SELECT uuid, name, zone_uuid FROM l2_network WHERE zone_uuid IN ($*)";
const INSERT: &str = "INSERT INTO l2_network (uuid, name, description, zone_uuid, physical_interface, type, \
     v_switch_type, virtual_network_id, isolated, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, 'LinuxBridge', 0, FALSE, $7, $7)";
const UPDATE: &str = "UPDATE l2_network SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const MARK: &str = "UPDATE l2_network SET deleting = $2 WHERE uuid = $1";
const MARKED: &str = "SELECT count(*) FROM l2_network WHERE uuid = $1 AND deleting";
const DELETE: &str = "DELETE FROM l2_network WHERE uuid = $1";
const ENTER: &str = "INSERT INTO l2_network_cluster (l2_network_uuid, cluster_uuid, state, uuid) \
     VALUES ($1, $2, 'Attaching', $3) ON CONFLICT (l2_network_uuid, cluster_uuid) DO NOTHING";
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

pub(super) async fn insert(tx: &mut Tx, uuid: Id<L2Network>, l2: &CreateL2NoVlanNetwork) -> Result<()> {
    let mut row = args![uuid, &l2.name, l2.description.as_deref(), l2.zone_uuid];
    row.extend(args![&l2.physical_interface, no_vlan::TYPE, Stamp::now()]);
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
pub(super) async fn enter(tx: &mut Tx, l2: Id<L2Network>, cluster: Id<Cluster>) -> Result<bool> {
    let uuid = Id::<Attachment>::random();
    Ok(tx.exec(ENTER, args![l2, cluster, uuid]).await? == 1)
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

/// The hosts of all clusters that the network is attached to.
pub(super) async fn hosts_of(tx: &mut Tx, l2: Id<L2Network>) -> Result<Vec<HostInventory>> {
    tx.all(HOSTS_OF, args![l2]).await
}
