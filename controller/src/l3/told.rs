//! What else guests of a network are told: how long their frames may be, and by whom other networks are reached.

use std::net::Ipv4Addr;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::inventory::find;
use engine::{Id, Result, api, codes};
use schemars::JsonSchema;
use serde::Serialize;

use super::api::network;
use super::change::{Change, What};
use super::{L3Network, L3NetworkInventory};
use crate::validate;

/// What every guest can take, and what no interface exceeds.
const MTU: std::ops::RangeInclusive<i64> = 68..=9216;
/// Of Ethernet.
const USUAL_MTU: i64 = 1500;

api! {
    GetL3NetworkMtu: GET "/l3-networks/{l3NetworkUuid}/mtu" {
        l3_network_uuid: Id<L3Network>,
    }
}

/// In bytes.
#[derive(Serialize, JsonSchema)]
pub struct Mtu {
    mtu: i64,
}

impl Ask for GetL3NetworkMtu {
    const ROUTE: Route = GetL3NetworkMtu::ROUTE;
    type Reply = Mtu;

    async fn answer(self, asked: Asked) -> Result<Mtu> {
        let l3: L3NetworkInventory = find(&mut asked.engine.db().read().await?, self.l3_network_uuid).await?;
        Ok(Mtu { mtu: l3.mtu.unwrap_or(USUAL_MTU) })
    }
}

api! {
    /// Bridges take such frames at once; guests hear of it when they ask for their addresses next, and their NICs
    /// have it from their next start on.
    SetL3NetworkMtu: POST "/l3-networks/{l3NetworkUuid}/mtu" "params" {
        l3_network_uuid: Id<L3Network>,
        mtu: i64,
    }
}

impl Api for SetL3NetworkMtu {
    const ROUTE: Route = SetL3NetworkMtu::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::within("mtu", self.mtu, MTU)?;
        let l3 = network(&job, self.l3_network_uuid).await?;
        job.flow(Change::new(&l3, What::Mtu(self.mtu))).await
    }
}

api! {
    AddHostRouteToL3Network: POST "/l3-networks/{l3NetworkUuid}/hostroute" "params" {
        l3_network_uuid: Id<L3Network>,
        prefix: String,
        nexthop: String,
    }
}

impl Api for AddHostRouteToL3Network {
    const ROUTE: Route = AddHostRouteToL3Network::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let (prefix, nexthop) = (prefix(&self.prefix)?, nexthop(&self.nexthop)?);
        let l3 = network(&job, self.l3_network_uuid).await?;
        job.flow(Change::new(&l3, What::AddRoute { prefix, nexthop })).await
    }
}

api! {
    RemoveHostRouteFromL3Network: DELETE "/l3-networks/{l3NetworkUuid}/hostroute" {
        l3_network_uuid: Id<L3Network>,
        prefix: String,
    }
}

impl Api for RemoveHostRouteFromL3Network {
    const ROUTE: Route = RemoveHostRouteFromL3Network::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let prefix = prefix(&self.prefix)?;
        let l3 = network(&job, self.l3_network_uuid).await?;
        job.flow(Change::new(&l3, What::RemoveRoute(prefix))).await
    }
}

api! {
    /// Guests hear of it when they ask for their addresses next.
    ChangeL3NetworkDhcpIpAddress: PUT "/l3-networks/{l3NetworkUuid}/dhcp-ip" "changeL3NetworkDhcpIpAddress" {
        l3_network_uuid: Id<L3Network>,
        dhcp_server_ip: Option<String>,
        dhcpv6_server_ip: Option<String>,
    }
}

impl Api for ChangeL3NetworkDhcpIpAddress {
    const ROUTE: Route = ChangeL3NetworkDhcpIpAddress::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("dhcpv6ServerIp", &self.dhcpv6_server_ip)?;
        let text = self.dhcp_server_ip.unwrap_or_default();
        let ip = text.parse().map_err(|_| {
            codes::INVALID_ARGUMENT
                .because(format!("\"dhcpServerIp\" must be an IPv4 address, not \"{text}\""))
        })?;
        let l3 = network(&job, self.l3_network_uuid).await?;
        job.flow(Change::new(&l3, What::DhcpServer(ip))).await
    }
}

/// As it is kept: `192.0.2.0/24`, without bits behind the prefix.
fn prefix(text: &str) -> Result<String> {
    let read = || {
        let (network, length) = text.split_once('/')?;
        let (network, length): (Ipv4Addr, u32) = (network.parse().ok()?, length.parse().ok()?);
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(length)?).unwrap_or(0);
        (u32::from(network) & !mask == 0).then(|| format!("{network}/{length}"))
    };
    read().ok_or_else(|| {
        codes::INVALID_ARGUMENT.because(format!(
            "\"prefix\" must be an IPv4 network such as 192.0.2.0/24, with no bits behind its length, not \"{text}\""
        ))
    })
}

fn nexthop(text: &str) -> Result<String> {
    let address: Option<Ipv4Addr> = text.parse().ok();
    let sound = address.filter(|ip| !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast());
    sound.map(|ip| ip.to_string()).ok_or_else(|| {
        codes::INVALID_ARGUMENT
            .because(format!("\"nexthop\" must be the IPv4 address of a router, not \"{text}\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_no_bits_behind_its_length() {
        for sound in ["192.0.2.0/24", "0.0.0.0/0", "10.1.2.3/32"] {
            assert_eq!(prefix(sound).unwrap(), sound);
        }
        for wrong in ["192.0.2.1/24", "192.0.2.0", "192.0.2.0/33", "2001:db8::/32", "/24", ""] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_next_hop_is_one_address() {
        assert_eq!(nexthop("10.0.0.1").unwrap(), "10.0.0.1");
        for wrong in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "router"] {
            assert!(nexthop(wrong).is_err(), "{wrong}");
        }
    }
}
