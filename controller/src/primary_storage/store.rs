use engine::db::{Tx, Value};
use engine::{Any, Id, Result, Stamp, args, codes};
use serde::{Deserialize, Serialize};

use super::add::NewStorage;
use super::api::UpdatePrimaryStorage;
use super::driver::{PRIMARY_STORAGES, Placed, Space};
use super::{PrimaryStorage, PrimaryStorageInventory, RESERVED};
use crate::cluster::Cluster;
use crate::host::{Host, HostInventory};

pub(super) const LADDER: &str = "SELECT uuid FROM (SELECT uuid, 0 AS far FROM primary_storage WHERE uuid = $1 \
     UNION ALL SELECT zone_uuid, 1 FROM primary_storage WHERE uuid = $1) x ORDER BY far";
pub(super) const IN_ZONE: &str = "SELECT uuid, name, zone_uuid FROM primary_storage WHERE zone_uuid IN ($*)";
const INSERT: &str = "INSERT INTO primary_storage (uuid, name, description, zone_uuid, url, mount_path, type, \
     shared, state, status, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $9, $6, $7, 'Enabled', 'Connecting', $8, $8)";
const OTHERS: &str = "SELECT uuid FROM primary_storage WHERE uuid <> $1 ORDER BY uuid";
const HOLDS_VOLUMES: &str =
    "SELECT count(*) FROM (SELECT 1 AS one FROM volume WHERE primary_storage_uuid = $1 LIMIT 1) v";
const SOME_FILES: &str = "SELECT install_path FROM volume WHERE primary_storage_uuid = $1 AND status = 'Ready' \
     ORDER BY create_date, uuid LIMIT 20";
const OF_URL: &str = "SELECT name FROM primary_storage WHERE type = $1 AND url = $2";
/// Who works on the files of a volume that lies on no host ($2): the host that has its VM, else the one on which
/// the VM has another volume, or that works on its root volume; else who did it before, or any.
const HAND: &str = "SELECT h.uuid FROM primary_storage_host s JOIN host h ON h.uuid = s.host_uuid \
     LEFT JOIN volume v ON v.uuid = $2 LEFT JOIN vm_instance m ON m.uuid = v.vm_instance_uuid \
     WHERE s.primary_storage_uuid = $1 AND h.status = 'Connected' \
     AND (m.host_uuid IS NULL OR m.host_uuid = h.uuid) \
     ORDER BY CASE WHEN EXISTS (SELECT 1 FROM volume o WHERE o.vm_instance_uuid = m.uuid AND o.host_uuid = h.uuid) THEN 0 \
        WHEN EXISTS (SELECT 1 FROM volume r WHERE r.uuid = m.root_volume_uuid AND r.hand_uuid = h.uuid) THEN 1 \
        WHEN h.uuid = v.hand_uuid THEN 2 WHEN h.uuid >= $2 THEN 3 ELSE 4 END, h.uuid LIMIT 1";
const CACHED_IMAGES: &str =
    "SELECT count(*) FROM image_cache WHERE primary_storage_uuid = $1 AND host_uuid IS NULL";
const CLEARED: &str = "DELETE FROM image_cache WHERE primary_storage_uuid = $1 AND host_uuid IS NULL";
const SPARE: &str = "SELECT i.image_uuid AS image, i.host_uuid AS host, i.install_path AS path, i.size FROM image_cache i \
     WHERE i.primary_storage_uuid = $1 AND (CAST($3 AS TEXT) IS NULL OR (i.image_uuid = $3 \
         AND coalesce(i.host_uuid, '') = coalesce(CAST($4 AS TEXT), ''))) \
     AND ($2 OR NOT EXISTS (SELECT 1 FROM image m WHERE m.uuid = i.image_uuid)) \
     AND NOT EXISTS (SELECT 1 FROM volume v WHERE v.primary_storage_uuid = i.primary_storage_uuid \
         AND v.root_image_uuid = i.image_uuid AND (i.host_uuid IS NULL OR v.host_uuid = i.host_uuid)) \
     AND NOT EXISTS (SELECT 1 FROM vm_cd_rom c JOIN volume r ON r.vm_instance_uuid = c.vm_instance_uuid \
         WHERE c.iso_uuid = i.image_uuid AND r.primary_storage_uuid = i.primary_storage_uuid) \
     ORDER BY i.image_uuid, i.host_uuid";
