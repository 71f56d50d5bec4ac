use std::collections::HashMap;

use engine::db::{Tx, Value};
use engine::inventory::find;
use engine::{Any, Id, Result, Stamp, args, codes, quota};
use serde_json::json;

use super::change::Words;
use super::create::Create;
use super::fallen::Fall;
use super::{TOTAL_NUM, VmInstance, VmInstanceInventory, cd_rom};
use crate::host::{self, Host, HostInventory};
use crate::l3::{L3Network, L3NetworkInventory};
use crate::nic::{self, VmNicInventory};
use crate::primary_storage::PrimaryStorage;
use crate::volume::{self, VolumeInventory};

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM vm_instance x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
pub(super) const NOT_DESTROYED: &str = "SELECT count(*) FROM account_resource_ref r \
     JOIN vm_instance v ON v.uuid = r.resource_uuid \
     WHERE r.account_uuid = $1 AND r.resource_type = 'VmInstanceVO' AND v.state <> 'Destroyed'";
pub(super) const ON_HOSTS: &str = "SELECT count(*) FROM account_resource_ref r \
     JOIN host_claim c ON c.vm_instance_uuid = r.resource_uuid \
     WHERE r.account_uuid = $1 AND r.resource_type = 'VmInstanceVO'";
pub(super) const CPUS: &str = "SELECT CAST(coalesce(sum(c.cpu), 0) AS BIGINT) FROM account_resource_ref r \
     JOIN host_claim c ON c.vm_instance_uuid = r.resource_uuid \
     WHERE r.account_uuid = $1 AND r.resource_type = 'VmInstanceVO'";
pub(super) const MEMORY: &str = "SELECT CAST(coalesce(sum(c.memory), 0) AS BIGINT) FROM account_resource_ref r \
     JOIN host_claim c ON c.vm_instance_uuid = r.resource_uuid \
     WHERE r.account_uuid = $1 AND r.resource_type = 'VmInstanceVO'";
pub(super) const ON_HOST: &str = "SELECT uuid, name, host_uuid FROM vm_instance WHERE host_uuid IN ($*)";
pub(super) const DISK_ON_HOST: &str = "SELECT DISTINCT m.uuid, m.name, v.host_uuid FROM vm_instance m \
     JOIN volume v ON v.uuid = m.root_volume_uuid WHERE v.host_uuid IN ($*)";
pub(super) const ON_STORAGE: &str = "SELECT DISTINCT m.uuid, m.name, v.primary_storage_uuid FROM vm_instance m \
     JOIN volume v ON v.uuid = m.root_volume_uuid WHERE v.primary_storage_uuid IN ($*)";
pub(super) const WITH_VOLUME: &str = "SELECT m.uuid, m.name, v.uuid FROM volume v \
     JOIN vm_instance m ON m.uuid = v.vm_instance_uuid \
     WHERE v.type = 'Data' AND m.host_uuid IS NOT NULL AND v.uuid IN ($*)";
const ATTACHABLE_VOLUMES: &str = "SELECT v.* FROM volume v WHERE v.type = 'Data' AND v.state = 'Enabled' \
     AND v.vm_instance_uuid IS NULL AND (v.status = 'NotInstantiated' OR (v.status = 'Ready' AND (v.host_uuid = $1 \
         OR (v.host_uuid IS NULL AND EXISTS (SELECT 1 FROM primary_storage_host a \
             JOIN primary_storage_host b ON b.host_uuid = a.host_uuid \
             WHERE a.primary_storage_uuid = v.primary_storage_uuid AND b.primary_storage_uuid = $3 \
             AND (CAST($4 AS TEXT) IS NULL OR a.host_uuid = $4)))))) \
     AND (CAST($2 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM account_resource_ref r \
         WHERE r.resource_uuid = v.uuid AND r.account_uuid = $2)) ORDER BY v.name, v.uuid LIMIT 1000";
const ATTACHING_VMS: &str = "SELECT m.* FROM vm_instance m JOIN volume v ON v.uuid = m.root_volume_uuid \
     WHERE m.state IN ('Running', 'Stopped') AND (CAST($1 AS TEXT) IS NULL OR v.host_uuid = $1) \
     AND (CAST($3 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM primary_storage_host a \
         JOIN primary_storage_host b ON b.host_uuid = a.host_uuid \
         WHERE a.primary_storage_uuid = $3 AND b.primary_storage_uuid = v.primary_storage_uuid \
         AND a.host_uuid = coalesce(v.host_uuid, m.host_uuid, a.host_uuid))) \
     AND (CAST($2 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM account_resource_ref r \
         WHERE r.resource_uuid = m.uuid AND r.account_uuid = $2)) ORDER BY m.name, m.uuid LIMIT 1000";
