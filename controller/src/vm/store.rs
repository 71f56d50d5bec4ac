use engine::db::{Tx, Value};
use engine::inventory::find;
use engine::{Any, Id, Result, Stamp, args, codes, quota};
use serde_json::json;

use super::allocate::{Demand, Page};
use super::api::UpdateVmInstance;
use super::create::Create;
use super::{TOTAL_NUM, VmInstance, VmInstanceInventory};
use crate::host::{self, Host, HostInventory, RESERVED_MEMORY};
use crate::l3::L3Network;
use crate::nic::{self, VmNicInventory};
use crate::volume::{self, Volume, VolumeInventory};

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
     JOIN volume v ON v.vm_instance_uuid = m.uuid WHERE v.host_uuid IN ($*)";
pub(super) const ON_STORAGE: &str = "SELECT DISTINCT m.uuid, m.name, v.primary_storage_uuid FROM vm_instance m \
     JOIN volume v ON v.vm_instance_uuid = m.uuid WHERE v.primary_storage_uuid IN ($*)";
pub(super) const OF_NIC: &str = "SELECT m.uuid, m.name, n.uuid FROM vm_instance m \
     JOIN vm_nic n ON n.vm_instance_uuid = m.uuid WHERE n.uuid IN ($*)";
pub(super) const ON_ATTACHED_L2: &str = "SELECT DISTINCT m.uuid, m.name, a.uuid FROM l2_network_cluster a \
     JOIN l3_network l ON l.l2_network_uuid = a.l2_network_uuid JOIN vm_nic n ON n.l3_network_uuid = l.uuid \
     JOIN vm_instance m ON m.uuid = n.vm_instance_uuid \
     JOIN host h ON h.uuid = m.host_uuid AND h.cluster_uuid = a.cluster_uuid WHERE a.uuid IN ($*)";
pub(super) const ON_ATTACHED_STORAGE: &str = "SELECT DISTINCT m.uuid, m.name, a.uuid \
     FROM primary_storage_cluster a JOIN volume v ON v.primary_storage_uuid = a.primary_storage_uuid \
     JOIN vm_instance m ON m.uuid = v.vm_instance_uuid \
     JOIN host h ON h.uuid = m.host_uuid AND h.cluster_uuid = a.cluster_uuid WHERE a.uuid IN ($*)";
const OUT_OF_REACH: &str = "SELECT m.uuid, h.name, h.status FROM vm_instance m \
     JOIN host h ON h.uuid = m.host_uuid WHERE h.status <> 'Connected' AND m.uuid IN ($*)";
const DISK_OUT_OF_REACH: &str = "SELECT m.uuid, h.name, h.status FROM vm_instance m \
     JOIN volume v ON v.vm_instance_uuid = m.uuid JOIN host h ON h.uuid = v.host_uuid \
     WHERE m.host_uuid IS NULL AND h.status <> 'Connected' AND m.uuid IN ($*)";
const SIZES: &str = "SELECT vm_instance_uuid, CAST(sum(size) AS BIGINT) FROM volume \
     WHERE vm_instance_uuid IN ($*) GROUP BY vm_instance_uuid";
const NEXT_NUMBER: &str = "UPDATE sequence SET value = value + 1 WHERE name = 'vm' RETURNING value";
const INSERT: &str = "INSERT INTO vm_instance (uuid, internal_id, name, description, image_uuid, \
     instance_offering_uuid, default_l3_network_uuid, platform, architecture, guest_os_type, type, \
     hypervisor_type, cpu_num, cpu_speed, memory_size, reserved_memory_size, allocator_strategy, virtio, \
     state, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'UserVm', $11, $12, $13, $14, $15, $16, $17, \
     'Starting', $18, $18)";
const PLACE: &str = "UPDATE vm_instance SET zone_uuid = $2, cluster_uuid = $3, host_uuid = $4, \
     last_host_uuid = coalesce(host_uuid, last_host_uuid) WHERE uuid = $1";
const ROOT: &str = "UPDATE vm_instance SET root_volume_uuid = $2 WHERE uuid = $1";
const STATE: &str = "UPDATE vm_instance SET state = $2, last_op_date = $3 WHERE uuid = $1";
const CHANGE: &str = "UPDATE vm_instance SET state_before = state, state = $2, last_op_date = $4 \
     WHERE uuid = $1 AND state = $3";
