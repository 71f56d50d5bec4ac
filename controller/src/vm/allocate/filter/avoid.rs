use super::{Candidate, Filter, Look};

/// The host that the VM is to leave.
pub(super) struct AvoidHost;

impl Filter for AvoidHost {
    fn refuse(&self, look: &Look<'_>, host: &Candidate) -> Option<String> {
        (look.demand.avoid == Some(host.host.uuid)).then(|| "is the one that the vm is to leave".into())
    }
}
