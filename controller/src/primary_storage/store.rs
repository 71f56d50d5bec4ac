use engine::db::{Tx, Value};
use engine::{Id, Result, Stamp, args};

use super::api::{AddLocalPrimaryStorage, UpdatePrimaryStorage};
use super::driver::{Placed, Space};
use super::{PrimaryStorage, PrimaryStorageInventory, RESERVED};
use crate::cluster::Cluster;
use crate::host::{Host, HostInventory};
use crate::zone::Zone;

pub(super) const IN_ZONE: &str = "SELECT uuid, name, zone_uuid FROM primary_storage WHERE zone_uuid IN ($*)";
const INSERT: &str = "INSERT INTO primary_storage (uuid, name, description, zone_uuid, url, mount_path, type, \
     state, status, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $5, 'LocalStorage', 'Enabled', 'Connecting', $6, $6)";
const UPDATE: &str = "UPDATE primary_storage SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const STATE: &str = "UPDATE primary_storage SET state = $2, last_op_date = $3 WHERE uuid = $1";
const STATUS: &str = "UPDATE primary_storage SET status = $2, last_op_date = $3 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM primary_storage WHERE uuid = $1";
const ATTACH: &str = "INSERT INTO primary_storage_cluster (primary_storage_uuid, cluster_uuid, uuid, state) \
     VALUES ($1, $2, $3, 'Attaching') ON CONFLICT (primary_storage_uuid, cluster_uuid) DO NOTHING";
const DETACH: &str =
    "DELETE FROM primary_storage_cluster WHERE primary_storage_uuid = $1 AND cluster_uuid = $2";
const ATTACHMENT: &str = "SELECT uuid, primary_storage_uuid AS storage, cluster_uuid AS cluster \
     FROM primary_storage_cluster WHERE uuid = $1";
const ATTACHMENT_OF: &str = "SELECT uuid, primary_storage_uuid AS storage, cluster_uuid AS cluster \
     FROM primary_storage_cluster WHERE primary_storage_uuid = $1 AND cluster_uuid = $2";
const CHANGE: &str = "UPDATE primary_storage_cluster SET state = $3 WHERE uuid = $1 AND state = $2";
const ATTACHED: &str = "UPDATE primary_storage_cluster SET state = 'Attached' \
     WHERE primary_storage_uuid = $1 AND cluster_uuid = $2 AND state = 'Attaching'";
const IS_ATTACHED: &str = "SELECT count(*) FROM primary_storage_cluster c \
     JOIN host h ON h.cluster_uuid = c.cluster_uuid \
     WHERE c.primary_storage_uuid = $1 AND h.uuid = $2 AND c.state = 'Attached'";
const CLUSTERS: &str = "SELECT primary_storage_uuid, cluster_uuid FROM primary_storage_cluster \
     WHERE state = 'Attached' AND primary_storage_uuid IN ($*) ORDER BY cluster_uuid";
const JOINED: &str = "INSERT INTO primary_storage_host (primary_storage_uuid, host_uuid, status, \
     total_capacity, available_physical) VALUES ($1, $2, 'Connected', $3, $4) \
     ON CONFLICT (primary_storage_uuid, host_uuid) DO UPDATE SET status = 'Connected', \
     total_capacity = excluded.total_capacity, available_physical = excluded.available_physical";
const LEFT: &str = "DELETE FROM primary_storage_host WHERE primary_storage_uuid = $1 AND host_uuid = $2";
const UNCACHED: &str = "DELETE FROM image_cache WHERE primary_storage_uuid = $1 AND host_uuid = $2";
const OF_CLUSTER: &str = "SELECT p.* FROM primary_storage_view p JOIN primary_storage_cluster c \
     ON c.primary_storage_uuid = p.uuid WHERE c.cluster_uuid = $1 AND c.state <> 'Detaching' AND p.state <> 'Deleting'";