/// Whether a host, that one when it is named ($3), has both storages.
const TOGETHER: &str = "SELECT count(*) FROM primary_storage_host a \
     JOIN primary_storage_host b ON b.host_uuid = a.host_uuid \
     WHERE a.primary_storage_uuid = $1 AND b.primary_storage_uuid = $2 \
     AND (CAST($3 AS TEXT) IS NULL OR a.host_uuid = $3)";
pub(super) const OF_NIC: &str = "SELECT m.uuid, m.name, n.uuid FROM vm_instance m \
     JOIN vm_nic n ON n.vm_instance_uuid = m.uuid WHERE n.uuid IN ($*)";
pub(super) const ON_ATTACHED_L2: &str = "SELECT DISTINCT m.uuid, m.name, a.uuid FROM l2_network_cluster a \
     JOIN l3_network l ON l.l2_network_uuid = a.l2_network_uuid \
     OR l.l2_network_uuid IN (SELECT x.uuid FROM vxlan_network x WHERE x.pool_uuid = a.l2_network_uuid) \
     JOIN vm_nic n ON n.l3_network_uuid = l.uuid JOIN vm_instance m ON m.uuid = n.vm_instance_uuid \
     JOIN host h ON h.uuid = m.host_uuid AND h.cluster_uuid = a.cluster_uuid WHERE a.uuid IN ($*)";
pub(super) const ON_ATTACHED_STORAGE: &str = "SELECT DISTINCT m.uuid, m.name, a.uuid \
     FROM primary_storage_cluster a JOIN volume v ON v.primary_storage_uuid = a.primary_storage_uuid \
     JOIN vm_instance m ON m.uuid = v.vm_instance_uuid \
     JOIN host h ON h.uuid = m.host_uuid AND h.cluster_uuid = a.cluster_uuid WHERE a.uuid IN ($*)";
const OUT_OF_REACH: &str = "SELECT m.uuid, h.name, h.status FROM vm_instance m \
     JOIN host h ON h.uuid = m.host_uuid WHERE h.status <> 'Connected' AND m.uuid IN ($*)";
const OFF_HOSTS: &str = "SELECT root_volume_uuid, uuid FROM vm_instance \
     WHERE host_uuid IS NULL AND root_volume_uuid IS NOT NULL AND uuid IN ($*)";
const SIZES: &str = "SELECT vm_instance_uuid, CAST(sum(size) AS BIGINT) FROM volume \
     WHERE type = 'Root' AND vm_instance_uuid IN ($*) GROUP BY vm_instance_uuid";
const NEXT_NUMBER: &str = "UPDATE sequence SET value = value + 1 WHERE name = 'vm' RETURNING value";
const INSERT: &str = "INSERT INTO vm_instance (uuid, internal_id, name, description, image_uuid, \
     instance_offering_uuid, default_l3_network_uuid, platform, architecture, guest_os_type, type, \
     hypervisor_type, cpu_num, cpu_speed, memory_size, reserved_memory_size, allocator_strategy, virtio, \
     root_volume_uuid, zone_uuid, cluster_uuid, host_uuid, state, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'UserVm', $11, $12, $13, $14, $15, $16, $17, \
     $18, $19, $20, $21, 'Starting', $22, $22)";
const PLACE: &str = "UPDATE vm_instance SET zone_uuid = $2, cluster_uuid = $3, host_uuid = $4, \
     last_host_uuid = coalesce(host_uuid, last_host_uuid) WHERE uuid = $1";
/// What runs has not fallen, and what somebody wants to be otherwise need not be raised.
const STATE: &str = "UPDATE vm_instance SET state = $2, last_op_date = $3, \
     fallen = CASE WHEN $2 = 'Running' THEN NULL ELSE fallen END WHERE uuid = $1";
const CHANGE: &str = "UPDATE vm_instance SET state_before = state, state = $2, last_op_date = $4, \
     fallen = CASE WHEN $2 = 'Starting' THEN fallen END WHERE uuid = $1 AND state = $3";
const BACK: &str = "UPDATE vm_instance SET state = coalesce(state_before, 'Unknown'), last_op_date = $2 \
     WHERE uuid = $1 AND state IN ('Starting', 'Stopping', 'Rebooting', 'Pausing', 'Resuming', \
     'Migrating', 'Destroying', 'Expunging')";