const BACK: &str = "UPDATE vm_instance SET state = coalesce(state_before, 'Unknown'), last_op_date = $2 \
     WHERE uuid = $1 AND state IN ('Starting', 'Stopping', 'Rebooting', 'Pausing', 'Resuming', \
     'Destroying', 'Expunging')";
const STOPPED: &str = "UPDATE vm_instance SET state = 'Stopped', \
     last_host_uuid = coalesce(host_uuid, last_host_uuid), host_uuid = NULL, last_op_date = $2 \
     WHERE uuid = $1";
const UPDATE: &str = "UPDATE vm_instance SET name = coalesce($2, name), \
     description = coalesce($3, description), guest_os_type = coalesce($4, guest_os_type), \
     platform = coalesce($5, platform), last_op_date = $6 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM vm_instance WHERE uuid = $1";
/// The order of tables is the order of reading: the first hosts that fit are the ones.
const EMPTIEST: &str = "SELECT h.uuid FROM host_usage u CROSS JOIN host h CROSS JOIN cluster c \
     CROSS JOIN zone z WHERE h.uuid = u.host_uuid AND c.uuid = h.cluster_uuid AND z.uuid = h.zone_uuid \
     AND h.state = 'Enabled' AND h.status = 'Connected' AND c.state = 'Enabled' AND z.state = 'Enabled' \
     AND (CAST($1 AS TEXT) IS NULL OR h.zone_uuid = $1) AND (CAST($2 AS TEXT) IS NULL OR h.cluster_uuid = $2) \
     AND h.hypervisor_type = $3 AND h.total_cpu - u.cpu >= $4 AND h.total_memory - u.memory - $6 >= $5 \
     ORDER BY u.vms, u.host_uuid LIMIT $7 OFFSET $8";
const THAT_HOST: &str = "SELECT h.uuid FROM host h JOIN cluster c ON c.uuid = h.cluster_uuid \
     JOIN zone z ON z.uuid = h.zone_uuid WHERE h.uuid = $1 AND c.state = 'Enabled' AND z.state = 'Enabled' \
     AND (CAST($2 AS TEXT) IS NULL OR h.zone_uuid = $2) AND (CAST($3 AS TEXT) IS NULL OR h.cluster_uuid = $3)";
const SCOPE: &str = "SELECT h.* FROM host_view h JOIN cluster c ON c.uuid = h.cluster_uuid \
     JOIN zone z ON z.uuid = h.zone_uuid WHERE c.state = 'Enabled' AND z.state = 'Enabled' \
     AND (CAST($1 AS TEXT) IS NULL OR h.zone_uuid = $1) AND (CAST($2 AS TEXT) IS NULL OR h.cluster_uuid = $2) \
     AND (CAST($3 AS TEXT) IS NULL OR h.uuid = $3) LIMIT 100";
const SCOPE_SIZE: &str = "SELECT count(*) FROM host h JOIN cluster c ON c.uuid = h.cluster_uuid \
     JOIN zone z ON z.uuid = h.zone_uuid WHERE c.state = 'Enabled' AND z.state = 'Enabled' \
     AND (CAST($1 AS TEXT) IS NULL OR h.zone_uuid = $1) AND (CAST($2 AS TEXT) IS NULL OR h.cluster_uuid = $2) \
     AND (CAST($3 AS TEXT) IS NULL OR h.uuid = $3)";
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

pub(super) async fn insert(tx: &mut Tx, vm: &Create) -> Result<()> {
    let number = tx.number(NEXT_NUMBER, args![]).await?;
    let mut row = args![vm.uuid, number, &vm.name, vm.description.as_deref(), vm.image, vm.offering];
    row.extend(args![vm.default_l3, &vm.platform, &vm.architecture, vm.guest_os_type.as_deref()]);
    row.extend(args![&vm.demand.hypervisor, vm.demand.cpu, vm.cpu_speed, vm.demand.memory]);
    row.extend(args![vm.reserved_memory, &vm.strategy, vm.virtio, Stamp::now()]);
    tx.exec(INSERT, row).await?;
    Ok(())
}

