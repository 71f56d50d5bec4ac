//! What hosts carried out: nothing twice, nothing on the word of a superseded owner, one owner in an epoch.

use std::collections::{BTreeMap, BTreeSet};

use fleet::Effect;

use super::Finding;

/// Of each host its effects in order.
pub fn all(hosts: &[Vec<Effect>]) -> Vec<Finding> {
    let mut findings = twice(hosts);
    findings.extend(hosts.iter().flat_map(|effects| superseded(effects)));
    findings.extend(two_owners(hosts));
    findings.extend(started_again(hosts));
    findings
}

fn twice(hosts: &[Vec<Effect>]) -> Vec<Finding> {
    let mut seen = BTreeMap::<&str, &Effect>::new();
    let mut findings = Vec::new();
    for effect in hosts.iter().flatten() {
        if let Some(before) = seen.insert(&effect.task, effect) {
            let what = format!("one task had two effects: {before:?} and {effect:?}");
            findings.push(Finding::new(what, &[&effect.task, &effect.resource]));
        }
    }
    findings
}

/// On each agent, the epochs of a resource never go down.
fn superseded(effects: &[Effect]) -> Vec<Finding> {
    let mut highest = BTreeMap::<(&str, &str), &Effect>::new();
    let mut findings = Vec::new();
    for effect in effects.iter().filter(|effect| !effect.resource.is_empty()) {
        let place = (effect.resource.as_str(), agent(&effect.path));
        match highest.get(&place) {
            Some(newer) if newer.epoch > effect.epoch => {
                let what = format!("a superseded owner's command took effect: {effect:?} after {newer:?}");
                findings.push(Finding::new(what, &[&effect.resource, &effect.task]));
            }
            _ => drop(highest.insert(place, effect)),
        }
    }
    findings
}

/// Which of a host's agents serves the path.
fn agent(path: &str) -> &str {
    match path {
        _ if path.contains("/flatnetworkprovider") || path.contains("dhcp") => "vrouter",
        _ if path.contains("/sftpbackupstorage") || path.contains("/imagestore") => "storage",
        _ => "kvm",
    }
}

fn two_owners(hosts: &[Vec<Effect>]) -> Vec<Finding> {
    let mut owners = BTreeMap::<(&str, u64), BTreeSet<&str>>::new();
    for effect in hosts.iter().flatten().filter(|effect| !effect.resource.is_empty()) {
        owners.entry((&effect.resource, effect.epoch)).or_default().insert(&effect.sender);
    }
    let several = owners.into_iter().filter(|(_, owners)| owners.len() > 1);
    several
        .map(|((resource, epoch), owners)| {
            Finding::new(format!("{owners:?} both acted on {resource} in epoch {epoch}"), &[resource])
        })
        .collect()
}

fn started_again(hosts: &[Vec<Effect>]) -> Vec<Finding> {
    let again = hosts.iter().flatten().filter(|effect| effect.again);
    again
        .map(|effect| Finding::new(format!("a running VM was started: {effect:?}"), &[&effect.resource]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(task: &str, epoch: u64, sender: &str) -> Effect {
        Effect {
            at: 0,
            task: task.into(),
            path: "/vm/start".into(),
            resource: "vm".into(),
            generation: 1,
            epoch,
            sender: sender.into(),
            done: true,
            again: false,
        }
    }

    #[test]
    fn a_sound_history_is_found_sound() {
        let effects = vec![effect("a", 1, "c0"), effect("b", 1, "c0"), effect("c", 2, "c1")];
        assert_eq!(all(&[effects]), []);
    }

    #[test]
    fn each_wrong_is_found() {
        let twice = vec![effect("a", 1, "c0"), effect("a", 2, "c0")];
        assert_eq!(all(&[twice]).len(), 1);
        let superseded = vec![effect("a", 2, "c0"), effect("b", 1, "c1")];
        assert_eq!(all(&[superseded]).len(), 1);
        let two_owners = vec![vec![effect("a", 1, "c0")], vec![effect("b", 1, "c1")]];
        assert_eq!(all(&two_owners).len(), 1);
        let again = vec![Effect { again: true, ..effect("a", 1, "c0") }];
        assert_eq!(all(&[again]).len(), 1);
    }
}