const STOPPED: &str = "UPDATE vm_instance SET state = 'Stopped', \
     last_host_uuid = coalesce(host_uuid, last_host_uuid), host_uuid = NULL, last_op_date = $2, \
     cpu_num = coalesce(next_cpu_num, cpu_num), memory_size = coalesce(next_memory_size, memory_size), \
     next_cpu_num = NULL, next_memory_size = NULL WHERE uuid = $1";
const FALLEN: &str = "UPDATE vm_instance SET fallen = coalesce(fallen, $2) WHERE uuid = $1";
const FELLED: &str = "UPDATE vm_instance SET fallen = 'Host' WHERE uuid = $1 AND host_uuid = $2 AND state IN ('Running', 'Paused')";
const UPDATE: &str = "UPDATE vm_instance SET name = coalesce($2, name), \
     description = coalesce($3, description), guest_os_type = coalesce($4, guest_os_type), \
     platform = coalesce($5, platform), last_op_date = $6 WHERE uuid = $1";
const DEFAULT_L3: &str = "UPDATE vm_instance SET default_l3_network_uuid = $2 WHERE uuid = $1";
const ATTACHABLE_NETWORKS: &str = "SELECT l.* FROM l3_network l WHERE l.state = 'Enabled' AND NOT l.deleting \
     AND NOT EXISTS (SELECT 1 FROM vm_nic n WHERE n.vm_instance_uuid = $1 AND n.l3_network_uuid = l.uuid) \
     AND (CAST($2 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM l2_network_attached a \
         WHERE a.l2_network_uuid = l.l2_network_uuid AND a.cluster_uuid = $2)) \
     AND (CAST($3 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM account_resource_ref r \
         WHERE r.resource_uuid = l.uuid AND r.account_uuid = $3) \
         OR EXISTS (SELECT 1 FROM shared_resource s WHERE s.resource_uuid = l.uuid \
             AND (s.to_public OR s.receiver_account_uuid = $3))) ORDER BY l.name, l.uuid LIMIT 1000";
const DELETE: &str = "DELETE FROM vm_instance WHERE uuid = $1";
const MISSING_L2: &str = "SELECT l2.name FROM l3_network l3 JOIN l2_network l2 ON l2.uuid = l3.l2_network_uuid \
     WHERE l3.uuid = $1 AND NOT EXISTS (SELECT 1 FROM l2_network_cluster c \
     WHERE c.l2_network_uuid = l2.uuid AND c.cluster_uuid = $2 AND c.state = 'Attached')";
const NICS: &str = "SELECT * FROM vm_nic WHERE vm_instance_uuid IN ($*) ORDER BY device_id";
const VOLUMES: &str = "SELECT * FROM volume WHERE vm_instance_uuid IN ($*) ORDER BY device_id";
const STANDS_ON: &str = "SELECT v.uuid, v.name, v.state, coalesce(o.generation, 0) AS generation, \
     o.flow IS NOT NULL AS busy FROM vm_instance v LEFT JOIN ownership o ON o.resource = v.uuid \
     WHERE v.host_uuid = $1 ORDER BY v.uuid";
const STANDS_OFF: &str = "SELECT v.uuid, v.name, v.state, coalesce(o.generation, 0) AS generation, \
     o.flow IS NOT NULL AS busy FROM vm_instance v LEFT JOIN ownership o ON o.resource = v.uuid \
     LEFT JOIN volume r ON r.uuid = v.root_volume_uuid WHERE v.uuid IN ($*) AND v.host_uuid IS NULL \
     AND (r.host_uuid IS NULL OR r.host_uuid IN ($*)) ORDER BY v.uuid";
const DESTROYED: &str = "SELECT uuid, name FROM vm_instance WHERE state = 'Destroyed' AND last_op_date < $1";

/// A VM as a look at its host needs it.
#[derive(Clone, Debug, PartialEq, Eq, engine::db::Row)]
pub struct Stand {
    pub uuid: Id<Any>,
    pub name: String,
    pub state: String,
    /// How many flows have owned it: unchanged between two looks means that nothing was done to it.
    pub generation: i64,
    /// A flow works on it.
    pub busy: bool,
}

/// The VMs that are on the host.
pub async fn on_host(tx: &mut Tx, host: Id<Host>) -> Result<Vec<Stand>> {
    tx.all(STANDS_ON, args![host]).await
}

/// Those of `vms` that are on no host, but could be on `host` as far as their disks lie.
pub async fn off_hosts(tx: &mut Tx, host: Id<Host>, vms: &[&str]) -> Result<Vec<Stand>> {
    let mut values: Vec<Value> = vec![host.into()];
    values.extend(vms.iter().map(|vm| (*vm).into()));
    tx.all_of(STANDS_OFF, values).await
}

