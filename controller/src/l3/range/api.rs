use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find, present, show};
use engine::{Id, Result, api, codes, deletion};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::store::{self, NewRange};
use super::{IpRange, IpRangeInventory, Limits};
use crate::l3::{self, L3Network, L3NetworkInventory};
use crate::validate;

/// What the addresses of a range are given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum RangeType {
    /// VMs.
    Normal,
    /// Floating addresses.
    AddressPool,
}

fn check_type(kind: Option<RangeType>) -> Result<()> {
    match kind {
        None | Some(RangeType::Normal) => Ok(()),
        Some(RangeType::AddressPool) => Err(codes::UNIMPLEMENTED
            .because("\"ipRangeType\": \"AddressPool\" is not supported yet: use \"Normal\"")),
    }
}

/// Adds the range where it fits among the others.
async fn add(tx: &mut Tx, range: NewRange<'_>) -> Result<()> {
    let l3: L3NetworkInventory = find(tx, range.l3).await?;
    l3::store::refuse_deleting(tx, &l3).await?;
    if let Some((name, cidr, gateway)) = store::other_network(tx, l3.uuid, &range.limits).await? {
        let details = format!(
            "l3 network \"{}\" has the range \"{name}\" in {cidr} behind gateway {gateway}: all its ranges \
             must have the same network and gateway",
            l3.name
        );
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    if let Some((name, owner, start, end)) = store::overlapping(tx, l3.l2_network_uuid, &range.limits).await?
    {
        let details =
            format!("it overlaps the range \"{name}\" ({start} to {end}) of l3 network \"{owner}\"");
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    store::insert(tx, range).await
}

api! {
    AddIpRange: POST "/l3-networks/{l3NetworkUuid}/ip-ranges" "params" {
        l3_network_uuid: Id<L3Network>,
        name: String,
        description: Option<String>,
        start_ip: String,
        end_ip: String,
        netmask: String,
        gateway: Option<String>,
        ip_range_type: Option<RangeType>,
        resource_uuid: Option<Id<IpRange>>,
    }
}

impl Api for AddIpRange {
    const ROUTE: Route = AddIpRange::ROUTE;
    const MAKES: Option<&'static str> = Some(IpRangeInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        check_type(self.ip_range_type)?;
        let limits =
            Limits::of_addresses(&self.start_ip, &self.end_ip, &self.netmask, self.gateway.as_deref())?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                let (l3, description) = (self.l3_network_uuid, self.description.as_deref());
                add(tx, NewRange { uuid, l3, name: &self.name, description, limits }).await?;
                show::<IpRangeInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    AddIpRangeByNetworkCidr: POST "/l3-networks/{l3NetworkUuid}/ip-ranges/by-cidr" "params" {
        l3_network_uuid: Id<L3Network>,
        name: String,
        description: Option<String>,
        network_cidr: String,
        gateway: Option<String>,
        ip_range_type: Option<RangeType>,
        resource_uuid: Option<Id<IpRange>>,
    }
}

impl Api for AddIpRangeByNetworkCidr {
    const ROUTE: Route = AddIpRangeByNetworkCidr::ROUTE;
    const MAKES: Option<&'static str> = Some(IpRangeInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        check_type(self.ip_range_type)?;
        let limits = Limits::of_cidr(&self.network_cidr, self.gateway.as_deref())?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                let (l3, description) = (self.l3_network_uuid, self.description.as_deref());
                add(tx, NewRange { uuid, l3, name: &self.name, description, limits }).await?;
                one_and_all(tx, uuid).await
            })
        })
        .await
    }
}

/// ZStack answers this call with the range and with the list of one.
async fn one_and_all(tx: &mut Tx, uuid: Id<IpRange>) -> Result<Value> {
    let range: IpRangeInventory = find(tx, uuid).await?;
    let shown = present(tx, &[range]).await?;
    Ok(json!({ "inventory": shown.first(), "inventories": shown }))
}

api! {
    UpdateIpRange: PUT "/l3-networks/ip-ranges/{uuid}/actions" "updateIpRange" {
        uuid: Id<IpRange>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateIpRange {
    const ROUTE: Route = UpdateIpRange::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, self.uuid, self.name.as_deref(), self.description.as_deref()).await?;
                show::<IpRangeInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteIpRange: "/l3-networks/ip-ranges/{uuid}" of IpRange: IpRangeInventory }
