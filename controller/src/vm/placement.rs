//! Where a VM would be put, and why nowhere else: what a creation would find, told host by host. Nothing is
//! made, and nothing is claimed: by the time of a creation another may have come first.

use std::collections::{BTreeMap, HashSet};

use engine::api::{Ask, Asked, Param, Route};
use engine::db::Tx;
use engine::inventory::Inventory;
use engine::module::Module;
use engine::tag::Wanted as Tags;
use engine::{Id, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::VmInstanceInventory;
use super::allocate::{self, Candidate, Demand, LISTED, Look, Order};
use super::creation::CreateVmInstance;
use crate::cluster::Cluster;
use crate::host::Host;
use crate::primary_storage::PrimaryStorage;
use crate::validate::within;

/// What CreateVmInstance takes, and which part of the answer is wanted.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct GetVmPlacement {
    wish: CreateVmInstance,
    start: usize,
    limit: usize,
}

const OWN: [Param; 2] =
    [Param { name: "start", kind: "Option<i64>" }, Param { name: "limit", kind: "Option<i64>" }];
const THEIRS: &[Param] = CreateVmInstance::ROUTE.params;
const PARAMS: [Param; OWN.len() + THEIRS.len()] = {
    let (mut params, mut at) = ([OWN[0]; OWN.len() + THEIRS.len()], 0);
    while at < params.len() {
        params[at] = if at < OWN.len() { OWN[at] } else { THEIRS[at - OWN.len()] };
        at += 1;
    }
    params
};
/// So many hosts are told of unless it is said.
const LIMIT: i64 = 100;
const MOST: i64 = 1000;

impl TryFrom<Map<String, Value>> for GetVmPlacement {
    type Error = String;

    fn try_from(mut params: Map<String, Value>) -> Result<Self, String> {
        let mut number = |name: &str, usual: i64| match params.remove(name) {
            None => Ok(usual),
            Some(value) => value.as_i64().ok_or_else(|| format!("\"{name}\" is no number")),
        };
        let (start, limit) = (number("start", 0)?, number("limit", LIMIT)?);
        let inside = within("start", start, 0..=MOST).and_then(|()| within("limit", limit, 1..=MOST));
        inside.map_err(|error| error.details().to_owned())?;
        params.entry("name").or_insert_with(|| "placement".into());
        let wish = serde_json::from_value(params.into()).map_err(|error| error.to_string())?;
        let size = |number| usize::try_from(number).unwrap_or(0);
        Ok(GetVmPlacement { wish, start: size(start), limit: size(limit) })
    }
}

impl JsonSchema for GetVmPlacement {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GetVmPlacement".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = CreateVmInstance::json_schema(generator);
        let number = |least: i64, help: &str| {
            json!({ "type": ["integer", "null"], "format": "int64",
            "minimum": least, "maximum": MOST, "description": help })
        };
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("start".into(), number(0, "So many hosts are left out."));
            properties
                .insert("limit".into(), number(1, "So many hosts are told of, 100 when nothing is said."));
        }
        schema.remove("required");
        let help = "Where CreateVmInstance would put a VM with these parameters, and what keeps it from each \
                    other host. Nothing is made.";
        schema.insert("description".into(), help.into());
        schema
    }
}

/// What a creation would find.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// How many hosts there are in the zone and cluster that are wanted.
    total: usize,
    /// How many of them were looked at.
    looked: usize,
    /// How many of these would do.
    fit: usize,
    /// How many each filter refuses; a host may be refused by several.
    refused: BTreeMap<&'static str, usize>,
    /// Those that would do come first, in the order in which they are tried.
    hosts: Vec<Spot>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PlacementHost")]
struct Spot {
    host_uuid: Id<Host>,
    name: String,
    cluster_uuid: Id<Cluster>,
    /// VMs that it has.
    vms: i64,
    /// 1 is the one that is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<usize>,
    /// Where the root volume would lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_storage_uuid: Option<Id<PrimaryStorage>>,
    refusals: Vec<Told>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlacementRefusal")]
struct Told {
    filter: &'static str,
    reason: String,
}

impl Ask for GetVmPlacement {
    const ROUTE: Route = Route {
        name: "GetVmPlacement",
        path: "/vm-instances/placement",
        admin: true,
        params: &PARAMS,
        ..CreateVmInstance::ROUTE
    };
    const LIKE: Option<&'static str> = Some(VmInstanceInventory::KIND);
    type Reply = Placement;

    async fn answer(self, asked: Asked) -> Result<Placement> {
        let tags = asked.tags;
        asked.engine.db().read_much(move |tx| Box::pin(async move { self.find(tx, &tags).await })).await
    }
}

impl GetVmPlacement {
    async fn find(self, tx: &mut Tx, tags: &Tags) -> Result<Placement> {
        let (demand, strategy) = self.wish.demand(tx, tags).await?;
        allocate::check_strategy(&strategy)?;
        let (spots, total) = spots(tx, &demand, &strategy).await?;
        let (looked, mut refused) = (spots.len(), BTreeMap::new());
        for told in spots.iter().flat_map(|spot| &spot.refusals) {
            *refused.entry(told.filter).or_default() += 1;
        }
        let (mut hosts, unfit): (Vec<_>, Vec<_>) =
            spots.into_iter().partition(|spot| spot.refusals.is_empty());
        let fit = hosts.len();
        for (rank, spot) in (1..).zip(&mut hosts) {
            spot.rank = Some(rank);
        }
        hosts.extend(unfit);
        let hosts = hosts.into_iter().skip(self.start).take(self.limit).collect();
        Ok(Placement { total, looked, fit, refused, hosts })
    }
}

/// The hosts in the order in which they are tried, and then those that are not tried at all; and how many
/// there are.
async fn spots(tx: &mut Tx, demand: &Demand, strategy: &str) -> Result<(Vec<Spot>, usize)> {
    let mut look = Look::of(tx, demand).await?;
    let mut order = Order::of(&look, strategy)?;
    let mut spots = Spots::default();
    while let Some(hosts) = order.next(tx, demand).await?.filter(|_| !spots.are_enough()) {
        spots.look_at(tx, &mut look, hosts).await?;
    }
    let (others, total) = allocate::in_scope(tx, demand, LISTED).await?;
    spots.look_at(tx, &mut look, others).await?;
    Ok((spots.found, total))
}

#[derive(Default)]
struct Spots {
    found: Vec<Spot>,
    seen: HashSet<Id<Host>>,
}

impl Spots {
    fn are_enough(&self) -> bool {
        self.found.len() >= LISTED
    }

    /// Each host once.
    async fn look_at(&mut self, tx: &mut Tx, look: &mut Look<'_>, hosts: Vec<Candidate>) -> Result<()> {
        for candidate in hosts {
            if self.are_enough() || !self.seen.insert(candidate.host.uuid) {
                continue;
            }
            let refusals = look.refusals(tx, &candidate).await?.into_iter();
            let refusals = refusals.map(|refusal| Told { filter: refusal.filter, reason: refusal.reason });
            self.found.push(Spot {
                host_uuid: candidate.host.uuid,
                name: candidate.host.name,
                cluster_uuid: candidate.host.cluster_uuid,
                vms: candidate.vms,
                rank: None,
                primary_storage_uuid: look.storage(),
                refusals: refusals.collect(),
            });
        }
        Ok(())
    }
}

pub(super) fn add_to(module: Module) -> Module {
    module.ask::<GetVmPlacement>()
}
