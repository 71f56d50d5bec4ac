use std::net::Ipv4Addr;

use engine::db::Tx;
use engine::{Any, Id, Result, Stamp, args};

use super::{Address, UsedIp, User};
use crate::l3::L3Network;
use crate::l3::range::{IpRange, Span};
use crate::zone::Zone;

const TAKE: &str = "INSERT INTO used_ip (uuid, ip_range_uuid, l3_network_uuid, ip_version, ip, ip_in_long, \
     netmask, gateway, used_for, vm_nic_uuid, create_date, last_op_date) \
     VALUES ($1, $2, $3, 4, $4, $5, $6, $7, $8, $9, $10, $10) ON CONFLICT (l3_network_uuid, ip) DO NOTHING";
const RELEASE: &str = "DELETE FROM used_ip WHERE vm_nic_uuid = $1";
const SET_ASIDE: &str = "UPDATE used_ip SET vm_nic_uuid = NULL WHERE vm_nic_uuid = $1 RETURNING uuid";
const PUT_BACK: &str = "UPDATE used_ip SET vm_nic_uuid = $2 WHERE uuid = $1";
const DROP_ASIDE: &str = "DELETE FROM used_ip WHERE uuid = $1 AND vm_nic_uuid IS NULL";
const GROUND: &str = "SELECT l.name, l.state, l.deleting, u.ip, u.netmask, u.gateway \
     FROM l3_network l LEFT JOIN used_ip u ON u.l3_network_uuid = l.uuid AND u.vm_nic_uuid = $2 \
     WHERE l.uuid = $1";
const USED: &str = "SELECT count(*) FROM used_ip WHERE l3_network_uuid = $1 AND ip = $2";
const USED_IN: &str = "SELECT count(*) FROM used_ip WHERE ip_range_uuid = $1 \
     AND ip_in_long >= $2 AND ip_in_long <= $3";
/// `$2` when it is free, otherwise what follows the first used address from there on that has a free one
/// behind it. One walk along the index of the range, however full it is.
const FIRST_FREE: &str = "SELECT CASE \
     WHEN NOT EXISTS (SELECT 1 FROM used_ip WHERE ip_range_uuid = $1 AND ip_in_long = $2) THEN $2 \
     ELSE (SELECT u.ip_in_long + 1 FROM used_ip u \
         WHERE u.ip_range_uuid = $1 AND u.ip_in_long >= $2 AND u.ip_in_long < $3 \
         AND NOT EXISTS (SELECT 1 FROM used_ip n \
             WHERE n.ip_range_uuid = $1 AND n.ip_in_long = u.ip_in_long + 1) \
         ORDER BY u.ip_in_long LIMIT 1) END";
/// The same from the end: `$3` when it is free, otherwise what precedes the last used address up to there that
/// has a free one before it.
const LAST_FREE: &str = "SELECT CASE \
     WHEN NOT EXISTS (SELECT 1 FROM used_ip WHERE ip_range_uuid = $1 AND ip_in_long = $3) THEN $3 \
     ELSE (SELECT u.ip_in_long - 1 FROM used_ip u \
         WHERE u.ip_range_uuid = $1 AND u.ip_in_long > $2 AND u.ip_in_long <= $3 \
         AND NOT EXISTS (SELECT 1 FROM used_ip n \
             WHERE n.ip_range_uuid = $1 AND n.ip_in_long = u.ip_in_long - 1) \
         ORDER BY u.ip_in_long DESC LIMIT 1) END";
const DHCP_SERVER: &str = "SELECT u.ip, u.netmask, u.gateway, r.deleting FROM used_ip u \
     JOIN ip_range r ON r.uuid = u.ip_range_uuid WHERE u.l3_network_uuid = $1 AND u.used_for = 'DHCP'";
const FREE_DHCP_SERVER: &str = "DELETE FROM used_ip WHERE l3_network_uuid = $1 AND used_for = 'DHCP'";
const STAND_ASIDE: &str = "UPDATE used_ip SET used_for = NULL \
     WHERE l3_network_uuid = $1 AND used_for = 'DHCP' RETURNING uuid";
const STAND_AGAIN: &str = "UPDATE used_ip SET used_for = 'DHCP' WHERE uuid = $1";
const HELD: &str = "SELECT u.ip, u.ip_in_long, u.used_for, u.create_date, v.uuid AS vm_instance_uuid, \
     v.name AS vm_instance_name FROM used_ip u LEFT JOIN vm_nic n ON n.uuid = u.vm_nic_uuid \
     LEFT JOIN vm_instance v ON v.uuid = n.vm_instance_uuid AND ($3 OR EXISTS (SELECT 1 \
        FROM account_resource_ref r WHERE r.resource_uuid = v.uuid AND r.account_uuid = $2)) \
     WHERE u.l3_network_uuid = $1";
const SPACES: &str = "SELECT r.uuid AS ip_range, r.l3_network_uuid AS l3_network, l.zone_uuid AS zone, \
     r.end_long - r.start_long + 1 AS total, \
     (SELECT count(*) FROM used_ip u WHERE u.ip_range_uuid = r.uuid) AS used \
     FROM ip_range r JOIN l3_network l ON l.uuid = r.l3_network_uuid";

/// An address in use, and by what; what an account does not see is used by something unnamed.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Held {
    pub ip: String,
    pub ip_in_long: i64,
    pub used_for: Option<String>,
    pub create_date: Stamp,
    pub vm_instance_uuid: Option<Id<Any>>,
    pub vm_instance_name: Option<String>,
}