/// Enters a VM that is to be on `host`, and tells its number.
pub(super) async fn insert(tx: &mut Tx, vm: &Create, host: &HostInventory) -> Result<i64> {
    let number = tx.number(NEXT_NUMBER, args![]).await?;
    let mut row = args![vm.uuid, number, &vm.name, vm.description.as_deref(), vm.image, vm.offering];
    row.extend(args![vm.default_l3, &vm.platform, &vm.architecture, vm.guest_os_type.as_deref()]);
    row.extend(args![&vm.demand.hypervisor, vm.demand.cpu, vm.cpu_speed, vm.demand.memory]);
    row.extend(args![vm.reserved_memory, &vm.strategy, vm.virtio, vm.root_id()]);
    row.extend(args![host.zone_uuid, host.cluster_uuid, host.uuid, Stamp::now()]);
    tx.exec(INSERT, row).await?;
    Ok(number)
}

/// The VM is on this host from now on.
pub(super) async fn place(tx: &mut Tx, vm: Id<VmInstance>, host: &HostInventory) -> Result<()> {
    tx.exec(PLACE, args![vm, host.zone_uuid, host.cluster_uuid, host.uuid]).await?;
    Ok(())
}

/// Sets the state and says so.
pub(super) async fn set_state(tx: &mut Tx, vm: Id<VmInstance>, state: &str) -> Result<()> {
    tx.exec(STATE, args![vm, state, Stamp::now()]).await?;
    tx.emit("/vm/state/changed", vm.cast(), json!({ "state": state })).await
}

/// Enters a transitional state, from one of `from` only.
pub(super) async fn change_state(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    from: &[&str],
    to: &str,
) -> Result<()> {
    let allowed = from.contains(&vm.state.as_str());
    if !allowed || tx.exec(CHANGE, args![vm.uuid, to, &vm.state, Stamp::now()]).await? != 1 {
        let details =
            format!("vm \"{}\" is {}: this can be done when it is {}", vm.name, vm.state, from.join(" or "));
        return Err(codes::STATE.because(details));
    }
    tx.emit("/vm/state/changed", vm.uuid.cast(), json!({ "state": to })).await
}

/// Leaves a transitional state for the one before it.
pub(super) async fn back(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    tx.exec(BACK, args![vm, Stamp::now()]).await?;
    Ok(())
}

/// It is on no host any more, and claims nothing of one.
pub(super) async fn stopped(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    tx.exec(STOPPED, args![vm, Stamp::now()]).await?;
    cd_rom::left(tx, vm).await?;
    host::release(tx, vm.cast()).await?;
    tx.emit("/vm/state/changed", vm.cast(), json!({ "state": "Stopped" })).await
}

/// As [`stopped`], of a VM that nobody has asked to stop.
pub(super) async fn fell(tx: &mut Tx, vm: Id<VmInstance>, why: Fall) -> Result<()> {
    tx.exec(FALLEN, args![vm, why.word()]).await?;
    stopped(tx, vm).await
}

/// The host has killed these, those of them that it has; their records will follow.
pub(super) async fn felled(tx: &mut Tx, host: Id<Host>, vms: &[Id<Any>]) -> Result<()> {
    for vm in vms {
        tx.exec(FELLED, args![*vm, host]).await?;
    }
    Ok(())
}

/// Removes every row of a VM whose disk and domain are gone.
pub(super) async fn expunge(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    nic::remove_all(tx, vm.cast()).await?;
    for volume in volume::data_of(tx, vm.cast()).await? {
        volume::let_go(tx, volume.uuid, vm.cast()).await?;
    }
    forget(tx, vm).await
}

/// Removes the rows of a VM that never came to be.
pub(super) async fn forget(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    volume::forget_of(tx, vm.cast()).await?;
    host::release(tx, vm.cast()).await?;
    tx.exec(DELETE, args![vm]).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, vm: Id<VmInstance>, words: &Words) -> Result<()> {
    let (name, description) = (words.name.as_deref(), words.description.as_deref());
    let (os, platform) = (words.guest_os_type.as_deref(), words.platform.as_deref());
    tx.exec(UPDATE, args![vm, name, description, os, platform, Stamp::now()]).await?;
    Ok(())
}

