use engine::db::{Tx, Value};
use engine::inventory::find;
use engine::{Any, Id, Result, Stamp, args, codes};
use wire::tls::Role;

use super::add::Add;
use super::api::UpdateHost;
use super::driver::Facts;
use super::{Host, HostInventory, tag};
use crate::cluster::ClusterInventory;
use crate::machine;

pub(super) const IN_CLUSTER: &str = "SELECT uuid, name, cluster_uuid FROM host WHERE cluster_uuid IN ($*)";
/// A host and what it lies in, for settings.
pub(super) const LADDER: &str = "SELECT uuid FROM (SELECT uuid, 0 AS far FROM host WHERE uuid = $1 \
     UNION ALL SELECT cluster_uuid, 1 FROM host WHERE uuid = $1 \
     UNION ALL SELECT zone_uuid, 2 FROM host WHERE uuid = $1) x ORDER BY far";
/// The nearest value of each setting, nothing where the whole cloud's holds.
const ALLOW: &str = "UPDATE host SET \
     cpu_ratio = coalesce( \
        (SELECT CAST(c.value AS BIGINT) FROM resource_config c WHERE c.resource_uuid = host.uuid \
            AND c.category = 'host' AND c.name = 'cpu.overProvisioning.ratio'), \
        (SELECT CAST(c.value AS BIGINT) FROM resource_config c WHERE c.resource_uuid = host.cluster_uuid \
            AND c.category = 'host' AND c.name = 'cpu.overProvisioning.ratio'), \
        (SELECT CAST(c.value AS BIGINT) FROM resource_config c WHERE c.resource_uuid = host.zone_uuid \
            AND c.category = 'host' AND c.name = 'cpu.overProvisioning.ratio')), \
     memory_percent = coalesce( \
        (SELECT CAST(round(CAST(c.value AS NUMERIC) * 100) AS BIGINT) FROM resource_config c WHERE c.resource_uuid = host.uuid \
            AND c.category = 'mevoco' AND c.name = 'overProvisioning.memory'), \
        (SELECT CAST(round(CAST(c.value AS NUMERIC) * 100) AS BIGINT) FROM resource_config c WHERE c.resource_uuid = host.cluster_uuid \
            AND c.category = 'mevoco' AND c.name = 'overProvisioning.memory'), \
        (SELECT CAST(round(CAST(c.value AS NUMERIC) * 100) AS BIGINT) FROM resource_config c WHERE c.resource_uuid = host.zone_uuid \
            AND c.category = 'mevoco' AND c.name = 'overProvisioning.memory')), \
     reserved_memory = coalesce( \
        (SELECT CAST(c.value AS BIGINT) FROM resource_config c WHERE c.resource_uuid = host.uuid \
            AND c.category = 'kvm' AND c.name = 'reservedMemory'), \
        (SELECT CAST(c.value AS BIGINT) FROM resource_config c WHERE c.resource_uuid = host.cluster_uuid \
            AND c.category = 'kvm' AND c.name = 'reservedMemory'), \
        (SELECT CAST(c.value AS BIGINT) FROM resource_config c WHERE c.resource_uuid = host.zone_uuid \
            AND c.category = 'kvm' AND c.name = 'reservedMemory')) \
     WHERE uuid = $1 OR cluster_uuid = $1 OR zone_uuid = $1";
const INSERT: &str = "INSERT INTO host (uuid, name, description, zone_uuid, cluster_uuid, management_ip, \
     hypervisor_type, state, status, username, ssh_port, cpu_num, cpu_sockets, cpu_speed, total_memory, \
     create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, 'Enabled', 'Connecting', $8, $9, 0, 0, 0, 0, $10, $10)";
const TAKEN: &str = "SELECT name FROM host WHERE management_ip = $1";
const KNOW: &str = "UPDATE host SET cpu_num = $2, cpu_sockets = $3, cpu_speed = $4, \
     total_memory = $5, architecture = $6, os_distribution = $7, os_release = $8, os_version = $9, \
     virt_type = $10, last_op_date = $11 WHERE uuid = $1";
