//! Which VMs are in which state.

use std::collections::BTreeMap;

use wire::Fault;
use wire::agent::Cx;
use wire::calls::vm::{CheckState, States, Sync};

use crate::state::Host;
use crate::sys::domain_xml::is_uuid;
use crate::sys::libvirt::{Domain, State};

/// All VMs of this host. Domains whose name is no uuid are not VMs of any cloud.
pub async fn sync(cx: Cx<Host>, _: Sync) -> Result<States, Fault> {
    let domains = cx.libvirt.domains().await?;
    let vms = || domains.iter().filter(|domain| is_uuid(&domain.name));
    let going = vms().filter(|domain| domain.state == State::ShuttingDown);
    Ok(States {
        states: vms().map(|domain| (domain.name.clone(), word(domain))).collect(),
        vm_in_shutdowns: going.map(|domain| domain.name.clone()).collect(),
    })
}

/// The VMs asked for; one that is not here is shut down as far as this host knows.
pub async fn check_state(cx: Cx<Host>, cmd: CheckState) -> Result<States, Fault> {
    let domains = cx.libvirt.domains().await?;
    let known: BTreeMap<&str, &Domain> =
        domains.iter().map(|domain| (domain.name.as_str(), domain)).collect();
    let state =
        |uuid: &String| known.get(uuid.as_str()).map_or_else(|| State::Off.as_str().into(), |d| word(d));
    let states = cmd.vm_uuids.iter().map(|uuid| (uuid.clone(), state(uuid))).collect();
    Ok(States { states, vm_in_shutdowns: Vec::new() })
}

fn word(domain: &Domain) -> String {
    domain.state.as_str().to_owned()
}