const OF_HOST: &str = "SELECT p.* FROM primary_storage_view p JOIN primary_storage_host h \
     ON h.primary_storage_uuid = p.uuid WHERE h.host_uuid = $1";
const HOSTS: &str = "SELECT h.* FROM host_view h JOIN primary_storage_host p ON p.host_uuid = h.uuid \
     WHERE p.primary_storage_uuid = $1";
const CONNECTED: &str = "SELECT * FROM host_view WHERE cluster_uuid = $1 AND status = 'Connected'";
const VOLUMES: &str = "SELECT count(*) FROM volume WHERE primary_storage_uuid = $1 AND host_uuid = $2";
const CACHED: &str = "INSERT INTO image_cache (image_uuid, primary_storage_uuid, host_uuid, install_path, size) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
const IS_CACHED: &str = "SELECT count(*) FROM image_cache \
     WHERE image_uuid = $1 AND primary_storage_uuid = $2 AND host_uuid = $3";
/// What each usable storage of a host has left; a cached image need not be fetched again.
const CANDIDATES: &str = "SELECT p.uuid AS storage, h.total_capacity - coalesce(u.size, 0) - $2 AS available, \
     EXISTS (SELECT 1 FROM image_cache i WHERE i.primary_storage_uuid = p.uuid \
        AND i.host_uuid = h.host_uuid AND i.image_uuid = $3) AS cached \
     FROM primary_storage p JOIN primary_storage_host h ON h.primary_storage_uuid = p.uuid \
     JOIN host x ON x.uuid = h.host_uuid JOIN primary_storage_cluster c \
        ON c.primary_storage_uuid = p.uuid AND c.cluster_uuid = x.cluster_uuid AND c.state = 'Attached' \
     LEFT JOIN primary_storage_usage u ON u.primary_storage_uuid = p.uuid AND u.host_uuid = h.host_uuid \
     WHERE h.host_uuid = $1 AND p.state = 'Enabled' ORDER BY available DESC";

/// A storage of a cluster.
#[derive(Clone, Copy, Debug, engine::db::Row)]
pub(super) struct Attachment {
    pub uuid: Id<Attachment>,
    pub storage: Id<PrimaryStorage>,
    pub cluster: Id<Cluster>,
}

/// A storage of a host that might take a volume.
#[derive(Clone, Copy, Debug, engine::db::Row)]
pub struct Candidate {
    pub storage: Id<PrimaryStorage>,
    /// Bytes.
    pub available: i64,
    /// The image is in its cache.
    pub cached: bool,
}

/// The storages of `host` that take volumes, the emptiest first.
pub async fn candidates(tx: &mut Tx, host: Id<Host>, image: &str) -> Result<Vec<Candidate>> {
    let reserved = tx.engine().setting(&RESERVED);
    tx.all(CANDIDATES, args![host, reserved, image]).await
}

/// Whether the image is in the storage's cache on `host`.
pub async fn is_cached(
    tx: &mut Tx,
    image: &str,
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
) -> Result<bool> {
    Ok(tx.number(IS_CACHED, args![image, storage, host]).await? > 0)
}

/// The image is in the storage's cache on `host` from now on.
pub async fn remember_cached(
    tx: &mut Tx,
    image: &str,
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
    placed: &Placed,
) -> Result<()> {
    tx.exec(CACHED, args![image, storage, host, &placed.path, placed.actual_size]).await?;
    Ok(())
}