const STATUS: &str = "UPDATE host SET status = $2, last_op_date = $3, \
     connections = connections + CASE WHEN $2 = 'Connected' THEN 1 ELSE 0 END WHERE uuid = $1 AND status <> $2";
const CONNECTIONS: &str = "SELECT connections FROM host WHERE uuid = $1";
const STATE: &str = "UPDATE host SET state = $2, last_op_date = $3 WHERE uuid = $1";
const UPDATE: &str = "UPDATE host SET name = coalesce($2, name), description = coalesce($3, description), \
     management_ip = coalesce($4, management_ip), last_op_date = $5 WHERE uuid = $1";
const LOGIN: &str = "UPDATE host SET username = coalesce($2, username), \
     ssh_port = coalesce($3, ssh_port) WHERE uuid = $1";
const MACHINE: &str = "UPDATE host SET machine_uuid = $2 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM host WHERE uuid = $1";
const AT_ADDRESS: &str = "SELECT * FROM host_view WHERE management_ip = $1";
/// Of lost hosts and of those whose machine was revoked heartbeats say nothing.
const PINGED: &str = "SELECT uuid, (status = 'Connected' AND (machine_uuid IS NULL OR machine_uuid NOT IN \
     (SELECT uuid FROM machine WHERE state = 'Revoked'))) AS believed FROM host \
     WHERE status <> 'Connecting' AND state NOT IN ('PreMaintenance', 'Maintenance')";
const PINGABLE: &str = "SELECT * FROM host_view WHERE uuid = $1 AND status <> 'Connecting' \
     AND state NOT IN ('PreMaintenance', 'Maintenance')";
const FIRST_SECRET: &str =
    "INSERT INTO secret (name, value) VALUES ('heartbeat', $1) ON CONFLICT (name) DO NOTHING";
const SECRET: &str = "SELECT value FROM secret WHERE name = 'heartbeat'";
/// Takes what is there; the guard and the claim are one statement, so a race has one winner.
const CLAIM: &str = "INSERT INTO host_claim (vm_instance_uuid, host_uuid, cpu, memory) \
     SELECT $1, h.uuid, $3, $4 FROM host_view h WHERE h.uuid = $2 AND h.state = 'Enabled' \
     AND h.status = 'Connected' AND h.cpu_room >= $3 AND h.memory_room >= $4";
const CLAIM_AS_IT_IS: &str = "INSERT INTO host_claim (vm_instance_uuid, host_uuid, cpu, memory) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (vm_instance_uuid) DO UPDATE SET host_uuid = excluded.host_uuid, \
     cpu = excluded.cpu, memory = excluded.memory";
/// As [`CLAIM`], for a VM that has another host still.
const CLAIM_FOR_MOVE: &str = "INSERT INTO vm_move (vm_instance_uuid, host_uuid, cpu, memory) \
     SELECT $1, h.uuid, $3, $4 FROM host_view h WHERE h.uuid = $2 AND h.state = 'Enabled' \
     AND h.status = 'Connected' AND h.cpu_room >= $3 AND h.memory_room >= $4";
const RELEASE_MOVE: &str = "DELETE FROM vm_move WHERE vm_instance_uuid = $1";
const ROOM: &str = "SELECT cpu_room, memory_room FROM host_view WHERE uuid = $1";
const CONNECTED: &str = "SELECT * FROM host_view WHERE status = 'Connected' \
     AND state NOT IN ('PreMaintenance', 'Maintenance') ORDER BY uuid";
/// More of the host that the VM is on, when it has it.
const GROW: &str = "UPDATE host_claim SET cpu = $2, memory = $3 WHERE vm_instance_uuid = $1 \
     AND EXISTS (SELECT 1 FROM host_view h WHERE h.uuid = host_claim.host_uuid \
     AND h.cpu_room >= $2 - host_claim.cpu AND h.memory_room >= $3 - host_claim.memory)";
const SHRINK: &str = "UPDATE host_claim SET cpu = $2, memory = $3 WHERE vm_instance_uuid = $1";
const LEAVE_ROOM: &str = "UPDATE host_claim SET most_cpu = $2, most_memory = $3 WHERE vm_instance_uuid = $1";
const GROWTH: &str = "SELECT most_cpu, most_memory FROM host_claim WHERE vm_instance_uuid = $1 \
     AND most_cpu IS NOT NULL AND most_memory IS NOT NULL";
