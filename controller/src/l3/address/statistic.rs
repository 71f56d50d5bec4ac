//! Who has which address of a network.

use engine::api::{Ask, Asked, Route};
use engine::inventory::find;
use engine::{Id, Result, Stamp, api, codes};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::store::{self, Held};
use crate::l3::{L3Network, L3NetworkInventory};
use crate::validate;

api! {
    /// Without a member when the network needs no such address.
    GetL3NetworkDhcpIpAddress: GET "/l3-networks/{l3NetworkUuid}/dhcp-ip" {
        l3_network_uuid: Id<L3Network>,
    }
}

impl Ask for GetL3NetworkDhcpIpAddress {
    const ROUTE: Route = GetL3NetworkDhcpIpAddress::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let mut tx = asked.engine.db().read().await?;
        find::<L3NetworkInventory>(&mut tx, self.l3_network_uuid).await?;
        let mut reply = Map::new();
        if let Some((address, _)) = store::dhcp_server(&mut tx, self.l3_network_uuid).await? {
            reply.insert("ip".into(), address.ip.into());
        }
        Ok(reply.into())
    }
}

/// What has an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ResourceType {
    #[default]
    All,
    Vip,
    #[serde(rename = "VM")]
    Vm,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum SortBy {
    #[default]
    Ip,
    CreateDate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    #[default]
    Asc,
    Desc,
}

api! {
    /// The addresses in use, and by whom; `ip` is a part of what they must contain.
    GetL3NetworkIpStatistic: GET "/l3-networks/{l3NetworkUuid}/ip-statistic" {
        l3_network_uuid: Id<L3Network>,
        resource_type: Option<ResourceType>,
        ip: Option<String>,
        sort_by: Option<SortBy>,
        sort_direction: Option<Direction>,
        #[serde(default, deserialize_with = "validate::plain")]
        start: Option<i64>,
        #[serde(default, deserialize_with = "validate::plain")]
        limit: Option<i64>,
        #[serde(default, deserialize_with = "validate::plain")]
        reply_with_count: Option<bool>,
    }
}

/// So many are told at once.
const MOST: i64 = 1000;

impl GetL3NetworkIpStatistic {
    fn wants(&self, held: &Held) -> bool {
        let kind = match self.resource_type.unwrap_or_default() {
            ResourceType::All => true,
            ResourceType::Vip => false,
            ResourceType::Vm => held.vm_instance_uuid.is_some(),
        };
        kind && self.ip.as_ref().is_none_or(|part| held.ip.contains(part.as_str()))
    }

    fn sort(&self, all: &mut [Held]) {
        match self.sort_by.unwrap_or_default() {
            SortBy::Ip => all.sort_by_key(|held| held.ip_in_long),
            SortBy::CreateDate => all.sort_by_key(|held| (held.create_date, held.ip_in_long)),
        }
        if self.sort_direction.unwrap_or_default() == Direction::Desc {
            all.reverse();
        }
    }
}

impl Ask for GetL3NetworkIpStatistic {
    const ROUTE: Route = GetL3NetworkIpStatistic::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let (start, limit) = (self.start.unwrap_or(0), self.limit.unwrap_or(20));
        validate::within("start", start, 0..=i64::MAX)?;
        validate::within("limit", limit, 0..=MOST)?;
        let mut tx = asked.engine.db().read().await?;
        find::<L3NetworkInventory>(&mut tx, self.l3_network_uuid).await?;
        let session =
            asked.session.as_ref().ok_or_else(|| codes::INTERNAL.because("asked without a session"))?;
        let mut all = store::held(&mut tx, self.l3_network_uuid, session.account, session.admin).await?;
        all.retain(|held| self.wants(held));
        self.sort(&mut all);
        let total = all.len();
        let (skipped, taken) = (usize::try_from(start).unwrap_or(0), usize::try_from(limit).unwrap_or(0));
        let page: Vec<_> = all.into_iter().skip(skipped).take(taken).map(shown).collect();
        let mut reply = json!({ "ipStatistics": page });
        if self.reply_with_count == Some(true) {
            reply["total"] = total.into();
        }
        Ok(reply)
    }
}

fn shown(held: Held) -> Value {
    let created: Stamp = held.create_date;
    let mut members = json!({ "ip": held.ip, "createDate": created, "resourceTypes": [] });
    if let Some(used_for) = held.used_for {
        members["useFor"] = used_for.into();
    }
    if let Some(vm) = held.vm_instance_uuid {
        members["resourceTypes"] = json!(["VM"]);
        members["vmInstanceUuid"] = json!(vm);
        members["vmInstanceName"] = json!(held.vm_instance_name);
        members["vmInstanceType"] = "UserVm".into();
    }
    members
}
