//! What may be asked about addresses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use engine::api::{Ask, Asked, Route};
use engine::db::Tx;
use engine::inventory::find;
use engine::{Any, Id, Result, api, codes};
use schemars::JsonSchema;
use serde::Serialize;

use super::store::{self, Space};
use crate::l3::api::check_version;
use crate::l3::range::{self, IpRange, Span};
use crate::l3::{L3Network, L3NetworkInventory};
use crate::validate;
use crate::zone::Zone;

/// So many free addresses are told at most.
const MOST_FREE: i64 = 1000;

api! {
    GetFreeIp: GET "/l3-networks/ip/free" {
        l3_network_uuid: Option<Id<L3Network>>,
        ip_range_uuid: Option<Id<IpRange>>,
        start: Option<Ipv4Addr>,
        ip_range_type: Option<String>,
        #[serde(default, deserialize_with = "validate::plain")]
        ip_version: Option<i64>,
        #[serde(default, deserialize_with = "validate::plain")]
        limit: Option<i64>,
    }
}

impl GetFreeIp {
    async fn spans(&self, tx: &mut Tx) -> Result<Vec<Span>> {
        match (self.ip_range_uuid, self.l3_network_uuid) {
            (Some(range), _) => range::spans_of(tx, range).await,
            (None, Some(l3)) => range::open_spans(tx, l3).await,
            (None, None) => {
                Err(codes::INVALID_ARGUMENT.because("\"l3NetworkUuid\" or \"ipRangeUuid\" must be given"))
            }
        }
    }

