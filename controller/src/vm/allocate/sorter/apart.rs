use engine::Id;

use super::{Look, Sorter};
use crate::affinity_group::Policy;
use crate::host::Host;

/// Where VMs are that this one would rather not be with: the fewest of them first.
pub(super) struct Apart;

impl Sorter for Apart {
    fn weights(&self, look: &Look<'_>) -> Vec<(Id<Host>, i64)> {
        let bonds = look.groups.iter().filter(|bond| bond.policy == Policy::AntiSoft);
        bonds.flat_map(|bond| bond.hosts.iter().map(|(host, vms)| (*host, *vms))).collect()
    }
}
