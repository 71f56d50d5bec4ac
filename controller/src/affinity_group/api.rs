use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, deletion, quota};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{AffinityGroup, AffinityGroupInventory, NUM, store};
use crate::validate::{self, StateEvent};
use crate::zone::{Zone, ZoneInventory};

/// What a group asks of its VMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AffinityPolicy")]
pub enum Policy {
    AntiSoft,
    AntiHard,
    ProSoft,
    ProHard,
}

impl Policy {
    const ALL: [Policy; 4] = [Policy::AntiSoft, Policy::AntiHard, Policy::ProSoft, Policy::ProHard];

    pub fn name(self) -> &'static str {
        match self {
            Policy::AntiSoft => "antiSoft",
            Policy::AntiHard => "antiHard",
            Policy::ProSoft => "proSoft",
            Policy::ProHard => "proHard",
        }
    }

    pub(super) fn named(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// `type` of a group: what its VMs share, or do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "AffinityType")]
pub enum Type {
    #[default]
    #[serde(rename = "host", alias = "HOST")]
    Host,
}

api! {
    /// Of VMs that shall be on different hosts (`anti…`) or on one (`pro…`): `…Hard` always, `…Soft` where
    /// that can be had.
    CreateAffinityGroup: POST "/affinity-groups" "params" {
        name: String,
        description: Option<String>,
        policy: Policy,
        r#type: Option<Type>,
        zone_uuid: Option<Id<Zone>>,
        resource_uuid: Option<Id<AffinityGroup>>,
    }
}

impl Api for CreateAffinityGroup {
    const ROUTE: Route = CreateAffinityGroup::ROUTE;
    const MAKES: Option<&'static str> = Some(AffinityGroupInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                if let Some(zone) = self.zone_uuid {
                    find::<ZoneInventory>(tx, zone).await?;
                }
                store::insert(tx, uuid, &self).await?;
                quota::check(tx, uuid, &[(&NUM, 1)]).await?;
                show::<AffinityGroupInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    UpdateAffinityGroup: PUT "/affinity-groups/{uuid}/actions" "updateAffinityGroup" {
        uuid: Id<AffinityGroup>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateAffinityGroup {
    const ROUTE: Route = UpdateAffinityGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<AffinityGroupInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    /// A disabled group steers nothing; enabled again, it moves no VM that runs.
    ChangeAffinityGroupState: PUT "/affinity-groups/{uuid}/actions" "changeAffinityGroupState" {
        uuid: Id<AffinityGroup>,
        state_event: StateEvent,
    }
}

impl Api for ChangeAffinityGroupState {
    const ROUTE: Route = ChangeAffinityGroupState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<AffinityGroupInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteAffinityGroup: "/affinity-groups/{uuid}" of AffinityGroup: AffinityGroupInventory }
