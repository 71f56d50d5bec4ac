//! The metadata against itself, and against what hosts have.

use std::collections::{BTreeMap, BTreeSet};

use fleet::State;

use super::Finding;
use super::store::Metadata;
use crate::hosts;

type Things = BTreeSet<String>;

/// What does not add up. `hosts` are in the order of [`hosts::addresses`].
pub fn sound(metadata: &Metadata, hosts: &[State]) -> Vec<Finding> {
    let mut findings = of_itself(metadata);
    for (address, state) in hosts::addresses().into_iter().zip(hosts) {
        let Some(host) = metadata.hosts.get(&address.to_string()) else { continue };
        findings.extend(of_host(metadata, host, state));
    }
    let bits = hosts.iter().flat_map(|host| host.images.clone()).collect();
    let copies = metadata.copies.iter().map(|(image, _)| image.clone()).collect();
    findings.extend(differ("images on the backup storage", &copies, &bits));
    findings
}

fn of_itself(metadata: &Metadata) -> Vec<Finding> {
    let mut findings: Vec<_> =
        metadata.loose.iter().map(|one| Finding::new(format!("{one} is nobody's"), &[])).collect();
    for vm in &metadata.vms {
        let on_host = vm.state == "Running";
        if vm.host.is_some() != on_host || vm.claim != vm.host {
            let what = format!("vm {} is {}, on {:?}, claims {:?}", vm.uuid, vm.state, vm.host, vm.claim);
            findings.push(Finding::new(what, &[&vm.uuid]));
        }
        if vm.root.is_none() || on_host && vm.root_host != vm.host {
            findings.push(Finding::new(
                format!("the root volume of vm {} is astray: {vm:?}", vm.uuid),
                &[&vm.uuid],
            ));
        }
    }
    let mut given = BTreeMap::new();
    for nic in &metadata.nics {
        if nic.ip.is_none() || nic.ip != nic.used {
            let what = format!("nic {} has {:?} and holds {:?}", nic.uuid, nic.ip, nic.used);
            findings.push(Finding::new(what, &[&nic.vm]));
        }
        if let Some(other) = given.insert(&nic.ip, &nic.vm) {
            findings.push(Finding::new(format!("{:?} is given to two VMs", nic.ip), &[&nic.vm, other]));
        }
    }
    findings
}

fn of_host(metadata: &Metadata, host: &str, state: &State) -> Vec<Finding> {
    let mine = metadata.vms.iter().filter(|vm| vm.host.as_deref() == Some(host));
    let mine: Things = mine.map(|vm| vm.uuid.clone()).collect();
    let domains = state.domains.keys().cloned().collect();
    let roots = metadata.vms.iter().filter(|vm| vm.root_host.as_deref() == Some(host));
    let roots = roots.filter_map(|vm| vm.root.clone()).collect();
    let nics = metadata.nics.iter().filter(|nic| mine.contains(&nic.vm));
    let nics = nics.map(|nic| nic.mac.clone()).collect();
    let mut findings = differ(&format!("VMs on host {host}"), &mine, &domains);
    findings.extend(differ(&format!("volumes on host {host}"), &roots, &state.volumes));
    findings.extend(differ(
        &format!("leases on host {host}"),
        &nics,
        &state.leases.keys().cloned().collect(),
    ));
    findings
}

fn differ(what: &str, metadata: &Things, real: &Things) -> Vec<Finding> {
    let finding = |one: &String, text: &str| {
        // The uuids in it, such as that of a path's volume.
        let about: Vec<_> =
            one.split(|c: char| !c.is_ascii_alphanumeric()).filter(|p| p.len() == 32).collect();
        Finding::new(format!("{what}: {one} {text}"), &about)
    };
    let missing = metadata.difference(real).map(|one| finding(one, "is in the metadata only"));
    let orphans = real.difference(metadata).map(|one| finding(one, "is an orphan"));
    missing.chain(orphans).collect()
}

#[cfg(test)]
mod tests {
    use super::super::store::Vm;
    use super::*;

    fn metadata() -> Metadata {
        let vm = Vm {
            uuid: "v".into(),
            state: "Running".into(),
            host: Some("h".into()),
            claim: Some("h".into()),
            root: Some("/disk".into()),
            root_host: Some("h".into()),
        };
        let hosts = [(hosts::addresses()[0].to_string(), "h".to_owned())].into();
        Metadata { vms: vec![vm], hosts, ..Metadata::default() }
    }

    fn state() -> State {
        State {
            domains: [("v".to_owned(), "Running".to_owned())].into(),
            volumes: ["/disk".to_owned()].into(),
            ..State::default()
        }
    }

    #[test]
    fn what_agrees_is_sound() {
        assert_eq!(sound(&metadata(), &[state()]), []);
    }

    #[test]
    fn orphans_and_what_is_missing_are_found() {
        let mut more = state();
        more.domains.insert("orphan".into(), "Running".into());
        assert_eq!(sound(&metadata(), &[more]).len(), 1);
        assert_eq!(sound(&metadata(), &[State::default()]).len(), 2);
        let mut leak = metadata();
        leak.vms[0].state = "Stopped".into();
        assert_eq!(sound(&leak, &[state()]).len(), 1);
    }
}
