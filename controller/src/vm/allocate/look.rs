//! What is found out once for a choice, and one host after the other looked at with it.

use std::collections::{HashMap, HashSet};

use engine::db::Tx;
use engine::{Id, Result};

use super::filter::FILTERS;
use super::{Candidate, Demand, Place};
use crate::affinity_group::{AffinityGroupInventory, Policy};
use crate::cluster::Cluster;
use crate::host::Host;
use crate::primary_storage::PrimaryStorage;
use crate::vm::affinity;

/// A choice under way.
pub struct Look<'d> {
    pub demand: &'d Demand,
    /// The affinity groups that ask something, and how many VMs of each stand on which hosts.
    pub groups: Vec<Bond>,
    /// The hosts that carry each of the users' tags that are wanted.
    pub tagged: Vec<(String, HashSet<Id<Host>>)>,
    /// What L2 network a cluster lacks for the VM, if one, as far as it was asked.
    pub(super) networks: HashMap<Id<Cluster>, Option<String>>,
    /// Where the host that was looked at last would take the disk.
    pub(super) storage: Option<Id<PrimaryStorage>>,
}

/// What a group asks, and where its other VMs are.
pub struct Bond {
    pub policy: Policy,
    pub group: AffinityGroupInventory,
    pub hosts: HashMap<Id<Host>, i64>,
}

/// Why a host cannot take the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// By its type name.
    pub filter: &'static str,
    /// What stands behind the host's name: `is Disabled`.
    pub reason: String,
}

impl<'d> Look<'d> {
    /// Asks nothing for a VM that is in no group and wants no tags.
    pub async fn of(tx: &mut Tx, demand: &'d Demand) -> Result<Look<'d>> {
        let (mut groups, mut tagged) = (Vec::new(), Vec::new());
        for group in &demand.groups {
            let near = affinity::neighbours(tx, *group, demand.vm).await?;
            if let Some(policy) = near.group.asks() {
                groups.push(Bond { policy, group: near.group, hosts: near.hosts });
            }
        }
        for tag in &demand.host_tags {
            tagged.push((tag.clone(), affinity::tagged_hosts(tx, tag).await?));
        }
        Ok(Look { demand, groups, tagged, networks: HashMap::new(), storage: None })
    }

    /// The place on the host, or why the VM cannot be there.
    pub(in crate::vm) async fn at(
        &mut self,
        tx: &mut Tx,
        candidate: &Candidate,
    ) -> Result<Result<Place, Refusal>> {
        if let Some(refusal) = self.known(candidate) {
            return Ok(Err(refusal));
        }
        self.storage = None;
        for (filter, driver) in FILTERS.all() {
            if let Some(reason) = driver.refuse_asking(tx, self, candidate).await? {
                return Ok(Err(Refusal { filter, reason }));
            }
        }
        Ok(Ok(Place { host: candidate.host.clone(), storage: self.storage.take() }))
    }

    /// Why the VM cannot be there, as far as that is known without asking the database.
    pub fn known(&self, candidate: &Candidate) -> Option<Refusal> {
        FILTERS.all().into_iter().find_map(|(filter, driver)| {
            driver.refuse(self, candidate).map(|reason| Refusal { filter, reason })
        })
    }

    /// All that keeps the VM from the host.
    pub(in crate::vm) async fn refusals(
        &mut self,
        tx: &mut Tx,
        candidate: &Candidate,
    ) -> Result<Vec<Refusal>> {
        let mut refusals = Vec::new();
        self.storage = None;
        for (filter, driver) in FILTERS.all() {
            let known = driver.refuse(self, candidate);
            let reasons = known.into_iter().chain(driver.refuse_asking(tx, self, candidate).await?);
            refusals.extend(reasons.map(|reason| Refusal { filter, reason }));
        }
        Ok(refusals)
    }

    /// Where the host that was looked at last would take the disk.
    pub fn storage(&self) -> Option<Id<PrimaryStorage>> {
        self.storage
    }
}
