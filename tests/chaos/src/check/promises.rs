//! What clients were told, against what is true at the end.

use super::Finding;
use super::store::Metadata;
use crate::load::client::{GONE, Kind, Owned};
use crate::load::history::{Entry, Step};

/// Calls that were promised and have no outcome, or were not to be refused.
pub fn all(history: &[Entry]) -> Vec<Finding> {
    let wrong = history.iter().filter_map(|entry| {
        let what = match entry.step {
            Step::Lost => "was acknowledged, and nobody knows of it",
            Step::Open => "was acknowledged, and does not end",
            // Whoever cancels may be too late.
            Step::Refused if entry.call != "cancel" => "was refused",
            _ => return None,
        };
        let text = format!("{} of {} (job {}) {what}: {}", entry.call, entry.object, entry.job, entry.said);
        Some(Finding::new(text, &[&entry.object, &entry.job]))
    });
    wrong.collect()
}

/// Things that are not as their clients were told.
pub fn true_of(owned: &[Owned], metadata: &Metadata) -> Vec<Finding> {
    let wrong = owned.iter().filter_map(|owned| {
        let is = how(owned, metadata).unwrap_or(GONE);
        let told = &owned.may_be;
        (!told.contains(is)).then(|| {
            let text = format!("{:?} {} is {is}, its client was told {told:?}", owned.kind, owned.uuid);
            Finding::new(text, &[&owned.uuid])
        })
    });
    wrong.collect()
}

fn how<'a>(owned: &Owned, metadata: &'a Metadata) -> Option<&'a str> {
    match owned.kind {
        Kind::Vm => metadata.vms.iter().find(|vm| vm.uuid == owned.uuid).map(|vm| vm.state.as_str()),
        Kind::Zone => metadata.zones.get(&owned.uuid).map(String::as_str),
        Kind::Image => metadata.images.get(&owned.uuid).map(String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn entry(step: Step) -> Entry {
        let text = String::new;
        Entry { at: 0, object: "o".into(), job: "j".into(), call: "create".into(), step, said: text() }
    }

    #[test]
    fn a_promise_without_an_outcome_is_found() {
        assert_eq!(all(&[entry(Step::Acknowledged), entry(Step::Failed), entry(Step::Done)]), []);
        for step in [Step::Lost, Step::Open, Step::Refused] {
            assert_eq!(all(&[entry(step)]).len(), 1, "{step:?}");
        }
    }

    #[test]
    fn a_thing_that_is_otherwise_than_was_told_is_found() {
        let owned = |name: &str| Owned {
            kind: Kind::Zone,
            uuid: "z".into(),
            may_be: BTreeSet::from([name.to_owned()]),
        };
        let metadata = Metadata { zones: [("z".to_owned(), "new".to_owned())].into(), ..Metadata::default() };
        assert_eq!(true_of(&[owned("new")], &metadata), []);
        assert_eq!(true_of(&[owned("old")], &metadata).len(), 1);
        assert_eq!(true_of(&[owned(GONE)], &metadata).len(), 1);
        assert_eq!(true_of(&[owned("new")], &Metadata::default()).len(), 1);
    }
}