/// Refuses work on a VM whose host cannot be reached; a VM on no host needs none.
pub(super) async fn on_usable_host(tx: &mut Tx, vm: &VmInstanceInventory) -> Result<()> {
    match vm.host_uuid {
        Some(host) => host::usable(tx, host).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Which of `vms` are on a host that does not answer, or have a disk that nobody can work on; and why.
pub(super) async fn out_of_reach(
    tx: &mut Tx,
    vms: &[Id<Any>],
    disks_too: bool,
) -> Result<Vec<(Id<Any>, String)>> {
    let vms = || vms.iter().map(|id| (*id).into()).collect();
    let silent: Vec<(Id<Any>, String, String)> = tx.all_of(OUT_OF_REACH, vms()).await?;
    let told = |(vm, host, status)| (vm, format!("its host \"{host}\" is {status}: reconnect it first"));
    let mut found: Vec<_> = silent.into_iter().map(told).collect();
    if disks_too {
        let roots: HashMap<Id<Any>, Id<Any>> = tx.all_of(OFF_HOSTS, vms()).await?.into_iter().collect();
        let asked: Vec<Id<Any>> = roots.keys().copied().collect();
        let lost = volume::out_of_reach(tx, &asked).await?;
        found.extend(lost.into_iter().filter_map(|(root, reason)| Some((*roots.get(&root)?, reason))));
    }
    Ok(found)
}

/// The bytes of the disk of each of `vms`, which goes with it.
pub(super) async fn sizes(tx: &mut Tx, vms: &[Id<Any>]) -> Result<Vec<(Id<Any>, i64)>> {
    tx.all_of(SIZES, vms.iter().map(|id| (*id).into()).collect()).await
}

/// The name of an L2 network that the VM needs and the host's cluster has not.
pub(super) async fn missing_l2(
    tx: &mut Tx,
    host: &HostInventory,
    l3_networks: &[Id<L3Network>],
) -> Result<Option<String>> {
    for l3 in l3_networks {
        if let Some((name,)) = tx.opt(MISSING_L2, args![*l3, host.cluster_uuid]).await? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

pub(super) async fn nics(tx: &mut Tx, vms: Vec<Value>) -> Result<Vec<VmNicInventory>> {
    tx.all_of(NICS, vms).await
}

pub(super) async fn volumes(tx: &mut Tx, vms: Vec<Value>) -> Result<Vec<VolumeInventory>> {
    tx.all_of(VOLUMES, vms).await
}

pub(super) async fn destroyed_before(tx: &mut Tx, limit: Stamp) -> Result<Vec<(Id<VmInstance>, String)>> {
    tx.all(DESTROYED, args![limit]).await
}

/// Makes a destroyed VM a stopped one again.
pub(super) async fn recover(tx: &mut Tx, uuid: Id<Any>) -> Result<()> {
    let vm: VmInstanceInventory = find(tx, uuid).await?;
    change_state(tx, &vm, &["Destroyed"], "Stopped").await?;
    quota::check(tx, uuid, &[(&TOTAL_NUM, 1)]).await
}

/// Data volumes, of `account` when one is named, that the VM can have.
pub(super) async fn attachable_volumes(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    account: Option<Id<Any>>,
) -> Result<Vec<VolumeInventory>> {
    let root = volume::root_of(tx, vm.uuid.cast()).await?;
    let bound = root.host_uuid.or(vm.host_uuid);
    tx.all(ATTACHABLE_VOLUMES, args![root.host_uuid, account, root.primary_storage_uuid, bound]).await
}

/// VMs, of `account` when one is named, that can have the data volume.
pub(super) async fn attaching_vms(
    tx: &mut Tx,
    volume: &VolumeInventory,
    account: Option<Id<Any>>,
) -> Result<Vec<VmInstanceInventory>> {
    let shared = volume.primary_storage_uuid.filter(|_| volume.host_uuid.is_none());
    tx.all(ATTACHING_VMS, args![volume.host_uuid, account, shared]).await
}

/// Whether the VM, which can be on the host `bound` only when there is one, could use the shared storage.
pub(super) async fn reaches(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    bound: Option<Id<Host>>,
    storage: Id<PrimaryStorage>,
) -> Result<bool> {
    let root = volume::root_of(tx, vm.uuid.cast()).await?.primary_storage_uuid;
    let bound = vm.host_uuid.or(bound);
    Ok(tx.number(TOGETHER, args![storage, root, bound]).await? > 0)
}

/// The network that the VM's names and routes come from.
pub(super) async fn set_default_l3(tx: &mut Tx, vm: Id<VmInstance>, l3: Option<Id<L3Network>>) -> Result<()> {
    tx.exec(DEFAULT_L3, args![vm, l3]).await?;
    Ok(())
}

/// Networks, that `account` may use when one is named, in which the VM has no NIC and could have one.
pub(super) async fn attachable_networks(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    account: Option<Id<Any>>,
) -> Result<Vec<L3NetworkInventory>> {
    tx.all(ATTACHABLE_NETWORKS, args![vm.uuid, vm.cluster_uuid, account]).await
}
