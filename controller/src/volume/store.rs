use engine::db::Tx;
use engine::inventory::find;
use engine::{Any, Id, Result, Stamp, args, codes, quota};
use serde_json::json;

use super::create::Create;
use super::{CAPACITY, DATA_NUM, Volume, VolumeInventory};
use crate::cluster::Cluster;
use crate::host::{Host, HostInventory};
use crate::primary_storage::driver::NewVolume;
use crate::primary_storage::{self, PrimaryStorage, PrimaryStorageInventory};

pub(super) const DATA_VOLUMES: &str = "SELECT count(*) FROM account_resource_ref r \
     JOIN volume v ON v.uuid = r.resource_uuid \
     WHERE r.account_uuid = $1 AND r.resource_type = 'VolumeVO' AND v.type = 'Data' AND v.status <> 'Deleted'";
pub(super) const SIZES: &str = "SELECT CAST(coalesce(sum(v.size), 0) AS BIGINT) FROM account_resource_ref r \
     JOIN volume v ON v.uuid = r.resource_uuid WHERE r.account_uuid = $1 AND r.resource_type = 'VolumeVO'";
const INSERT: &str = "INSERT INTO volume (uuid, name, primary_storage_uuid, host_uuid, vm_instance_uuid, \
     root_image_uuid, install_path, type, format, size, device_id, state, status, is_shareable, \
     create_date, last_op_date, hand_uuid) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, 'Root', 'qcow2', $8, 0, 'Enabled', 'Creating', FALSE, $9, $9, $10)";
pub(super) const DATA_ON_STORAGE: &str = "SELECT uuid, name, primary_storage_uuid FROM volume \
     WHERE type = 'Data' AND primary_storage_uuid IN ($*)";
pub(super) const DATA_ON_HOST: &str =
    "SELECT uuid, name, host_uuid FROM volume WHERE type = 'Data' AND host_uuid IN ($*)";
pub(super) const OF_ACCOUNT: &str = "SELECT v.uuid, v.name, r.account_uuid FROM volume v \
     JOIN account_resource_ref r ON r.resource_uuid = v.uuid WHERE v.type = 'Data' AND r.account_uuid IN ($*)";
const INSERT_DATA: &str = "INSERT INTO volume (uuid, name, description, disk_offering_uuid, type, format, size, \
     state, status, is_shareable, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, 'Data', 'qcow2', $5, 'Enabled', 'NotInstantiated', FALSE, $6, $6)";
const INSERT_WITH_VM: &str = "INSERT INTO volume (uuid, name, primary_storage_uuid, host_uuid, vm_instance_uuid, \
     disk_offering_uuid, install_path, type, format, size, device_id, state, status, is_shareable, \
     create_date, last_op_date, hand_uuid) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, 'Data', 'qcow2', $8, $9, 'Enabled', 'Creating', FALSE, $10, $10, $11)";
const FORGET_OF: &str = "DELETE FROM volume WHERE vm_instance_uuid = $1";
const IN_CLUSTER: &str = "SELECT v.uuid, h.uuid AS host, v.primary_storage_uuid AS storage, \
     v.install_path AS path FROM host h JOIN volume v ON v.host_uuid = h.uuid \
     WHERE h.cluster_uuid = $1 AND v.status = 'Ready' AND v.install_path IS NOT NULL \
     UNION ALL SELECT v.uuid, h.uuid, v.primary_storage_uuid, v.install_path \
     FROM host h JOIN volume v ON v.hand_uuid = h.uuid AND v.host_uuid IS NULL \
     WHERE h.cluster_uuid = $1 AND v.status = 'Ready' AND v.install_path IS NOT NULL";
const ACTUAL_SIZE: &str = "UPDATE volume SET actual_size = $3 WHERE uuid = $1 AND install_path = $2";
const LAY: &str = "UPDATE volume SET primary_storage_uuid = $2, host_uuid = $3, install_path = $4, \
     status = 'Creating', last_op_date = $5, hand_uuid = $6 WHERE uuid = $1 AND status = 'NotInstantiated'";
const UNLAY: &str = "UPDATE volume SET primary_storage_uuid = NULL, host_uuid = NULL, hand_uuid = NULL, install_path = NULL, \
     status = 'NotInstantiated', last_op_date = $2 WHERE uuid = $1 AND status = 'Creating'";
const MAKING: &str =
    "UPDATE volume SET status = 'Creating', actual_size = NULL, last_op_date = $2 WHERE uuid = $1";
