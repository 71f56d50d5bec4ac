//! The affinity groups of VMs: who comes and goes, and where their neighbours are.
//!
//! A VM stands on the host that it is on, on the one that it is about to move to, and on the one where its
//! root volume lies, if that lies on one alone: there it starts again. Who is chosen a host is chosen it in the
//! unit that claims it, and units run one after another, so that two cannot miss each other.

mod api;
mod store;

use std::collections::HashMap;

use engine::db::Tx;
use engine::inventory::{Inventory, find};
use engine::module::Module;
use engine::tag::{self, Hold, SystemTag, Tokens, Wanted};
use engine::{Id, Result, codes};

use super::{VmInstance, VmInstanceInventory};
use crate::affinity_group::{self, AffinityGroup, AffinityGroupInventory};
use crate::host::Host;

/// A group that the VM is in.
pub(super) const GROUP: SystemTag = SystemTag {
    resource: VmInstanceInventory::KIND,
    pattern: "affinityGroupUuid::{affinityGroupUuid}",
    help: "an affinity group that the VM is in from its making on; it comes and goes with addVmToAffinityGroup",
    hold: Hold::Birth,
    once: &["affinityGroupUuid"],
    check: |tokens| group(tokens).map(|_| ()),
};

/// A user's tag that hosts must carry.
pub(super) const HOST_TAG: SystemTag = SystemTag {
    resource: VmInstanceInventory::KIND,
    pattern: "hostTag::{hostTag}",
    help: "the VM starts and moves only to hosts that carry this user tag",
    hold: Hold::Free,
    once: &["hostTag"],
    check: |_| Ok(()),
};

fn group(tokens: &Tokens) -> Result<Id<AffinityGroup>> {
    let text = tokens.get("affinityGroupUuid");
    text.parse().map_err(|error: String| codes::INVALID_ARGUMENT.because(error))
}

/// What a VM's tags say of where it may be.
pub(super) struct Bonds {
    pub groups: Vec<Id<AffinityGroup>>,
    pub host_tags: Vec<String>,
}

impl Bonds {
    /// What is said of a VM that is to be made.
    pub fn wanted(tags: &Wanted) -> Result<Bonds> {
        let groups: Result<Vec<_>> = tags.tokens(&GROUP).iter().map(group).collect();
        let host_tags = tags.tokens(&HOST_TAG).iter().map(|said| said.get("hostTag").to_owned()).collect();
        Ok(Bonds { groups: groups?, host_tags })
    }

    /// What is said of a VM that is there.
    pub async fn of(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Bonds> {
        let groups = affinity_group::of_member(tx, vm.cast()).await?;
        let host_tags = tag::tokens(tx, &HOST_TAG, vm.cast()).await?;
        Ok(Bonds { groups, host_tags: host_tags.iter().map(|said| said.get("hostTag").to_owned()).collect() })
    }
}

/// Refuses groups that are not the owner's of the VM.
pub(super) async fn check_owner(
    tx: &mut Tx,
    groups: &[Id<AffinityGroup>],
    account: Id<engine::Any>,
) -> Result<()> {
    for group in groups {
        if affinity_group::owner(tx, *group).await? != Some(account) {
            let details = format!("there is no affinity group of uuid {group}; it may have been deleted");
            return Err(codes::NOT_FOUND.because(details));
        }
    }
    Ok(())
}

/// A new VM is in these groups.
pub(super) async fn join(tx: &mut Tx, groups: &[Id<AffinityGroup>], vm: Id<VmInstance>) -> Result<()> {
    for group in groups {
        affinity_group::enter(tx, *group, vm.cast()).await?;
    }
    Ok(())
}

/// A group that asks something, and how many of its other VMs stand on which hosts.
pub(super) struct Neighbours {
    pub group: AffinityGroupInventory,
    pub hosts: HashMap<Id<Host>, i64>,
}

/// Those of a group, but for `vm` itself.
pub(super) async fn neighbours(
    tx: &mut Tx,
    group: Id<AffinityGroup>,
    vm: Option<Id<VmInstance>>,
) -> Result<Neighbours> {
    let group: AffinityGroupInventory = find(tx, group).await?;
    let hosts = match group.asks() {
        Some(_) => store::neighbours(tx, group.uuid, vm).await?,
        None => HashMap::new(),
    };
    Ok(Neighbours { group, hosts })
}

pub(super) use store::tagged_hosts;

pub(super) fn add_to(module: Module) -> Module {
    module.api::<api::AddVmToAffinityGroup>().api::<api::RemoveVmFromAffinityGroup>().tags(&[GROUP, HOST_TAG])
}

#[cfg(test)]
mod tests;