pub(super) async fn held(tx: &mut Tx, l3: Id<L3Network>, account: Id<Any>, admin: bool) -> Result<Vec<Held>> {
    tx.all(HELD, args![l3, account, admin]).await
}

/// What matters of a network when a NIC wants an address, and the address that it has.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Ground {
    pub name: String,
    pub state: String,
    pub deleting: bool,
    ip: Option<String>,
    netmask: Option<String>,
    gateway: Option<String>,
}

impl Ground {
    pub fn had(&self) -> Option<Address> {
        let (ip, netmask, gateway) = (self.ip.clone()?, self.netmask.clone()?, self.gateway.clone()?);
        Some(Address { ip, netmask, gateway })
    }
}

/// How full a range is.
#[derive(Clone, Copy, Debug, engine::db::Row)]
pub(super) struct Space {
    pub ip_range: Id<IpRange>,
    pub l3_network: Id<L3Network>,
    pub zone: Id<Zone>,
    pub total: i64,
    pub used: i64,
}

/// Takes `ip`; none when somebody else has it.
pub(super) async fn take(
    tx: &mut Tx,
    l3: Id<L3Network>,
    span: &Span,
    ip: i64,
    user: User,
) -> Result<Option<Address>> {
    let text = shown(ip);
    let (used_for, nic) = match user {
        User::Nic(nic) => ("VmNic", Some(nic)),
        User::Dhcp => ("DHCP", None),
    };
    let mut row = args![Id::<UsedIp>::random(), span.uuid, l3, &text, ip];
    row.extend(args![&span.netmask, &span.gateway, used_for, nic, Stamp::now()]);
    let taken = tx.exec(TAKE, row).await? == 1;
    let (netmask, gateway) = (span.netmask.clone(), span.gateway.clone());
    Ok(taken.then_some(Address { ip: text, netmask, gateway }))
}

/// As people write it.
pub(super) fn shown(ip: i64) -> String {
    Ipv4Addr::from(u32::try_from(ip).unwrap_or(0)).to_string()
}

pub(super) async fn release(tx: &mut Tx, nic: Id<Any>) -> Result<()> {
    tx.exec(RELEASE, args![nic]).await?;
    Ok(())
}

/// The NIC has its address no longer, and nobody else gets it.
pub(super) async fn set_aside(tx: &mut Tx, nic: Id<Any>) -> Result<Option<Id<UsedIp>>> {
    Ok(tx.opt::<(Id<UsedIp>,)>(SET_ASIDE, args![nic]).await?.map(|(uuid,)| uuid))
}

pub(super) async fn put_back(tx: &mut Tx, nic: Id<Any>, aside: Id<UsedIp>) -> Result<()> {
    tx.exec(PUT_BACK, args![aside, nic]).await?;
    Ok(())
}

pub(super) async fn drop_aside(tx: &mut Tx, aside: Id<UsedIp>) -> Result<()> {
    tx.exec(DROP_ASIDE, args![aside]).await?;
    Ok(())
}

/// None when there is no such network.
pub(super) async fn ground(tx: &mut Tx, l3: Id<L3Network>, nic: Id<Any>) -> Result<Option<Ground>> {
    tx.opt(GROUND, args![l3, nic]).await
}

pub(super) async fn is_used(tx: &mut Tx, l3: Id<L3Network>, ip: Ipv4Addr) -> Result<bool> {
    Ok(tx.number(USED, args![l3, ip.to_string()]).await? > 0)
}

pub(super) async fn used_in(tx: &mut Tx, spans: &[Span]) -> Result<i64> {
    let mut used = 0;
    for span in spans {
        used += tx.number(USED_IN, args![span.uuid, span.start_long, span.end_long]).await?;
    }
    Ok(used)
}

/// The first free address of the range between `from` and `to`, both included.
pub(super) async fn first_free(tx: &mut Tx, range: &Span, from: i64, to: i64) -> Result<Option<i64>> {
    Ok(tx.one::<(Option<i64>,)>(FIRST_FREE, args![range.uuid, from, to]).await?.0)
}

/// The last free address of the range.
pub(super) async fn last_free(tx: &mut Tx, range: &Span) -> Result<Option<i64>> {
    Ok(tx.one::<(Option<i64>,)>(LAST_FREE, args![range.uuid, range.start_long, range.end_long]).await?.0)
}

/// The address of the DHCP servers, and whether its range is being deleted.
pub(super) async fn dhcp_server(tx: &mut Tx, l3: Id<L3Network>) -> Result<Option<(Address, bool)>> {
    let row = tx.opt::<(String, String, String, bool)>(DHCP_SERVER, args![l3]).await?;
    Ok(row.map(|(ip, netmask, gateway, deleting)| (Address { ip, netmask, gateway }, deleting)))
}

/// The servers have their address no longer, and nobody else gets it.
pub(super) async fn stand_aside(tx: &mut Tx, l3: Id<L3Network>) -> Result<Option<Id<UsedIp>>> {
    Ok(tx.opt::<(Id<UsedIp>,)>(STAND_ASIDE, args![l3]).await?.map(|(uuid,)| uuid))
}

pub(super) async fn stand_again(tx: &mut Tx, aside: Id<UsedIp>) -> Result<()> {
    tx.exec(STAND_AGAIN, args![aside]).await?;
    Ok(())
}

pub(super) async fn free_dhcp_server(tx: &mut Tx, l3: Id<L3Network>) -> Result<()> {
    tx.exec(FREE_DHCP_SERVER, args![l3]).await?;
    Ok(())
}

pub(super) async fn spaces(tx: &mut Tx) -> Result<Vec<Space>> {
    tx.all(SPACES, args![]).await
}