const FORGET_CACHED: &str = "DELETE FROM image_cache WHERE primary_storage_uuid = $1 AND image_uuid = $2 \
     AND coalesce(host_uuid, '') = coalesce(CAST($3 AS TEXT), '')";
/// Of each shared storage that a host has, the connected host that looks after its files.
const KEPT_ELSEWHERE: &str = "SELECT p.mount_path FROM primary_storage_host s \
     JOIN primary_storage p ON p.uuid = s.primary_storage_uuid AND p.shared WHERE s.host_uuid = $1 \
     AND EXISTS (SELECT 1 FROM primary_storage_host o JOIN host h ON h.uuid = o.host_uuid \
        WHERE o.primary_storage_uuid = p.uuid AND h.status = 'Connected' AND h.uuid < $1)";
const LACKING: &str = "SELECT p.name FROM primary_storage p WHERE p.uuid IN ($*) AND NOT EXISTS (SELECT 1 \
     FROM primary_storage_host s JOIN host h ON h.uuid = s.host_uuid JOIN primary_storage_cluster c \
        ON c.primary_storage_uuid = p.uuid AND c.cluster_uuid = h.cluster_uuid AND c.state = 'Attached' \
     WHERE s.primary_storage_uuid = p.uuid AND s.host_uuid IN ($*)) ORDER BY p.name";
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
const MEASURED: &str = "UPDATE primary_storage_host SET total_capacity = $3, available_physical = $4 \
     WHERE primary_storage_uuid = $1 AND host_uuid = $2";
const LEFT: &str = "DELETE FROM primary_storage_host WHERE primary_storage_uuid = $1 AND host_uuid = $2";
const UNCACHED: &str = "DELETE FROM image_cache WHERE primary_storage_uuid = $1 AND host_uuid = $2";
const OF_CLUSTER: &str = "SELECT p.* FROM primary_storage_view p JOIN primary_storage_cluster c \
     ON c.primary_storage_uuid = p.uuid WHERE c.cluster_uuid = $1 AND c.state <> 'Detaching' AND p.state <> 'Deleting'";
const OF_HOST: &str = "SELECT p.* FROM primary_storage_view p JOIN primary_storage_host h \
     ON h.primary_storage_uuid = p.uuid WHERE h.host_uuid = $1";
const HOSTS: &str = "SELECT h.* FROM host_view h JOIN primary_storage_host p ON p.host_uuid = h.uuid \
     WHERE p.primary_storage_uuid = $1";
const DISKS: &str = "SELECT h.host_uuid, h.total_capacity AS total, \
     h.total_capacity - coalesce(u.size, 0) AS available, h.available_physical FROM primary_storage_host h \
     JOIN primary_storage p ON p.uuid = h.primary_storage_uuid \
     LEFT JOIN primary_storage_usage u ON u.primary_storage_uuid = p.uuid \
        AND u.host_uuid = CASE WHEN p.shared THEN '' ELSE h.host_uuid END \
     WHERE h.primary_storage_uuid = $1 ORDER BY h.host_uuid";
const CONNECTED: &str = "SELECT * FROM host_view WHERE cluster_uuid = $1 AND status = 'Connected'";
const VOLUMES: &str = "SELECT count(*) FROM volume WHERE primary_storage_uuid = $1 AND host_uuid = $2";
const CACHED: &str = "INSERT INTO image_cache (image_uuid, primary_storage_uuid, host_uuid, install_path, size, \
     format, virtual_size) SELECT CAST($1 AS TEXT), p.uuid, CASE WHEN p.shared THEN NULL ELSE CAST($3 AS TEXT) END, \
     CAST($4 AS TEXT), CAST($5 AS BIGINT), CAST($6 AS TEXT), CAST($7 AS BIGINT) FROM primary_storage p WHERE p.uuid = $2 \
     ON CONFLICT (image_uuid, primary_storage_uuid, coalesce(host_uuid, '')) \
     DO UPDATE SET format = excluded.format, virtual_size = excluded.virtual_size";
const DOUBTED: &str = "UPDATE image_cache SET virtual_size = NULL \
     WHERE image_uuid = $1 AND primary_storage_uuid = $2 AND (host_uuid = $3 OR host_uuid IS NULL)";