const ATTACH: &str = "UPDATE volume SET vm_instance_uuid = $2, device_id = $3, last_op_date = $4 \
     WHERE uuid = $1 AND vm_instance_uuid IS NULL AND type = 'Data' AND state = 'Enabled' \
     AND status IN ('Ready', 'NotInstantiated') \
     AND NOT EXISTS (SELECT 1 FROM ownership o WHERE o.resource = volume.uuid AND o.flow IS NOT NULL)";
const DETACH: &str = "UPDATE volume SET last_vm_instance_uuid = vm_instance_uuid, vm_instance_uuid = NULL, \
     device_id = NULL, last_op_date = $3 WHERE uuid = $1 AND vm_instance_uuid = $2";
const DATA_OF: &str = "SELECT * FROM volume WHERE vm_instance_uuid = $1 AND type = 'Data' ORDER BY device_id";
const UPDATE: &str = "UPDATE volume SET name = coalesce($2, name), description = coalesce($3, description), \
     last_op_date = $4 WHERE uuid = $1";
const STATE: &str = "UPDATE volume SET state = $2, last_op_date = $3 WHERE uuid = $1";
const GOING: &str = "UPDATE volume SET status_before = status, status = 'Deleted', last_op_date = $2 \
     WHERE uuid = $1 AND status <> 'Creating' AND NOT EXISTS (SELECT 1 FROM vm_instance m \
         WHERE m.uuid = volume.vm_instance_uuid AND m.host_uuid IS NOT NULL)";
const STAYING: &str = "UPDATE volume SET status = coalesce(status_before, status), last_op_date = $2 \
     WHERE uuid = $1 AND status = 'Deleted'";
const RECOVER: &str = "UPDATE volume SET status = CASE WHEN primary_storage_uuid IS NULL THEN 'NotInstantiated' \
     ELSE 'Ready' END, last_op_date = $2 WHERE uuid = $1 AND status = 'Deleted'";
const DELETED: &str =
    "SELECT uuid, name FROM volume WHERE status = 'Deleted' AND type = 'Data' AND last_op_date < $1";
const OUT_OF_REACH: &str = "SELECT v.uuid, h.name, h.status FROM volume v JOIN host h ON h.uuid = v.host_uuid \
     WHERE h.status <> 'Connected' AND v.uuid IN ($*)";
const STRANDED: &str = "SELECT v.uuid, p.name FROM volume v JOIN primary_storage p ON p.uuid = v.primary_storage_uuid \
     WHERE p.shared AND v.uuid IN ($*) AND NOT EXISTS (SELECT 1 FROM primary_storage_host s \
         JOIN host h ON h.uuid = s.host_uuid WHERE s.primary_storage_uuid = p.uuid AND h.status = 'Connected')";
/// The host that has its VM works on it, else its hand.
const WORKS: &str = "SELECT coalesce(m.host_uuid, v.hand_uuid) FROM volume v \
     LEFT JOIN vm_instance m ON m.uuid = v.vm_instance_uuid WHERE v.uuid = $1";
const TAKE_IN_HAND: &str = "UPDATE volume SET hand_uuid = $2 WHERE uuid = $1 AND host_uuid IS NULL";
const SIZE_OF: &str = "SELECT uuid, size FROM volume WHERE uuid IN ($*)";
const READY: &str = "UPDATE volume SET status = 'Ready', size = $2, actual_size = $3, last_op_date = $4 \
     WHERE uuid = $1";
const LOOKED: &str = "UPDATE volume SET size = $2, actual_size = $3, last_op_date = $4 \
     WHERE uuid = $1 AND status = 'Ready'";
const DELETE: &str = "DELETE FROM volume WHERE uuid = $1";
const COPY: &str = "INSERT INTO volume_copy (volume_uuid, primary_storage_uuid, host_uuid, install_path, size) \
     SELECT uuid, primary_storage_uuid, $2, install_path, size FROM volume WHERE uuid = $1";
const GO_TO: &str = "UPDATE volume SET host_uuid = $2, last_op_date = $3 WHERE uuid = $1";
const LEAVE: &str = "UPDATE volume_copy SET host_uuid = $2 WHERE volume_uuid = $1";
const NO_COPY: &str = "DELETE FROM volume_copy WHERE volume_uuid = $1";
const STATUS: &str = "UPDATE volume SET status = $2, last_op_date = $3 WHERE uuid = $1";
const SNAPSHOTS: &str = "SELECT count(*) FROM volume_snapshot WHERE volume_uuid = $1";
const FILES: &str = "SELECT install_path FROM volume WHERE uuid = $1 AND install_path IS NOT NULL \
     UNION SELECT spare_path FROM volume WHERE uuid = $1 AND spare_path IS NOT NULL \
     UNION SELECT primary_storage_install_path FROM volume_snapshot \
     WHERE volume_uuid = $1 AND primary_storage_install_path IS NOT NULL";
