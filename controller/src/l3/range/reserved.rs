//! Addresses that are given to nobody: whoever has one keeps it, and nobody else gets one.

use std::net::Ipv4Addr;

use engine::api::{Api, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::db::{Tx, Value};
use engine::inventory::{Inventory, find, show};
use engine::query::Relation;
use engine::{Id, Result, Stamp, api, codes, inventory};
use serde_json::json;

use super::store;
use crate::l3::{self, L3Network, L3NetworkInventory};

/// Marks ids of reserved ranges.
#[derive(Debug)]
pub enum ReservedIpRange {}

inventory! {
    /// A reserved range as the API shows it, within its network.
    ReservedIpRangeInventory in "reserved_ip_range" seen Owned("uuid") {
        uuid: Id<ReservedIpRange>,
        l3_network_uuid: Id<L3Network>,
        start_ip: String,
        end_ip: String,
        ip_version: i64,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<L3NetworkInventory>("l3Network", "l3_network_uuid").back("reservedIpRanges"),
    ]
}

/// The reserved ranges of each of `networks`.
pub(in crate::l3) async fn of_all(
    tx: &mut Tx,
    networks: Vec<Value>,
) -> Result<Vec<ReservedIpRangeInventory>> {
    store::reserved_of_all(tx, networks).await
}

api! {
    AddReservedIpRange: POST "/l3-networks/{l3NetworkUuid}/reserved-ip-ranges" "params" {
        l3_network_uuid: Id<L3Network>,
        start_ip: Ipv4Addr,
        end_ip: Ipv4Addr,
        resource_uuid: Option<Id<ReservedIpRange>>,
    }
}

impl Api for AddReservedIpRange {
    const ROUTE: Route = AddReservedIpRange::ROUTE;
    const MAKES: Option<&'static str> = Some(ReservedIpRangeInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let (start, end) = (self.start_ip, self.end_ip);
        if start > end {
            let details = format!("\"startIp\" {start} must not come after \"endIp\" {end}");
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                let network: L3NetworkInventory = find(tx, self.l3_network_uuid).await?;
                l3::store::refuse_deleting(tx, &network).await?;
                if let Some((from, to)) = store::reserved_overlapping(tx, network.uuid, start, end).await? {
                    let name = &network.name;
                    let details = format!("{from} to {to} of l3 network \"{name}\" is reserved already");
                    return Err(codes::INVALID_ARGUMENT.because(details));
                }
                store::reserve(tx, uuid, network.uuid, start, end).await?;
                show::<ReservedIpRangeInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    DeleteReservedIpRange: DELETE "/l3-networks/reserved-ip-ranges/{uuid}" {
        uuid: Id<ReservedIpRange>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteReservedIpRange {
    const ROUTE: Route = DeleteReservedIpRange::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<ReservedIpRangeInventory>(tx, self.uuid).await?;
                store::unreserve(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}