const IN_CACHE: &str = "SELECT install_path, format, virtual_size, size FROM image_cache \
     WHERE image_uuid = $1 AND primary_storage_uuid = $2 AND (host_uuid = $3 OR host_uuid IS NULL)";
const IS_CACHED: &str = "SELECT count(*) FROM image_cache \
     WHERE image_uuid = $1 AND primary_storage_uuid = $2 AND (host_uuid = $3 OR host_uuid IS NULL)";
/// What each usable storage of a host has left, less what is reserved on it, in its zone, or anywhere; a cached image need not be fetched again.
const CANDIDATES: &str = "SELECT p.uuid AS storage, h.total_capacity - coalesce(u.size, 0) \
     - coalesce((SELECT CAST(r.value AS BIGINT) FROM resource_config r WHERE r.resource_uuid = p.uuid \
        AND r.category = 'primaryStorage' AND r.name = 'reservedCapacity'), \
        (SELECT CAST(r.value AS BIGINT) FROM resource_config r WHERE r.resource_uuid = p.zone_uuid \
        AND r.category = 'primaryStorage' AND r.name = 'reservedCapacity'), $2) AS available, \
     EXISTS (SELECT 1 FROM image_cache i WHERE i.primary_storage_uuid = p.uuid \
        AND (i.host_uuid = h.host_uuid OR i.host_uuid IS NULL) AND i.image_uuid = $3) AS cached \
     FROM primary_storage p JOIN primary_storage_host h ON h.primary_storage_uuid = p.uuid \
     JOIN host x ON x.uuid = h.host_uuid JOIN primary_storage_cluster c \
        ON c.primary_storage_uuid = p.uuid AND c.cluster_uuid = x.cluster_uuid AND c.state = 'Attached' \
     LEFT JOIN primary_storage_usage u ON u.primary_storage_uuid = p.uuid \
        AND u.host_uuid = CASE WHEN p.shared THEN '' ELSE h.host_uuid END \
     WHERE h.host_uuid = $1 AND p.state = 'Enabled' ORDER BY available DESC";

/// What a storage has on one host, bytes.
#[derive(Clone, Copy, Debug, engine::db::Row)]
pub(super) struct Disk {
    pub host_uuid: Id<Host>,
    pub total: i64,
    pub available: i64,
    pub available_physical: i64,
}

pub(super) async fn disks(tx: &mut Tx, storage: Id<PrimaryStorage>) -> Result<Vec<Disk>> {
    tx.all(DISKS, args![storage]).await
}

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

/// An image in a cache that nobody needs.
#[derive(Clone, Debug, Serialize, Deserialize, engine::db::Row)]
pub(super) struct Spare {
    pub image: String,
    pub host: Option<Id<Host>>,
    pub path: String,
    /// Bytes, allocated.
    pub size: i64,
}

/// What nobody needs of the storage's cached images, or whether nobody needs `one`; those whose images are still
/// there only when `all` are wanted.
pub(super) async fn spare_images(
    tx: &mut Tx,
    storage: Id<PrimaryStorage>,
    all: bool,
    one: Option<&Spare>,
) -> Result<Vec<Spare>> {
    let (image, host) = (one.map(|one| one.image.as_str()), one.and_then(|one| one.host));
    tx.all(SPARE, args![storage, all, image, host]).await
}

/// It is not in the cache any more.
pub(super) async fn forget_cached(tx: &mut Tx, storage: Id<PrimaryStorage>, spare: &Spare) -> Result<()> {
    tx.exec(FORGET_CACHED, args![storage, &spare.image, spare.host]).await?;
    Ok(())
}

/// How an image stands in a cache.
pub enum InCache {
    No,
    /// It is there, or was: the agent knows.
    Doubted,
    Yes(Placed),
}

/// Whether the image is in the storage's cache on `host`, or was.
pub(super) async fn is_cached(
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
    let mut row = args![image, storage, host, &placed.path, placed.actual_size];
    row.extend(args![&placed.format, placed.size]);
    tx.exec(CACHED, row).await?;
    Ok(())
}

/// How the image stands in the storage's cache on `host`.
pub async fn in_cache(
    tx: &mut Tx,
    image: &str,
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
) -> Result<InCache> {
    let row: Option<(String, Option<String>, Option<i64>, i64)> =
        tx.opt(IN_CACHE, args![image, storage, host]).await?;
    Ok(match row {
        None => InCache::No,
        Some((path, Some(format), Some(size), actual_size)) => {
            InCache::Yes(Placed { path, format, size, actual_size })
        }
        Some(_) => InCache::Doubted,
    })
}