const ROOT: &str = "SELECT * FROM volume WHERE vm_instance_uuid = $1 AND type = 'Root'";

/// Where a volume lies.
pub struct Lies {
    pub volume: VolumeInventory,
    pub storage: PrimaryStorageInventory,
    /// Who works on its files.
    pub host: HostInventory,
}

/// A volume that is somewhere.
#[derive(engine::db::Row)]
pub(super) struct There {
    pub uuid: Id<Volume>,
    pub host: Id<Host>,
    pub storage: Id<PrimaryStorage>,
    pub path: String,
}

/// Those that lie on hosts of the cluster.
pub(super) async fn in_cluster(tx: &mut Tx, cluster: Id<Cluster>) -> Result<Vec<There>> {
    tx.all(IN_CLUSTER, args![cluster]).await
}

/// So many bytes are allocated for it, unless it lies elsewhere by now.
pub(super) async fn set_actual_size(tx: &mut Tx, volume: Id<Volume>, path: &str, size: i64) -> Result<()> {
    tx.exec(ACTUAL_SIZE, args![volume, path, size]).await?;
    Ok(())
}

/// A root volume about to be made.
pub struct NewRoot<'a> {
    pub uuid: Id<Volume>,
    pub name: &'a str,
    pub vm: Id<Any>,
    pub storage: Id<PrimaryStorage>,
    /// Where it lies, if on one host.
    pub home: Option<Id<Host>>,
    /// Who makes it.
    pub host: Id<Host>,
    /// What it stands on; a copy stands alone.
    pub image: Option<Id<Any>>,
    pub install_path: &'a str,
    /// Bytes.
    pub size: i64,
}

/// Enters a root volume, which claims its size. The caller has seen that there is room in the same
/// transaction.
pub async fn claim_root(tx: &mut Tx, root: NewRoot<'_>) -> Result<()> {
    let mut row = args![root.uuid, format!("ROOT-for-{}", root.name), root.storage, root.home, root.vm];
    row.extend(args![root.image, root.install_path, root.size, Stamp::now(), hand_of(root.home, root.host)]);
    tx.exec(INSERT, row).await?;
    quota::check(tx, root.uuid, &[(&CAPACITY, root.size)]).await
}

/// What lies on a host is worked on by that host.
fn hand_of(home: Option<Id<Host>>, host: Id<Host>) -> Option<Id<Host>> {
    home.is_none().then_some(host)
}

/// Takes the volume in hand for a flow that begins: whoever worked on the files of a volume of a shared storage
/// before, from now on one host does that answers, and no other as long as the flow lasts.
pub async fn in_hand(tx: &mut Tx, volume: Id<Volume>) -> Result<Lies> {
    let known: VolumeInventory = find(tx, volume).await?;
    if let (Some(storage), None) = (known.primary_storage_uuid, known.host_uuid) {
        let storage: PrimaryStorageInventory = find(tx, storage).await?;
        let hand = primary_storage::hand(tx, &storage, volume.cast()).await?;
        if known.hand_uuid != Some(hand) {
            tx.exec(TAKE_IN_HAND, args![volume, hand]).await?;
        }
    }
    Lies::of(tx, volume).await
}

/// The host that works on the files of a volume that lies on none.
pub(super) async fn works(tx: &mut Tx, volume: Id<Volume>) -> Result<Option<Id<Host>>> {
    let row: Option<(Option<Id<Host>>,)> = tx.opt(WORKS, args![volume]).await?;
    Ok(row.and_then(|(host,)| host))
}

/// A data volume about to be made with its VM.
pub struct NewData<'a> {
    pub uuid: Id<Volume>,
    pub name: &'a str,
    pub vm: Id<Any>,
    pub device: i64,
    pub offering: Option<Id<Any>>,
    pub storage: Id<PrimaryStorage>,
    /// Where it lies, if on one host.
    pub home: Option<Id<Host>>,
    /// Who makes it.
    pub host: Id<Host>,
    pub install_path: &'a str,
    /// Bytes.
    pub size: i64,
}

