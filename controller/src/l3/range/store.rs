use std::net::Ipv4Addr;

use engine::db::{Tx, Value};
use engine::{Id, Result, Stamp, args};

use super::reserved::{ReservedIpRange, ReservedIpRangeInventory};
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

const RESERVE: &str = "INSERT INTO reserved_ip_range (uuid, l3_network_uuid, start_ip, end_ip, start_long, \
     end_long, ip_version, create_date, last_op_date) VALUES ($1, $2, $3, $4, $5, $6, 4, $7, $7)";
const UNRESERVE: &str = "DELETE FROM reserved_ip_range WHERE uuid = $1";
const RESERVED_OF_ALL: &str =
    "SELECT * FROM reserved_ip_range WHERE l3_network_uuid IN ($*) ORDER BY start_long";
const RESERVED: &str = "SELECT start_long, end_long FROM reserved_ip_range WHERE l3_network_uuid = $1 \
     ORDER BY start_long";
const RESERVED_BESIDE: &str = "SELECT x.start_long, x.end_long FROM reserved_ip_range x \
     JOIN ip_range r ON r.l3_network_uuid = x.l3_network_uuid WHERE r.uuid = $1 ORDER BY x.start_long";
const RESERVED_OVERLAPPING: &str = "SELECT start_ip, end_ip FROM reserved_ip_range \
     WHERE l3_network_uuid = $1 AND start_long <= $3 AND end_long >= $2 LIMIT 1";

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

    /// What is left of it without these, which are sorted and apart.
    fn without(self, reserved: &[(i64, i64)]) -> Vec<Span> {
        let (mut from, mut pieces) = (self.start_long, Vec::new());
        let mut keep = |start_long: i64, end_long: i64| {
            if start_long <= end_long {
                pieces.push(Span { start_long, end_long, ..self.clone() });
            }
        };
        for (start, end) in
            reserved.iter().filter(|(start, end)| *end >= self.start_long && *start <= self.end_long)
        {
            keep(from, start - 1);
            from = end + 1;
        }
        keep(from, self.end_long);
        pieces
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

/// What addresses are given out of: the ranges without what is reserved, in pieces.
pub(in crate::l3) async fn open_spans(tx: &mut Tx, l3: Id<L3Network>) -> Result<Vec<Span>> {
    let whole: Vec<Span> = tx.all(OPEN_SPANS, args![l3]).await?;
    let reserved: Vec<(i64, i64)> = tx.all(RESERVED, args![l3]).await?;
    Ok(whole.into_iter().flat_map(|span| span.without(&reserved)).collect())
}

/// The same of one range.
pub(in crate::l3) async fn spans_of(tx: &mut Tx, range: Id<IpRange>) -> Result<Vec<Span>> {
    let Some(whole) = tx.opt::<Span>(SPAN, args![range]).await? else { return Ok(Vec::new()) };
    let reserved: Vec<(i64, i64)> = tx.all(RESERVED_BESIDE, args![range]).await?;
    Ok(whole.without(&reserved))
}

pub(super) async fn reserve(
    tx: &mut Tx,
    uuid: Id<ReservedIpRange>,
    l3: Id<L3Network>,
    start: Ipv4Addr,
    end: Ipv4Addr,
) -> Result<()> {
    let mut row = args![uuid, l3, start.to_string(), end.to_string()];
    row.extend(args![long(start), long(end), Stamp::now()]);
    tx.exec(RESERVE, row).await.map(|_| ())
}

pub(super) async fn unreserve(tx: &mut Tx, uuid: Id<ReservedIpRange>) -> Result<()> {
    tx.exec(UNRESERVE, args![uuid]).await.map(|_| ())
}

pub(super) async fn reserved_of_all(
    tx: &mut Tx,
    networks: Vec<Value>,
) -> Result<Vec<ReservedIpRangeInventory>> {
    tx.all_of(RESERVED_OF_ALL, networks).await
}

/// Start and end of what is reserved of these addresses already.
pub(super) async fn reserved_overlapping(
    tx: &mut Tx,
    l3: Id<L3Network>,
    start: Ipv4Addr,
    end: Ipv4Addr,
) -> Result<Option<(String, String)>> {
    tx.opt(RESERVED_OVERLAPPING, args![l3, long(start), long(end)]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_cut_out() {
        let span = |start_long, end_long| Span {
            uuid: Id::derived(&["r"]),
            start_long,
            end_long,
            netmask: String::new(),
            gateway: String::new(),
        };
        let cut = |reserved: &[(i64, i64)]| span(10, 20).without(reserved);
        assert_eq!(cut(&[]), [span(10, 20)]);
        assert_eq!(cut(&[(1, 9), (21, 30)]), [span(10, 20)]);
        assert_eq!(cut(&[(5, 12), (14, 14), (19, 25)]), [span(13, 13), span(15, 18)]);
        assert_eq!(cut(&[(1, 40)]), []);
        assert_eq!(cut(&[(10, 15), (16, 20)]), []);
    }
}
