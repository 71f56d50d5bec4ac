use super::{Candidate, Filter, Look};
use crate::affinity_group::Policy;
use crate::vm::allocate::look::Bond;

/// No group of the VM forbids it.
pub(super) struct AffinityGroup;

impl Filter for AffinityGroup {
    fn refuse(&self, look: &Look<'_>, host: &Candidate) -> Option<String> {
        look.groups.iter().find_map(|bond| refused(bond, host))
    }
}

fn refused(bond: &Bond, host: &Candidate) -> Option<String> {
    let (there, name) = (bond.hosts.get(&host.host.uuid), &bond.group.name);
    match (bond.policy, there) {
        (Policy::AntiHard, Some(vms)) => {
            Some(format!("has {vms} VMs of the antiHard affinity group \"{name}\" already"))
        }
        (Policy::ProHard, None) if !bond.hosts.is_empty() => {
            Some(format!("has no VM of the proHard affinity group \"{name}\", which others have"))
        }
        _ => None,
    }
}
