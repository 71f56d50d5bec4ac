use std::net::Ipv4Addr;

use engine::db::{Tx, Value};
use engine::{Id, Result, Stamp, args};

use super::{IpRange, IpRangeInventory, Limits};
use crate::l2::L2Network;
use crate::l3::L3Network;

pub(super) const IN_L3: &str =
    "SELECT uuid, name, l3_network_uuid FROM ip_range WHERE l3_network_uuid IN ($*)";
const INSERT: &str = "INSERT INTO ip_range (uuid, l3_network_uuid, name, description, start_ip, end_ip, \
     start_long, end_long, netmask, gateway, network_cidr, ip_version, prefix_len, ip_range_type, \
     create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 4, $12, 'Normal', $13, $13)";
const UPDATE: &str = "UPDATE ip_range SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const MARK: &str = "UPDATE ip_range SET deleting = $2 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM ip_range WHERE uuid = $1";
const FREE_SERVER: &str = "DELETE FROM used_ip WHERE ip_range_uuid = $1 AND used_for = 'DHCP'";
const OF_ALL: &str = "SELECT * FROM ip_range WHERE l3_network_uuid IN ($*) ORDER BY start_long";
const OTHER_NETWORK: &str = "SELECT name, network_cidr, gateway FROM ip_range \
     WHERE l3_network_uuid = $1 AND (network_cidr <> $2 OR gateway <> $3) LIMIT 1";
const OVERLAPPING: &str = "SELECT r.name, l.name, r.start_ip, r.end_ip FROM ip_range r \
     JOIN l3_network l ON l.uuid = r.l3_network_uuid \
     WHERE l.l2_network_uuid = $1 AND r.start_long <= $3 AND r.end_long >= $2 LIMIT 1";
const OPEN_SPANS: &str = "SELECT uuid, start_long, end_long, netmask, gateway FROM ip_range \
     WHERE l3_network_uuid = $1 AND NOT deleting ORDER BY start_long";
const SPAN: &str = "SELECT uuid, start_long, end_long, netmask, gateway FROM ip_range WHERE uuid = $1";

/// A range as addresses are taken from it.
#[derive(Clone, Debug, PartialEq, Eq, engine::db::Row)]
pub struct Span {
    pub uuid: Id<IpRange>,
    pub start_long: i64,
    pub end_long: i64,
    pub netmask: String,
    pub gateway: String,
}

impl Span {
    pub fn size(&self) -> i64 {
        self.end_long - self.start_long + 1
    }

    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        (self.start_long..=self.end_long).contains(&long(ip))
    }
}

fn long(ip: Ipv4Addr) -> i64 {
    u32::from(ip).into()
}

/// A range to be added.
pub(super) struct NewRange<'n> {
    pub uuid: Id<IpRange>,
    pub l3: Id<L3Network>,
    pub name: &'n str,
    pub description: Option<&'n str>,
    pub limits: Limits,
}

pub(super) async fn insert(tx: &mut Tx, range: NewRange<'_>) -> Result<()> {
    let Limits { start, end, gateway, network } = range.limits;
    let mut row = args![range.uuid, range.l3, range.name, range.description];
    row.extend(args![start.to_string(), end.to_string(), long(start), long(end)]);
    row.extend(args![network.netmask().to_string(), gateway.to_string(), network.to_string()]);
    row.extend(args![u32::from(network.prefix_len()), Stamp::now()]);
    tx.exec(INSERT, row).await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut Tx,
    uuid: Id<IpRange>,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<()> {
    tx.exec(UPDATE, args![uuid, name, description, Stamp::now()]).await?;
    Ok(())
}

/// From now on, or no longer, no address of it is given out.
pub(super) async fn mark_deleting(tx: &mut Tx, uuid: Id<IpRange>, deleting: bool) -> Result<()> {
    tx.exec(MARK, args![uuid, deleting]).await?;
    Ok(())
}

/// With the address of the DHCP server, if that lies in it.
pub(super) async fn delete(tx: &mut Tx, uuid: Id<IpRange>) -> Result<()> {
    tx.exec(FREE_SERVER, args![uuid]).await?;
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}

pub(super) async fn of_all(tx: &mut Tx, networks: Vec<Value>) -> Result<Vec<IpRangeInventory>> {
    tx.all_of(OF_ALL, networks).await
}

/// Name, CIDR and gateway of a range of the network that lies in another CIDR or behind another gateway.
pub(super) async fn other_network(
    tx: &mut Tx,
    l3: Id<L3Network>,
    limits: &Limits,
) -> Result<Option<(String, String, String)>> {
    tx.opt(OTHER_NETWORK, args![l3, limits.network.to_string(), limits.gateway.to_string()]).await
}

/// Name, network, start and end of a range on the L2 network that shares addresses with these.
pub(super) async fn overlapping(
    tx: &mut Tx,
    l2: Id<L2Network>,
    limits: &Limits,
) -> Result<Option<(String, String, String, String)>> {
    tx.opt(OVERLAPPING, args![l2, long(limits.start), long(limits.end)]).await
}

/// The ranges that addresses are given out of.
pub(in crate::l3) async fn open_spans(tx: &mut Tx, l3: Id<L3Network>) -> Result<Vec<Span>> {
    tx.all(OPEN_SPANS, args![l3]).await
}

pub(in crate::l3) async fn span_of(tx: &mut Tx, range: Id<IpRange>) -> Result<Option<Span>> {
    tx.opt(SPAN, args![range]).await
}
