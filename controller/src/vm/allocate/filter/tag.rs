use super::{Candidate, Filter, Look};

/// It carries the users' tags that the VM wants.
pub(super) struct Tag;

impl Filter for Tag {
    fn refuse(&self, look: &Look<'_>, host: &Candidate) -> Option<String> {
        let mut lacking = look.tagged.iter().filter(|(_, hosts)| !hosts.contains(&host.host.uuid));
        let (tag, _) = lacking.next()?;
        Some(format!("has no user tag \"{tag}\", which a hostTag of the vm wants"))
    }
}