    fn check(&self) -> Result<usize> {
        check_version(self.ip_version)?;
        let pool = self.ip_range_type.as_ref().filter(|kind| *kind != "Normal");
        validate::unsupported("ipRangeType", &pool)?;
        match self.limit.unwrap_or(100) {
            limit @ 1..=MOST_FREE => Ok(usize::try_from(limit).unwrap_or(0)),
            other => {
                Err(codes::INVALID_ARGUMENT
                    .because(format!("\"limit\" must be 1 to {MOST_FREE}, not {other}")))
            }
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct FreeIps {
    inventories: Vec<FreeIp>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FreeIp {
    ip_range_uuid: Id<IpRange>,
    ip: String,
    netmask: String,
    gateway: String,
}

impl Ask for GetFreeIp {
    const ROUTE: Route = GetFreeIp::ROUTE;
    type Reply = FreeIps;

    async fn answer(self, asked: Asked) -> Result<FreeIps> {
        let limit = self.check()?;
        let mut tx = asked.engine.db().read().await?;
        let mut free = Vec::new();
        for span in self.spans(&mut tx).await? {
            let mut from = self.start.map_or(span.start_long, |ip| span.start_long.max(u32::from(ip).into()));
            while free.len() < limit && from <= span.end_long {
                let Some(ip) = store::first_free(&mut tx, &span, from, span.end_long).await? else { break };
                free.push(FreeIp {
                    ip_range_uuid: span.uuid,
                    ip: store::shown(ip),
                    netmask: span.netmask.clone(),
                    gateway: span.gateway.clone(),
                });
                from = ip + 1;
            }
        }
        Ok(FreeIps { inventories: free })
    }
}

api! {
    CheckIpAvailability: GET "/l3-networks/{l3NetworkUuid}/ip/{ip}/availability" {
        l3_network_uuid: Id<L3Network>,
        ip: Ipv4Addr,
        #[serde(default, deserialize_with = "validate::plain")]
        arp_check: Option<bool>,
        #[serde(default, deserialize_with = "validate::plain")]
        ip_range_check: Option<bool>,
    }
}

impl CheckIpAvailability {
    async fn obstacle(&self, tx: &mut Tx) -> Result<Option<&'static str>> {
        if store::is_used(tx, self.l3_network_uuid, self.ip).await? {
            return Ok(Some("it is in use"));
        }
        let spans = range::open_spans(tx, self.l3_network_uuid).await?;
        if spans.iter().any(|span| span.gateway == self.ip.to_string()) {
            return Ok(Some("it is the gateway"));
        }
        let outside = !spans.iter().any(|span| span.contains(self.ip));
        Ok((outside && self.ip_range_check.unwrap_or(true)).then_some("it lies in no range, or is reserved"))
    }
}

#[derive(Serialize, JsonSchema)]
pub struct Availability {
    available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Ask for CheckIpAvailability {
    const ROUTE: Route = CheckIpAvailability::ROUTE;
    type Reply = Availability;

    async fn answer(self, asked: Asked) -> Result<Availability> {
        validate::unsupported("arpCheck", &self.arp_check.filter(|wanted| *wanted))?;
        let mut tx = asked.engine.db().read().await?;
        find::<L3NetworkInventory>(&mut tx, self.l3_network_uuid).await?;
        let reason = self.obstacle(&mut tx).await?;
        Ok(Availability { available: reason.is_none(), reason })
    }
}

api! {
    GetIpAddressCapacity: GET "/ip-capacity" only admin {
        #[serde(default, deserialize_with = "validate::list")]
        zone_uuids: Vec<Id<Zone>>,
        #[serde(default, deserialize_with = "validate::list")]
        l3_network_uuids: Vec<Id<L3Network>>,
        #[serde(default, deserialize_with = "validate::list")]
        ip_range_uuids: Vec<Id<IpRange>>,
        #[serde(default, deserialize_with = "validate::plain")]
        all: Option<bool>,
    }
}

impl GetIpAddressCapacity {
    /// What the sums are told by, and the resource of that kind that a range counts for, if it counts.
    fn key(&self, space: &Space) -> (&'static str, Option<Id<Any>>) {
        let named = |listed: bool, id| (listed || self.all == Some(true)).then_some(id);
        if !self.ip_range_uuids.is_empty() {
            let listed = self.ip_range_uuids.contains(&space.ip_range);
            return ("IpRangeVO", named(listed, space.ip_range.cast()));
        }
        if !self.l3_network_uuids.is_empty() {
            let listed = self.l3_network_uuids.contains(&space.l3_network);
            return ("L3NetworkVO", named(listed, space.l3_network.cast()));
        }
        ("ZoneVO", named(self.zone_uuids.contains(&space.zone), space.zone.cast()))
    }
}

#[derive(Clone, Copy, Default)]
struct Sum {
    total: i64,
    used: i64,
}

impl Sum {
    fn add(&mut self, space: &Space) {
        self.total += space.total;
        self.used += space.used;
    }

    fn shown(self) -> Capacity {
        let (total, available, used) = (self.total, self.total - self.used, self.used);
        Capacity {
            total_capacity: total,
            available_capacity: available,
            used_ip_address_number: used,
            ipv4_total_capacity: total,
            ipv4_available_capacity: available,
            ipv4_used_ip_address_number: used,
            ipv6_total_capacity: 0,
            ipv6_available_capacity: 0,
            ipv6_used_ip_address_number: 0,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Capacity {
    total_capacity: i64,
    available_capacity: i64,
    used_ip_address_number: i64,
    ipv4_total_capacity: i64,
    ipv4_available_capacity: i64,
    ipv4_used_ip_address_number: i64,
    ipv6_total_capacity: i64,
    ipv6_available_capacity: i64,
    ipv6_used_ip_address_number: i64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacities {
    #[serde(flatten)]
    whole: Capacity,
    resource_type: &'static str,
    capacity_data: Vec<Part>,
}

/// What counts for one resource.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Part {
    resource_uuid: Id<Any>,
    #[serde(flatten)]
    capacity: Capacity,
}

impl Ask for GetIpAddressCapacity {
    const ROUTE: Route = GetIpAddressCapacity::ROUTE;
    type Reply = Capacities;

    async fn answer(self, asked: Asked) -> Result<Capacities> {
        let none = self.zone_uuids.is_empty() && self.l3_network_uuids.is_empty();
        if none && self.ip_range_uuids.is_empty() && self.all != Some(true) {
            return Err(codes::INVALID_ARGUMENT
                .because("name \"zoneUuids\", \"l3NetworkUuids\" or \"ipRangeUuids\", or ask for \"all\""));
        }
        let (mut whole, mut parts, mut kind) = (Sum::default(), BTreeMap::<Id<Any>, Sum>::new(), "ZoneVO");
        for space in store::spaces(&mut asked.engine.db().read().await?).await? {
            let (by, counted) = self.key(&space);
            kind = by;
            if let Some(resource) = counted {
                whole.add(&space);
                parts.entry(resource).or_default().add(&space);
            }
        }
        let parts = parts.into_iter();
        let parts = parts.map(|(resource_uuid, sum)| Part { resource_uuid, capacity: sum.shown() });
        Ok(Capacities { whole: whole.shown(), resource_type: kind, capacity_data: parts.collect() })
    }
}