/// Enters a data volume as its VM's disk, which claims its size. The caller has seen that there is room in
/// the same transaction.
pub async fn claim_data(tx: &mut Tx, data: NewData<'_>) -> Result<()> {
    let mut row = args![data.uuid, data.name, data.storage, data.home, data.vm, data.offering];
    row.extend(args![data.install_path, data.size, data.device, Stamp::now(), hand_of(data.home, data.host)]);
    tx.exec(INSERT_WITH_VM, row).await?;
    quota::check(tx, data.uuid, &[(&DATA_NUM, 1), (&CAPACITY, data.size)]).await
}

/// Forgets the volumes that the VM has.
pub async fn forget_of(tx: &mut Tx, vm: Id<Any>) -> Result<()> {
    tx.exec(FORGET_OF, args![vm]).await?;
    Ok(())
}

pub async fn ready(tx: &mut Tx, volume: Id<Volume>, size: i64, actual_size: i64) -> Result<()> {
    tx.exec(READY, args![volume, size, actual_size, Stamp::now()]).await?;
    Ok(())
}

/// It is so large, as was seen; of one that goes meanwhile nothing is noted.
pub(super) async fn looked(tx: &mut Tx, volume: Id<Volume>, found: (i64, i64)) -> Result<()> {
    tx.exec(LOOKED, args![volume, found.0, found.1, Stamp::now()]).await?;
    Ok(())
}

/// The volume shall have a copy on this host, which claims the space there. The caller has seen that there is
/// room in the same transaction.
pub async fn claim_copy(tx: &mut Tx, volume: Id<Volume>, host: Id<Host>) -> Result<()> {
    tx.exec(COPY, args![volume, host]).await?;
    Ok(())
}

/// The copy is the volume from now on, and what was the volume is a copy.
pub async fn go_to(tx: &mut Tx, volume: Id<Volume>, host: Id<Host>, left: Id<Host>) -> Result<()> {
    tx.exec(GO_TO, args![volume, host, Stamp::now()]).await?;
    tx.exec(LEAVE, args![volume, left]).await?;
    Ok(())
}

/// There is no copy any more.
pub async fn forget_copy(tx: &mut Tx, volume: Id<Volume>) -> Result<()> {
    tx.exec(NO_COPY, args![volume]).await?;
    Ok(())
}

pub async fn set_status(tx: &mut Tx, volume: Id<Volume>, status: &str) -> Result<()> {
    tx.exec(STATUS, args![volume, status, Stamp::now()]).await?;
    Ok(())
}

/// How many snapshots a volume has.
pub async fn snapshots(tx: &mut Tx, volume: Id<Volume>) -> Result<i64> {
    tx.number(SNAPSHOTS, args![volume]).await
}

/// All files of a volume, those of its snapshots too, its own first.
pub async fn files(tx: &mut Tx, volume: &VolumeInventory) -> Result<Vec<String>> {
    let mut files: Vec<(String,)> = tx.all(FILES, args![volume.uuid]).await?;
    files.sort_by_key(|(path,)| volume.install_path.as_deref() != Some(path));
    Ok(files.into_iter().map(|(path,)| path).collect())
}

pub async fn delete(tx: &mut Tx, volume: Id<Volume>) -> Result<()> {
    tx.exec(DELETE, args![volume]).await?;
    Ok(())
}

/// The root volume of a VM.
pub async fn root_of(tx: &mut Tx, vm: Id<Any>) -> Result<VolumeInventory> {
    let root = tx.opt(ROOT, args![vm]).await?;
    root.ok_or_else(|| codes::STATE.because(format!("vm {vm} has no root volume: it cannot start")))
}

/// Enters a data volume that lies nowhere yet.
pub(super) async fn insert(tx: &mut Tx, volume: &Create) -> Result<()> {
    let (description, size) = (volume.description.as_deref(), volume.size);
    let row = args![volume.uuid, &volume.name, description, volume.offering, size, Stamp::now()];
    tx.exec(INSERT_DATA, row).await?;
    quota::check(tx, volume.uuid, &[(&DATA_NUM, 1), (&CAPACITY, size)]).await
}

/// A volume of this size is to lie there, which claims the space.
pub async fn lay(
    tx: &mut Tx,
    volume: Id<Volume>,
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
    size: i64,
    account: Id<Any>,
) -> Result<()> {
    let candidates = primary_storage::candidates(tx, host, "").await?;
    let Some(there) = candidates.into_iter().find(|there| there.storage == storage) else {
        let host: HostInventory = find(tx, host).await?;
        let details = format!("host \"{}\" has not the primary storage, or it takes no volumes", host.name);
        return Err(codes::STATE.because(details));
    };
    let storage: PrimaryStorageInventory = find(tx, storage).await?;
    if there.available < size {
        let (name, left) = (&storage.name, there.available.max(0));
        let details =
            format!("primary storage \"{name}\" has {left} bytes left on the host, {size} are needed");
        return Err(codes::OPERATION.because(details));
    }
    let new = NewVolume { uuid: volume.to_string(), account: account.to_string(), size };
    let path = storage.driver()?.data_path(&storage, &new);
    let home = storage.home(host);
    let row = args![volume, storage.uuid, home, path, Stamp::now(), hand_of(home, host)];
    match tx.exec(LAY, row).await? {
        1 => Ok(()),
        _ => Err(codes::STATE.because(format!("volume {volume} lies somewhere already"))),
    }
}

