use engine::db::{Tx, Value};
use engine::{Any, Id, Result, args};

use super::{Assigned, Lease, NetworkServiceL3NetworkRefInventory, called};
use crate::host::{Host, HostInventory};
use crate::l3::L3Network;

const ASSIGNED: &str = "SELECT s.network_service_type AS service, p.type AS provider \
     FROM l3_network_service s JOIN network_service_provider p ON p.uuid = s.network_service_provider_uuid \
     WHERE s.l3_network_uuid = $1 ORDER BY s.network_service_type";
const OF_ALL: &str = "SELECT l3_network_uuid, network_service_provider_uuid, network_service_type \
     FROM l3_network_service WHERE l3_network_uuid IN ($*) ORDER BY network_service_type";
const ATTACH: &str = "INSERT INTO l3_network_service (l3_network_uuid, network_service_provider_uuid, \
     network_service_type) SELECT $1, p.uuid, $2 FROM network_service_provider p WHERE p.type = $3 \
     ON CONFLICT (l3_network_uuid, network_service_type) DO NOTHING";
const DETACH: &str = "DELETE FROM l3_network_service WHERE l3_network_uuid = $1 AND network_service_type = $2 \
     AND network_service_provider_uuid IN (SELECT uuid FROM network_service_provider WHERE type = $3)";
const CLEAR: &str = "DELETE FROM l3_network_service WHERE l3_network_uuid = $1";
const PROVIDER: &str = "SELECT type FROM network_service_provider WHERE uuid = $1 OR type = $1";
const PROVIDERS: &str = "SELECT uuid, type FROM network_service_provider ORDER BY type";
const L2_NETWORKS: &str = "SELECT uuid FROM l2_network ORDER BY uuid";
const ENTER_HOST: &str = "INSERT INTO l3_network_host (l3_network_uuid, host_uuid) VALUES ($1, $2) \
     ON CONFLICT (l3_network_uuid, host_uuid) DO NOTHING";
const LEAVE_HOST: &str = "DELETE FROM l3_network_host WHERE l3_network_uuid = $1 AND host_uuid = $2";
const ON_HOST: &str = "SELECT count(*) FROM l3_network_host WHERE l3_network_uuid = $1 AND host_uuid = $2";
/// A VM counts for its host from the moment it claims a place there.
const LEASES: &str = "SELECT n.mac, n.ip, n.netmask, n.gateway, v.name, v.default_l3_network_uuid, \
     (SELECT max(g.tag) FROM system_tag g WHERE g.resource_uuid = v.uuid \
     AND g.pattern = 'hostname::{hostname}') AS hostname FROM vm_nic n JOIN vm_instance v ON v.uuid = n.vm_instance_uuid \
     LEFT JOIN host_claim k ON k.vm_instance_uuid = v.uuid \
     WHERE n.l3_network_uuid = $1 AND coalesce(v.host_uuid, k.host_uuid) = $2 AND n.ip IS NOT NULL \
     ORDER BY n.mac";
const CONCERNED: &str = "SELECT * FROM host_view WHERE uuid IN ( \
     SELECT host_uuid FROM l3_network_host WHERE l3_network_uuid = $1 \
     UNION SELECT coalesce(v.host_uuid, k.host_uuid) FROM vm_nic n \
         JOIN vm_instance v ON v.uuid = n.vm_instance_uuid \
         LEFT JOIN host_claim k ON k.vm_instance_uuid = v.uuid WHERE n.l3_network_uuid = $1) ORDER BY uuid";

#[derive(engine::db::Row)]
struct LeaseRow {
    mac: String,
    ip: String,
    netmask: Option<String>,
    gateway: Option<String>,
    name: String,
    hostname: Option<String>,
    default_l3_network_uuid: Option<Id<Any>>,
}

pub(in crate::l3) async fn assigned(tx: &mut Tx, l3: Id<L3Network>) -> Result<Vec<Assigned>> {
    tx.all(ASSIGNED, args![l3]).await
}

pub(in crate::l3) async fn of_all(
    tx: &mut Tx,
    networks: Vec<Value>,
) -> Result<Vec<(String, NetworkServiceL3NetworkRefInventory)>> {
    let rows: Vec<NetworkServiceL3NetworkRefInventory> = tx.all_of(OF_ALL, networks).await?;
    Ok(rows.into_iter().map(|row| (row.l3_network_uuid.to_string(), row)).collect())
}

/// False when the service has a provider already.
pub(super) async fn attach(tx: &mut Tx, l3: Id<L3Network>, service: &str, provider: &str) -> Result<bool> {
    Ok(tx.exec(ATTACH, args![l3, service, provider]).await? == 1)
}

/// False when that is not its provider.
pub(super) async fn detach(tx: &mut Tx, l3: Id<L3Network>, service: &str, provider: &str) -> Result<bool> {
    Ok(tx.exec(DETACH, args![l3, service, provider]).await? == 1)
}

/// The network has exactly these.
pub(in crate::l3) async fn replace(tx: &mut Tx, l3: Id<L3Network>, services: &[Assigned]) -> Result<()> {
    tx.exec(CLEAR, args![l3]).await?;
    for Assigned { service, provider } in services {
        attach(tx, l3, service, provider).await?;
    }
    Ok(())
}

/// The type of the provider that `named` is the uuid or the type of.
pub(super) async fn provider(tx: &mut Tx, named: &str) -> Result<Option<String>> {
    Ok(tx.opt::<(String,)>(PROVIDER, args![named]).await?.map(|row| row.0))
}

pub(super) async fn providers(tx: &mut Tx) -> Result<Vec<(String, String)>> {
    tx.all(PROVIDERS, args![]).await
}

pub(super) async fn l2_networks(tx: &mut Tx) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = tx.all(L2_NETWORKS, args![]).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub(super) async fn enter_host(tx: &mut Tx, l3: Id<L3Network>, host: Id<Host>) -> Result<()> {
    tx.exec(ENTER_HOST, args![l3, host]).await?;
    Ok(())
}

pub(super) async fn leave_host(tx: &mut Tx, l3: Id<L3Network>, host: Id<Host>) -> Result<()> {
    tx.exec(LEAVE_HOST, args![l3, host]).await?;
    Ok(())
}

pub(super) async fn is_on_host(tx: &mut Tx, l3: Id<L3Network>, host: Id<Host>) -> Result<bool> {
    Ok(tx.number(ON_HOST, args![l3, host]).await? > 0)
}

/// What the guests of the network on the host are to be told.
pub(super) async fn leases(tx: &mut Tx, l3: Id<L3Network>, host: Id<Host>) -> Result<Vec<Lease>> {
    let rows: Vec<LeaseRow> = tx.all(LEASES, args![l3, host]).await?;
    let lease = |row: LeaseRow| Lease {
        mac: row.mac,
        ip: row.ip,
        netmask: row.netmask.unwrap_or_default(),
        gateway: row.gateway,
        hostname: called(row.hostname.as_deref(), &row.name),
        is_default: row.default_l3_network_uuid == Some(l3.cast()),
    };
    Ok(rows.into_iter().map(lease).collect())
}

/// The hosts that have something of the network, or guests of it.
pub(in crate::l3) async fn hosts_concerned(tx: &mut Tx, l3: Id<L3Network>) -> Result<Vec<HostInventory>> {
    tx.all(CONCERNED, args![l3]).await
}
