use engine::db::{Tx, Value};
use engine::{Id, Result, Stamp, args, codes};
use serde::{Deserialize, Serialize};

use super::api::{CreateL3Network, UpdateL3Network};
use super::{L3Network, L3NetworkHostRouteInventory, L3NetworkInventory};
use crate::host::HostInventory;
use crate::l2::L2NetworkInventory;

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM l3_network x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
pub(super) const ON_L2: &str =
    "SELECT uuid, name, l2_network_uuid FROM l3_network WHERE l2_network_uuid IN ($*)";
const INSERT: &str = "INSERT INTO l3_network (uuid, name, description, type, zone_uuid, l2_network_uuid, \
     state, dns_domain, system, category, ip_version, enable_ipam, isolated, mtu, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, 'Enabled', $7, $8, $9, 4, TRUE, FALSE, $11, $10, $10)";
const UPDATE: &str = "UPDATE l3_network SET name = coalesce($2, name), \
     description = coalesce($3, description), dns_domain = coalesce($4, dns_domain), \
     category = coalesce($5, category), system = coalesce($6, system), last_op_date = $7 WHERE uuid = $1";
const STATE: &str = "UPDATE l3_network SET state = $2, last_op_date = $3 WHERE uuid = $1";
const MARK: &str = "UPDATE l3_network SET deleting = $2 WHERE uuid = $1";
const MARKED: &str = "SELECT count(*) FROM l3_network WHERE uuid = $1 AND deleting";
const DELETE: &str = "DELETE FROM l3_network WHERE uuid = $1";
const DNS: &str =
    "SELECT dns, create_date FROM l3_network_dns WHERE l3_network_uuid = $1 ORDER BY create_date, dns";
const DNS_OF_ALL: &str = "SELECT l3_network_uuid, dns FROM l3_network_dns WHERE l3_network_uuid IN ($*) \
     ORDER BY create_date, dns";
const ADD_DNS: &str = "INSERT INTO l3_network_dns (l3_network_uuid, dns, create_date) VALUES ($1, $2, $3) \
     ON CONFLICT (l3_network_uuid, dns) DO NOTHING";
const REMOVE_DNS: &str = "DELETE FROM l3_network_dns WHERE l3_network_uuid = $1 AND dns = $2";
const CLEAR_DNS: &str = "DELETE FROM l3_network_dns WHERE l3_network_uuid = $1";
const ROUTES: &str = "SELECT id, prefix, nexthop, create_date, last_op_date FROM l3_network_host_route \
     WHERE l3_network_uuid = $1 ORDER BY id";
const ROUTES_OF_ALL: &str = "SELECT * FROM l3_network_host_route WHERE l3_network_uuid IN ($*) ORDER BY id";
const ADD_ROUTE: &str = "INSERT INTO l3_network_host_route \
     (id, l3_network_uuid, prefix, nexthop, create_date, last_op_date) \
     SELECT coalesce(max(id), 0) + 1, $1, $2, $3, $4, $4 FROM l3_network_host_route WHERE TRUE \
     ON CONFLICT (l3_network_uuid, prefix) DO NOTHING";
const PUT_ROUTE: &str = "INSERT INTO l3_network_host_route \
     (id, l3_network_uuid, prefix, nexthop, create_date, last_op_date) VALUES ($2, $1, $3, $4, $5, $6)";
const REMOVE_ROUTE: &str = "DELETE FROM l3_network_host_route WHERE l3_network_uuid = $1 AND prefix = $2";
const CLEAR_ROUTES: &str = "DELETE FROM l3_network_host_route WHERE l3_network_uuid = $1";
const FACTS: &str =
    "SELECT name, description, dns_domain, category, system, mtu FROM l3_network WHERE uuid = $1";
const RESTORE: &str = "UPDATE l3_network SET name = $2, description = $3, dns_domain = $4, category = $5, \
     system = $6, mtu = $7 WHERE uuid = $1";
const HOSTS: &str = "SELECT h.* FROM host_view h JOIN l3_network_host n ON n.host_uuid = h.uuid \
     WHERE n.l3_network_uuid = $1 ORDER BY h.uuid";
const ON_HOST: &str = "SELECT l.* FROM l3_network l JOIN l3_network_host n ON n.l3_network_uuid = l.uuid \
     WHERE n.host_uuid = $1 ORDER BY l.uuid";

/// What an update may change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, engine::db::Row)]
pub(super) struct Facts {
    pub name: String,
    pub description: Option<String>,
    pub dns_domain: Option<String>,
    pub category: String,
    pub system: bool,
    #[serde(default)]
    pub mtu: Option<i64>,
}

/// A way that guests are told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, engine::db::Row)]
pub(super) struct HostRoute {
    pub id: i64,
    pub prefix: String,
    pub nexthop: String,
    pub create_date: i64,
    pub last_op_date: i64,
}

