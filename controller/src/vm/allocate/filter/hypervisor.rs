use super::{Candidate, Filter, Look};

/// It runs VMs of this kind.
pub(super) struct Hypervisor;

impl Filter for Hypervisor {
    fn refuse(&self, look: &Look<'_>, host: &Candidate) -> Option<String> {
        let (runs, wanted) = (&host.host.hypervisor_type, &look.demand.hypervisor);
        (runs != wanted).then(|| format!("runs {runs}, {wanted} is needed"))
    }
}