/// The cached image is looked at before it is used again.
pub async fn doubt_cached(
    tx: &mut Tx,
    image: &str,
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
) -> Result<()> {
    tx.exec(DOUBTED, args![image, storage, host]).await?;
    Ok(())
}

/// Enters a storage. Its driver says whether its hosts have it in common.
pub(super) async fn insert(tx: &mut Tx, new: &NewStorage) -> Result<()> {
    let shared = PRIMARY_STORAGES.get(new.r#type)?.is_shared();
    let mut row = args![new.uuid, &new.name, new.description.as_deref(), new.zone, &new.url];
    row.extend(args![new.r#type, shared, Stamp::now(), &new.mount_path]);
    tx.exec(INSERT, row).await?;
    Ok(())
}

/// The name of a storage of this type and URL, if there is one.
pub(super) async fn of_url(tx: &mut Tx, r#type: &str, url: &str) -> Result<Option<String>> {
    Ok(tx.opt::<(String,)>(OF_URL, args![r#type, url]).await?.map(|(name,)| name))
}

/// All storages but this one.
pub(super) async fn others(tx: &mut Tx, storage: Id<PrimaryStorage>) -> Result<Vec<Id<PrimaryStorage>>> {
    Ok(tx
        .all::<(Id<PrimaryStorage>,)>(OTHERS, args![storage])
        .await?
        .into_iter()
        .map(|(uuid,)| uuid)
        .collect())
}

/// Files that lie there for certain: of some of the oldest volumes that nothing is done to.
pub(super) async fn some_files(tx: &mut Tx, storage: Id<PrimaryStorage>) -> Result<Vec<String>> {
    Ok(tx.all::<(String,)>(SOME_FILES, args![storage]).await?.into_iter().map(|(path,)| path).collect())
}

pub(super) async fn holds_volumes(tx: &mut Tx, storage: Id<PrimaryStorage>) -> Result<bool> {
    Ok(tx.number(HOLDS_VOLUMES, args![storage]).await? > 0)
}

/// The host that shall work on the files of a volume of a shared storage. A flow asks once, when it begins: two
/// hosts must not work on one file.
pub async fn hand(tx: &mut Tx, storage: &PrimaryStorageInventory, volume: Id<Any>) -> Result<Id<Host>> {
    let found: Option<(Id<Host>,)> = tx.opt(HAND, args![storage.uuid, volume]).await?;
    found.map(|(host,)| host).ok_or_else(|| {
        codes::STATE.because(format!(
            "no host that could work on it has primary storage \"{}\" and is connected: attach the storage to a \
             cluster, or reconnect a host",
            storage.name
        ))
    })
}

/// Whether images are cached for all hosts of the storage.
pub(super) async fn caches(tx: &mut Tx, storage: Id<PrimaryStorage>) -> Result<bool> {
    Ok(tx.number(CACHED_IMAGES, args![storage]).await? > 0)
}

/// The cache that its hosts have in common is empty.
pub(super) async fn cleared(tx: &mut Tx, storage: Id<PrimaryStorage>) -> Result<()> {
    tx.exec(CLEARED, args![storage]).await?;
    Ok(())
}

/// The directories of shared storages that the host has and another one looks after.
pub async fn kept_elsewhere(tx: &mut Tx, host: Id<Host>) -> Result<Vec<String>> {
    Ok(tx.all::<(String,)>(KEPT_ELSEWHERE, args![host]).await?.into_iter().map(|(url,)| url).collect())
}

/// Which of the storages the host has not, if one.
pub async fn lacking(tx: &mut Tx, host: Id<Host>, storages: &[Id<PrimaryStorage>]) -> Result<Option<String>> {
    if storages.is_empty() {
        return Ok(None);
    }
    let mut values: Vec<Value> = vec![host.into()];
    values.extend(storages.iter().map(|storage| Value::from(*storage)));
    let found: Vec<(String,)> = tx.all_of(LACKING, values).await?;
    Ok(found.into_iter().next().map(|(name,)| name))
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

/// What it has there now, if it is there.
pub(super) async fn measured(
    tx: &mut Tx,
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
    space: Space,
) -> Result<()> {
    tx.exec(MEASURED, args![storage, host, space.total, space.available]).await?;
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