/// It is not made there after all.
pub async fn unlay(tx: &mut Tx, volume: Id<Volume>) -> Result<()> {
    tx.exec(UNLAY, args![volume, Stamp::now()]).await?;
    Ok(())
}

/// It is being made, or taken back.
pub async fn making(tx: &mut Tx, volume: Id<Volume>) -> Result<()> {
    tx.exec(MAKING, args![volume, Stamp::now()]).await?;
    Ok(())
}

/// A data volume is the VM's disk of this number from now on; false when it cannot be anybody's.
pub async fn attach(tx: &mut Tx, volume: Id<Volume>, vm: Id<Any>, device: i64) -> Result<bool> {
    Ok(tx.exec(ATTACH, args![volume, vm, device, Stamp::now()]).await? == 1)
}

/// It is no longer that VM's.
pub async fn detach(tx: &mut Tx, volume: Id<Volume>, vm: Id<Any>) -> Result<()> {
    tx.exec(DETACH, args![volume, vm, Stamp::now()]).await?;
    Ok(())
}

/// It is no longer that VM's, and who listens is told.
pub async fn let_go(tx: &mut Tx, volume: Id<Volume>, vm: Id<Any>) -> Result<()> {
    detach(tx, volume, vm).await?;
    tx.emit("/volume/detached", volume.cast(), json!({ "vmInstanceUuid": vm })).await
}

/// The data volumes of a VM, by their numbers.
pub async fn data_of(tx: &mut Tx, vm: Id<Any>) -> Result<Vec<VolumeInventory>> {
    tx.all(DATA_OF, args![vm]).await
}

pub(super) async fn update(
    tx: &mut Tx,
    volume: Id<Volume>,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<()> {
    tx.exec(UPDATE, args![volume, name, description, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_state(tx: &mut Tx, volume: Id<Volume>, state: &str) -> Result<()> {
    tx.exec(STATE, args![volume, state, Stamp::now()]).await?;
    Ok(())
}

/// It goes, now or when it is expunged: nobody attaches it any more.
pub(super) async fn going(tx: &mut Tx, volume: Id<Volume>) -> Result<()> {
    match tx.exec(GOING, args![volume, Stamp::now()]).await? {
        1 => Ok(()),
        _ => Err(codes::STATE.because(format!("volume {volume} is being made, or a running vm has it"))),
    }
}

/// The deletion that was about to be is taken back.
pub(super) async fn staying(tx: &mut Tx, volume: Id<Volume>) -> Result<()> {
    tx.exec(STAYING, args![volume, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn recover(tx: &mut Tx, volume: Id<Volume>) -> Result<()> {
    tx.exec(RECOVER, args![volume, Stamp::now()]).await?;
    quota::check(tx, volume, &[(&DATA_NUM, 1)]).await
}

pub(super) async fn deleted_before(tx: &mut Tx, limit: Stamp) -> Result<Vec<(Id<Any>, String)>> {
    tx.all(DELETED, args![limit]).await
}

/// Those whose files nobody can work on now, and why.
pub async fn out_of_reach(tx: &mut Tx, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, String)>> {
    let ids = || ids.iter().map(|id| (*id).into()).collect();
    let silent: Vec<(Id<Any>, String, String)> = tx.all_of(OUT_OF_REACH, ids()).await?;
    let stranded: Vec<(Id<Any>, String)> = tx.all_of(STRANDED, ids()).await?;
    let silent = silent
        .into_iter()
        .map(|(id, host, status)| (id, format!("its host \"{host}\" is {status}: reconnect it first")));
    let stranded = stranded.into_iter().map(|(id, storage)| {
        (id, format!("no host that has its primary storage \"{storage}\" is connected: reconnect one first"))
    });
    Ok(silent.chain(stranded).collect())
}

pub(super) async fn sizes(tx: &mut Tx, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, i64)>> {
    tx.all_of(SIZE_OF, ids.iter().map(|id| (*id).into()).collect()).await
}