const RELEASE: &str = "DELETE FROM host_claim WHERE vm_instance_uuid = $1";

pub(super) async fn insert(tx: &mut Tx, host: &Add, cluster: &ClusterInventory) -> Result<()> {
    if let Some((name,)) = tx.opt::<(String,)>(TAKEN, args![&host.management_ip]).await? {
        let details = format!("host \"{name}\" has the address {} already", host.management_ip);
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    let mut row = args![host.uuid, &host.name, host.description.as_deref(), cluster.zone_uuid];
    row.extend(args![cluster.uuid, &host.management_ip, &cluster.hypervisor_type]);
    row.extend(args![&host.username, host.ssh_port, Stamp::now()]);
    tx.exec(INSERT, row).await?;
    allow(tx, host.uuid.cast()).await
}

/// Takes over what settings allow the host of this uuid, or those of the cluster or zone.
pub(super) async fn allow(tx: &mut Tx, above: Id<Any>) -> Result<()> {
    tx.exec(ALLOW, args![above]).await?;
    Ok(())
}

pub(super) async fn know(tx: &mut Tx, uuid: Id<Host>, facts: &Facts) -> Result<()> {
    let number = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let mut row = vec![uuid.into(), number(facts.cpu_num), facts.cpu_sockets.into()];
    row.extend([number(facts.cpu_speed), number(facts.total_memory)]);
    row.extend(args![&facts.architecture, &facts.os_distribution, &facts.os_release, &facts.os_version]);
    row.extend(args![&facts.virt_type, Stamp::now()]);
    tx.exec(KNOW, row).await?;
    for (tag, fact) in [
        (&tag::QEMU_IMG, &facts.qemu_img_version),
        (&tag::LIBVIRT, &facts.libvirt_version),
        (&tag::HVM_CPU_FLAG, &facts.hvm_cpu_flag),
    ] {
        match fact.is_empty() {
            true => engine::tag::drop_inherent(tx, tag, uuid.cast()).await?,
            false => engine::tag::enter_inherent(tx, tag, uuid.cast(), &[fact]).await?,
        }
    }
    Ok(())
}

/// Finds out which machine it is, and remembers it.
pub(super) async fn identify(tx: &mut Tx, uuid: Id<Host>) -> Result<()> {
    let host: HostInventory = find(tx, uuid).await?;
    let machine = machine::at(tx, &host.management_ip, Role::Host).await?;
    tx.exec(MACHINE, args![uuid, machine]).await?;
    Ok(())
}

/// Whether it changed.
pub(super) async fn set_status(tx: &mut Tx, uuid: Id<Host>, status: &str) -> Result<bool> {
    Ok(tx.exec(STATUS, args![uuid, status, Stamp::now()]).await? == 1)
}

/// How often it was connected so far.
pub async fn connections(tx: &mut Tx, uuid: Id<Host>) -> Result<i64> {
    tx.number(CONNECTIONS, args![uuid]).await
}

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<Host>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, host: &UpdateHost) -> Result<()> {
    let (name, description) = (host.name.as_deref(), host.description.as_deref());
    tx.exec(UPDATE, args![host.uuid, name, description, host.management_ip.as_deref(), Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_login(
    tx: &mut Tx,
    uuid: Id<Host>,
    username: Option<&str>,
    ssh_port: Option<u16>,
) -> Result<()> {
    tx.exec(LOGIN, args![uuid, username, ssh_port.map(i64::from)]).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<Host>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}

pub(super) async fn at_address(tx: &mut Tx, ip: &str) -> Result<Option<HostInventory>> {
    tx.opt(AT_ADDRESS, args![ip]).await
}

/// What VMs may still claim of a host.
#[derive(Clone, Copy, Debug, engine::db::Row)]
pub struct Room {
    pub cpu_room: i64,
    /// Bytes.
    pub memory_room: i64,
}

pub async fn room(tx: &mut Tx, host: Id<Host>) -> Result<Room> {
    tx.one(ROOM, args![host]).await
}

/// A host that is pinged unless it is heard.
#[derive(engine::db::Row)]
pub(super) struct Pinged {
    pub uuid: Id<Host>,
    /// Its heartbeats are.
    pub believed: bool,
}

/// All of them, and no more of each than is needed: there may be very many.
pub(super) async fn pinged(tx: &mut Tx) -> Result<Vec<Pinged>> {
    tx.all(PINGED, args![]).await
}

/// The host, unless it is not to be pinged now.
pub(super) async fn pingable(tx: &mut Tx, uuid: Id<Host>) -> Result<Option<HostInventory>> {
    tx.opt(PINGABLE, args![uuid]).await
}

/// What all controllers derive the hosts' keys from; `fresh` when there is none yet.
pub(super) async fn heartbeat_secret(tx: &mut Tx, fresh: String) -> Result<String> {
    tx.exec(FIRST_SECRET, args![fresh]).await?;
    Ok(tx.one::<(String,)>(SECRET, args![]).await?.0)
}

/// A host that commands may be sent to, or why not.
pub async fn usable(tx: &mut Tx, uuid: Id<Host>) -> Result<HostInventory> {
    let host: HostInventory = find(tx, uuid).await?;
    match host.is_connected() {
        true => Ok(host),
        false => Err(codes::STATE.because(format!(
            "host \"{}\" is {}: wait until it is connected again, or reconnect it",
            host.name, host.status
        ))),
    }
}

/// Claims CPU and memory (bytes) of `host` for `vm`; false when it has not enough or takes no VMs.
pub async fn claim(tx: &mut Tx, vm: Id<Any>, host: Id<Host>, cpu: i64, memory: i64) -> Result<bool> {
    Ok(tx.exec(CLAIM, args![vm, host, cpu, memory]).await? == 1)
}

/// Claims CPU and memory (bytes) of the host that `vm` is about to move to; false when it has not enough.
pub async fn claim_for_move(tx: &mut Tx, vm: Id<Any>, host: Id<Host>, cpu: i64, memory: i64) -> Result<bool> {
    Ok(tx.exec(CLAIM_FOR_MOVE, args![vm, host, cpu, memory]).await? == 1)
}

/// It moves nowhere, or is there.
pub async fn release_move(tx: &mut Tx, vm: Id<Any>) -> Result<()> {
    tx.exec(RELEASE_MOVE, args![vm]).await?;
    Ok(())
}

/// Claims what a VM that was found running takes, whether or not there is room for it.
pub async fn claim_as_it_is(tx: &mut Tx, vm: Id<Any>, host: Id<Host>, cpu: i64, memory: i64) -> Result<()> {
    tx.exec(CLAIM_AS_IT_IS, args![vm, host, cpu, memory]).await?;
    Ok(())
}

/// The hosts that answer and are not being maintained.
pub async fn connected(tx: &mut Tx) -> Result<Vec<HostInventory>> {
    tx.all(CONNECTED, args![]).await
}

/// Claims so much in all for a VM that is on a host; false when that has not enough.
pub async fn grow(tx: &mut Tx, vm: Id<Any>, cpu: i64, memory: i64) -> Result<bool> {
    Ok(tx.exec(GROW, args![vm, cpu, memory]).await? == 1)
}

/// Gives back what a VM does not take after all.
pub async fn shrink(tx: &mut Tx, vm: Id<Any>, cpu: i64, memory: i64) -> Result<()> {
    tx.exec(SHRINK, args![vm, cpu, memory]).await?;
    Ok(())
}

/// The VM may be given so much while it runs.
pub async fn leave_room(tx: &mut Tx, vm: Id<Any>, cpu: i64, memory: i64) -> Result<()> {
    tx.exec(LEAVE_ROOM, args![vm, cpu, memory]).await?;
    Ok(())
}

/// The CPUs and memory that the VM may be given while it runs; none when it cannot be given more.
pub async fn growth(tx: &mut Tx, vm: Id<Any>) -> Result<Option<(i64, i64)>> {
    tx.opt(GROWTH, args![vm]).await
}

pub async fn release(tx: &mut Tx, vm: Id<Any>) -> Result<()> {
    tx.exec(RELEASE, args![vm]).await?;
    Ok(())
}