pub(super) async fn insert(
    tx: &mut Tx,
    uuid: Id<L3Network>,
    l3: &CreateL3Network,
    l2: &L2NetworkInventory,
) -> Result<()> {
    let mut row = args![uuid, &l3.name, l3.description.as_deref(), l3.kind(), l2.zone_uuid, l2.uuid];
    let system = l3.system.unwrap_or(false);
    row.extend(args![
        l3.dns_domain.as_deref(),
        system,
        l3.category.name(),
        Stamp::now(),
        l2.driver()?.frames()
    ]);
    tx.exec(INSERT, row).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, l3: &UpdateL3Network) -> Result<()> {
    let mut row = args![l3.uuid, l3.name.as_deref(), l3.description.as_deref(), l3.dns_domain.as_deref()];
    row.extend(args![l3.category.map(super::api::Category::name), l3.system, Stamp::now()]);
    tx.exec(UPDATE, row).await?;
    Ok(())
}

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<L3Network>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await?;
    Ok(())
}

/// From now on, or no longer, nothing new may come to use it.
pub(super) async fn mark_deleting(tx: &mut Tx, uuid: Id<L3Network>, deleting: bool) -> Result<()> {
    tx.exec(MARK, args![uuid, deleting]).await?;
    Ok(())
}

pub(super) async fn refuse_deleting(tx: &mut Tx, l3: &L3NetworkInventory) -> Result<()> {
    match tx.number(MARKED, args![l3.uuid]).await? {
        0 => Ok(()),
        _ => Err(codes::STATE.because(format!("l3 network \"{}\" is being deleted", l3.name))),
    }
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<L3Network>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}

/// In the order in which guests ask them, with the moments at which they were added.
pub(super) async fn dns(tx: &mut Tx, l3: Id<L3Network>) -> Result<Vec<(String, i64)>> {
    tx.all(DNS, args![l3]).await
}

pub(super) async fn dns_of_all(tx: &mut Tx, networks: Vec<Value>) -> Result<Vec<(String, String)>> {
    tx.all_of(DNS_OF_ALL, networks).await
}

/// False when it is there already.
pub(super) async fn add_dns(tx: &mut Tx, l3: Id<L3Network>, dns: &str, added: Stamp) -> Result<bool> {
    Ok(tx.exec(ADD_DNS, args![l3, dns, added]).await? == 1)
}

/// False when it is not there.
pub(super) async fn remove_dns(tx: &mut Tx, l3: Id<L3Network>, dns: &str) -> Result<bool> {
    Ok(tx.exec(REMOVE_DNS, args![l3, dns]).await? == 1)
}

pub(super) async fn clear_dns(tx: &mut Tx, l3: Id<L3Network>) -> Result<()> {
    tx.exec(CLEAR_DNS, args![l3]).await?;
    Ok(())
}

/// In the order in which they were added.
pub(super) async fn routes(tx: &mut Tx, l3: Id<L3Network>) -> Result<Vec<HostRoute>> {
    tx.all(ROUTES, args![l3]).await
}

pub(super) async fn routes_of_all(
    tx: &mut Tx,
    networks: Vec<Value>,
) -> Result<Vec<L3NetworkHostRouteInventory>> {
    tx.all_of(ROUTES_OF_ALL, networks).await
}

/// False when there is a way to the prefix already.
pub(super) async fn add_route(tx: &mut Tx, l3: Id<L3Network>, prefix: &str, nexthop: &str) -> Result<bool> {
    Ok(tx.exec(ADD_ROUTE, args![l3, prefix, nexthop, Stamp::now()]).await? == 1)
}

/// As it was.
pub(super) async fn put_route(tx: &mut Tx, l3: Id<L3Network>, route: &HostRoute) -> Result<()> {
    let mut row = args![l3, route.id, &route.prefix, &route.nexthop];
    row.extend(args![route.create_date, route.last_op_date]);
    tx.exec(PUT_ROUTE, row).await?;
    Ok(())
}

/// False when it is not there.
pub(super) async fn remove_route(tx: &mut Tx, l3: Id<L3Network>, prefix: &str) -> Result<bool> {
    Ok(tx.exec(REMOVE_ROUTE, args![l3, prefix]).await? == 1)
}

pub(super) async fn clear_routes(tx: &mut Tx, l3: Id<L3Network>) -> Result<()> {
    tx.exec(CLEAR_ROUTES, args![l3]).await?;
    Ok(())
}

pub(super) async fn facts(tx: &mut Tx, l3: Id<L3Network>) -> Result<Facts> {
    tx.one(FACTS, args![l3]).await
}

pub(super) async fn restore(tx: &mut Tx, l3: Id<L3Network>, facts: &Facts) -> Result<()> {
    let (description, domain) = (facts.description.as_deref(), facts.dns_domain.as_deref());
    let mut row = args![l3, &facts.name, description, domain, &facts.category, facts.system];
    row.extend(args![facts.mtu]);
    tx.exec(RESTORE, row).await?;
    Ok(())
}

/// The hosts that have something of the network.
pub(super) async fn hosts(tx: &mut Tx, l3: Id<L3Network>) -> Result<Vec<HostInventory>> {
    tx.all(HOSTS, args![l3]).await
}

/// The networks that the host has something of.
pub(super) async fn on_host(tx: &mut Tx, host: &HostInventory) -> Result<Vec<L3NetworkInventory>> {
    tx.all(ON_HOST, args![host.uuid]).await
}
