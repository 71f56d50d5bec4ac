use super::{Candidate, Filter, Look};

/// It is enabled, with what it lies in, and answers.
pub(super) struct HostState;

impl Filter for HostState {
    fn refuse(&self, _look: &Look<'_>, candidate: &Candidate) -> Option<String> {
        let host = &candidate.host;
        if host.state != "Enabled" {
            Some(format!("is {}", host.state))
        } else if !host.is_connected() {
            Some(format!("is {}", host.status))
        } else if candidate.cluster_state != "Enabled" {
            Some(format!(
                "is in cluster \"{}\", which is {}",
                candidate.cluster_name, candidate.cluster_state
            ))
        } else if candidate.zone_state != "Enabled" {
            Some(format!("is in zone \"{}\", which is {}", candidate.zone_name, candidate.zone_state))
        } else {
            None
        }
    }
}
