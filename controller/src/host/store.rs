use engine::db::{Tx, Value};
use engine::inventory::find;
use engine::{Any, Id, Result, Stamp, args, codes};
use wire::tls::Role;

use super::add::Add;
use super::api::UpdateHost;
use super::driver::Facts;
use super::{CPU_RATIO, Host, HostInventory, RESERVED_MEMORY, tag};
use crate::cluster::ClusterInventory;
use crate::machine;

pub(super) const IN_CLUSTER: &str = "SELECT uuid, name, cluster_uuid FROM host WHERE cluster_uuid IN ($*)";
const INSERT: &str = "INSERT INTO host (uuid, name, description, zone_uuid, cluster_uuid, management_ip, \
     hypervisor_type, state, status, username, ssh_port, cpu_num, cpu_sockets, cpu_speed, total_cpu, \
     total_memory, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, 'Enabled', 'Connecting', $8, $9, 0, 0, 0, 0, 0, $10, $10)";
const TAKEN: &str = "SELECT name FROM host WHERE management_ip = $1";
const KNOW: &str = "UPDATE host SET cpu_num = $2, cpu_sockets = $3, cpu_speed = $4, total_cpu = $5, \
     total_memory = $6, architecture = $7, os_distribution = $8, os_release = $9, os_version = $10, \
     virt_type = $11, last_op_date = $12 WHERE uuid = $1";
const STATUS: &str = "UPDATE host SET status = $2, last_op_date = $3 WHERE uuid = $1 AND status <> $2";
const STATE: &str = "UPDATE host SET state = $2, last_op_date = $3 WHERE uuid = $1";
const UPDATE: &str = "UPDATE host SET name = coalesce($2, name), description = coalesce($3, description), \
     management_ip = coalesce($4, management_ip), last_op_date = $5 WHERE uuid = $1";
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
     AND h.status = 'Connected' AND h.available_cpu_capacity >= $3 AND h.available_memory_capacity - $5 >= $4";
const CLAIM_AS_IT_IS: &str = "INSERT INTO host_claim (vm_instance_uuid, host_uuid, cpu, memory) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (vm_instance_uuid) DO UPDATE SET host_uuid = excluded.host_uuid, \
     cpu = excluded.cpu, memory = excluded.memory";
const CONNECTED: &str = "SELECT * FROM host_view WHERE status = 'Connected' \
     AND state NOT IN ('PreMaintenance', 'Maintenance') ORDER BY uuid";
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
    Ok(())
}

pub(super) async fn know(tx: &mut Tx, uuid: Id<Host>, facts: &Facts) -> Result<()> {
    let number = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let cpus = facts.cpu_num * tx.engine().setting(&CPU_RATIO).unsigned_abs();
    let mut row = vec![uuid.into(), number(facts.cpu_num), facts.cpu_sockets.into()];
    row.extend([number(facts.cpu_speed), number(cpus), number(facts.total_memory)]);
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

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<Host>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, host: &UpdateHost) -> Result<()> {
    let (name, description) = (host.name.as_deref(), host.description.as_deref());
    tx.exec(UPDATE, args![host.uuid, name, description, host.management_ip.as_deref(), Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<Host>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}

pub(super) async fn at_address(tx: &mut Tx, ip: &str) -> Result<Option<HostInventory>> {
    tx.opt(AT_ADDRESS, args![ip]).await
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
    let reserved = tx.engine().setting(&RESERVED_MEMORY);
    Ok(tx.exec(CLAIM, args![vm, host, cpu, memory, reserved]).await? == 1)
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

pub async fn release(tx: &mut Tx, vm: Id<Any>) -> Result<()> {
    tx.exec(RELEASE, args![vm]).await?;
    Ok(())
}