pub(super) async fn insert(
    tx: &mut Tx,
    uuid: Id<PrimaryStorage>,
    zone: Id<Zone>,
    storage: &AddLocalPrimaryStorage,
) -> Result<()> {
    let (name, description, url) = (&storage.name, storage.description.as_deref(), storage.path());
    tx.exec(INSERT, args![uuid, name, description, zone, url, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, storage: &UpdatePrimaryStorage) -> Result<()> {
    let (name, description) = (storage.name.as_deref(), storage.description.as_deref());
    tx.exec(UPDATE, args![storage.uuid, name, description, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<PrimaryStorage>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_status(tx: &mut Tx, uuid: Id<PrimaryStorage>, status: &str) -> Result<()> {
    tx.exec(STATUS, args![uuid, status, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<PrimaryStorage>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}

/// False when it is attached already.
pub(super) async fn attach(tx: &mut Tx, storage: Id<PrimaryStorage>, cluster: Id<Cluster>) -> Result<bool> {
    let uuid = Id::<Attachment>::random();
    Ok(tx.exec(ATTACH, args![storage, cluster, uuid]).await? == 1)
}

pub(super) async fn attachment(tx: &mut Tx, uuid: Id<Attachment>) -> Result<Option<Attachment>> {
    tx.opt(ATTACHMENT, args![uuid]).await
}

pub(super) async fn attachment_of(
    tx: &mut Tx,
    storage: Id<PrimaryStorage>,
    cluster: Id<Cluster>,
) -> Result<Option<Attachment>> {
    tx.opt(ATTACHMENT_OF, args![storage, cluster]).await
}

/// False when the attachment was not in the state `from`.
pub(super) async fn change(tx: &mut Tx, uuid: Id<Attachment>, from: &str, to: &str) -> Result<bool> {
    Ok(tx.exec(CHANGE, args![uuid, from, to]).await? == 1)
}

/// From now on volumes may come.
pub(super) async fn attached(tx: &mut Tx, storage: Id<PrimaryStorage>, cluster: Id<Cluster>) -> Result<()> {
    tx.exec(ATTACHED, args![storage, cluster]).await?;
    Ok(())
}

/// Whether the host's cluster has the storage.
pub(super) async fn is_attached(tx: &mut Tx, storage: Id<PrimaryStorage>, host: Id<Host>) -> Result<bool> {
    Ok(tx.number(IS_ATTACHED, args![storage, host]).await? > 0)
}

pub(super) async fn detach(tx: &mut Tx, storage: Id<PrimaryStorage>, cluster: Id<Cluster>) -> Result<()> {
    tx.exec(DETACH, args![storage, cluster]).await?;
    Ok(())
}

pub(super) async fn clusters(tx: &mut Tx, storages: Vec<Value>) -> Result<Vec<(String, String)>> {
    tx.all_of(CLUSTERS, storages).await
}

pub(super) async fn joined(
    tx: &mut Tx,
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
    space: Space,
) -> Result<()> {
    tx.exec(JOINED, args![storage, host, space.total, space.available]).await?;
    Ok(())
}

pub(super) async fn left(tx: &mut Tx, storage: Id<PrimaryStorage>, host: Id<Host>) -> Result<()> {
    tx.exec(LEFT, args![storage, host]).await?;
    tx.exec(UNCACHED, args![storage, host]).await?;
    Ok(())
}

pub(super) async fn of_cluster(tx: &mut Tx, cluster: Id<Cluster>) -> Result<Vec<PrimaryStorageInventory>> {
    tx.all(OF_CLUSTER, args![cluster]).await
}

pub(super) async fn of_host(tx: &mut Tx, host: Id<Host>) -> Result<Vec<PrimaryStorageInventory>> {
    tx.all(OF_HOST, args![host]).await
}

/// The hosts that the storage takes part on.
pub async fn hosts_of(tx: &mut Tx, storage: Id<PrimaryStorage>) -> Result<Vec<HostInventory>> {
    tx.all(HOSTS, args![storage]).await
}

pub(super) async fn connected_hosts(tx: &mut Tx, cluster: Id<Cluster>) -> Result<Vec<HostInventory>> {
    tx.all(CONNECTED, args![cluster]).await
}

/// How many volumes the storage has on the host.
pub(super) async fn volumes_on(tx: &mut Tx, storage: Id<PrimaryStorage>, host: Id<Host>) -> Result<i64> {
    tx.number(VOLUMES, args![storage, host]).await
}
