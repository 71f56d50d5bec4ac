use engine::Id;

use super::{Look, Sorter};
use crate::affinity_group::Policy;
use crate::host::Host;

/// Where VMs are that this one shall be with: the most of them first.
pub(super) struct Together;

impl Sorter for Together {
    fn weights(&self, look: &Look<'_>) -> Vec<(Id<Host>, i64)> {
        let drawn = |policy| matches!(policy, Policy::ProHard | Policy::ProSoft);
        let bonds = look.groups.iter().filter(|bond| drawn(bond.policy));
        bonds.flat_map(|bond| bond.hosts.iter().map(|(host, vms)| (*host, -vms))).collect()
    }
}