/// The VM is on this host from now on.
pub(super) async fn place(tx: &mut Tx, vm: Id<VmInstance>, host: &HostInventory) -> Result<()> {
    tx.exec(PLACE, args![vm, host.zone_uuid, host.cluster_uuid, host.uuid]).await?;
    Ok(())
}

pub(super) async fn set_root(tx: &mut Tx, vm: Id<VmInstance>, root: Id<Volume>) -> Result<()> {
    tx.exec(ROOT, args![vm, root]).await?;
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
    host::release(tx, vm.cast()).await?;
    tx.emit("/vm/state/changed", vm.cast(), json!({ "state": "Stopped" })).await
}

/// Removes every row of a VM whose disk and domain are gone.
pub(super) async fn expunge(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    nic::remove_all(tx, vm.cast()).await?;
    forget(tx, vm).await
}

/// Removes the rows of a VM that never came to be.
pub(super) async fn forget(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    if let Ok(root) = volume::root_of(tx, vm.cast()).await {
        volume::delete(tx, root.uuid).await?;
    }
    host::release(tx, vm.cast()).await?;
    tx.exec(DELETE, args![vm]).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, vm: &UpdateVmInstance) -> Result<()> {
    let (name, description) = (vm.name.as_deref(), vm.description.as_deref());
    let (os, platform) = (vm.guest_os_type.as_deref(), vm.platform.map(|platform| platform.name()));
    tx.exec(UPDATE, args![vm.uuid, name, description, os, platform, Stamp::now()]).await?;
    Ok(())
}

/// Refuses work on a VM whose host cannot be reached; a VM on no host needs none.
pub(super) async fn on_usable_host(tx: &mut Tx, vm: &VmInstanceInventory) -> Result<()> {
    match vm.host_uuid {
        Some(host) => host::usable(tx, host).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Which of `vms` are on a host that does not answer, or have their disk there; and which host, how it is.
pub(super) async fn out_of_reach(
    tx: &mut Tx,
    vms: &[Id<Any>],
    disks_too: bool,
) -> Result<Vec<(Id<Any>, String, String)>> {
    let vms = || vms.iter().map(|id| (*id).into()).collect();
    let mut found = tx.all_of(OUT_OF_REACH, vms()).await?;
    if disks_too {
        found.extend(tx.all_of(DISK_OUT_OF_REACH, vms()).await?);
    }
    Ok(found)
}

/// The bytes of the volumes of each of `vms`.
pub(super) async fn sizes(tx: &mut Tx, vms: &[Id<Any>]) -> Result<Vec<(Id<Any>, i64)>> {
    tx.all_of(SIZES, vms.iter().map(|id| (*id).into()).collect()).await
}

/// Those in scope that have the room, the one with the fewest VMs first.
pub(super) async fn emptiest_hosts(tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Id<Host>>> {
    let reserved = tx.engine().setting(&RESERVED_MEMORY);
    let mut values = args![demand.zone, demand.cluster, &demand.hypervisor, demand.cpu, demand.memory];
    values.extend(args![reserved, page.limit, page.skip]);
    Ok(tx.all::<(Id<Host>,)>(EMPTIEST, values).await?.into_iter().map(|(host,)| host).collect())
}

/// The host, if it is in scope.
pub(super) async fn that_host(tx: &mut Tx, demand: &Demand, host: Id<Host>) -> Result<Vec<Id<Host>>> {
    let found: Option<(Id<Host>,)> = tx.opt(THAT_HOST, args![host, demand.zone, demand.cluster]).await?;
    Ok(found.into_iter().map(|(host,)| host).collect())
}

/// Some of the hosts that the VM might be on, whatever their state.
pub(super) async fn some_in_scope(tx: &mut Tx, demand: &Demand) -> Result<Vec<HostInventory>> {
    tx.all(SCOPE, args![demand.zone, demand.cluster, demand.host]).await
}

/// How many there are of them.
pub(super) async fn count_in_scope(tx: &mut Tx, demand: &Demand) -> Result<usize> {
    let count = tx.number(SCOPE_SIZE, args![demand.zone, demand.cluster, demand.host]).await?;
    Ok(usize::try_from(count).unwrap_or(0))
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
