//! An affinity group: VMs that shall be on one host, or on different ones.
//!
//! | policy | |
//! |---|---|
//! | `antiHard` | no two of its VMs are on one host: what finds no other host does not start |
//! | `antiSoft` | not where there is another host |
//! | `proHard` | all of its VMs are where the first one is |
//! | `proSoft` | where there is room |
//!
//! A disabled group steers nothing. Which VMs are in it, and what that means for them, is theirs to know.

mod api;
mod cascade;
mod store;

use engine::db::Tx;
use engine::inventory::{Members, Shown, attach_shown, page_uuids};
use engine::module::Module;
use engine::query::Relation;
use engine::quota::Quota;
use engine::{Any, Id, Result, Stamp, inventory};

use crate::zone::{Zone, ZoneInventory};

pub use api::Policy;
pub use store::{enter, leave, of_member, owner};

/// Marks ids of affinity groups.
#[derive(Debug)]
pub enum AffinityGroup {}

/// Marks ids of memberships.
#[derive(Debug)]
pub enum AffinityGroupUsage {}

inventory! {
    /// An affinity group as the API shows it.
    AffinityGroupInventory in "affinity_group" seen Owned("uuid") {
        uuid: Id<AffinityGroup>,
        name: String,
        description: Option<String>,
        policy: String,
        version: String,
        r#type: String,
        appliance: String,
        zone_uuid: Option<Id<Zone>>,
        state: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill {
        usages: Vec<Shown<AffinityGroupUsageInventory>>,
    } => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid").back("affinityGroup"),
        Relation::many::<AffinityGroupUsageInventory>("usages", "affinity_group_uuid").back("affinityGroup"),
    ]
}

inventory! {
    /// That a VM is in an affinity group.
    AffinityGroupUsageInventory in "affinity_group_usage" seen Owned("resource_uuid") {
        uuid: Id<AffinityGroupUsage>,
        affinity_group_uuid: Id<AffinityGroup>,
        resource_uuid: Id<Any>,
        resource_type: String,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

impl AffinityGroupInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let usages: Vec<AffinityGroupUsageInventory> = store::usages(tx, page_uuids(page)).await?;
        attach_shown(tx, page, "usages", &usages, |usage| usage.affinity_group_uuid.to_string()).await
    }

    /// What it asks of its VMs; nothing while it is disabled.
    pub fn asks(&self) -> Option<Policy> {
        Policy::named(&self.policy).filter(|_| self.state == "Enabled")
    }
}

pub const NUM: Quota = Quota { name: "affinitygroup.num", default: 10, used: store::OWNED };

const EVENTS: &[(&str, &str)] = &[
    ("/affinity-group/joined", "a VM is in it: vmInstanceUuid"),
    ("/affinity-group/left", "a VM is in it no more: vmInstanceUuid"),
];

pub fn module() -> Module {
    Module::new("affinity group")
        .category("affinityGroup")
        .query::<AffinityGroupInventory>("QueryAffinityGroup", "/affinity-groups")
        .related::<AffinityGroupUsageInventory>()
        .api::<api::CreateAffinityGroup>()
        .api::<api::UpdateAffinityGroup>()
        .api::<api::ChangeAffinityGroupState>()
        .api::<api::DeleteAffinityGroup>()
        .cascade(&cascade::AffinityGroupKind, cascade::EDGES)
        .quotas(&[&NUM])
        .events(EVENTS)
}
