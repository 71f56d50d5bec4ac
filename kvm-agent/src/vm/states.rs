//! Which VMs are in which state.
//!
//! A QEMU that libvirt has lost runs all the same: its VM is told as Running, so that nobody takes it for
//! stopped and starts it a second time.

use std::collections::BTreeMap;

use wire::Fault;
use wire::agent::Cx;
use wire::calls::vm::{CheckState, States, Sync};

use crate::state::Host;
use crate::sys::domain_xml::is_uuid;
use crate::sys::libvirt::State;
use crate::sys::qemu_process;

/// All VMs of this host. Domains whose name is no uuid are not VMs of any cloud.
pub async fn sync(cx: Cx<Host>, _: Sync) -> Result<States, Fault> {
    Ok(told(look(&cx).await?))
}

/// The VMs asked for; one that is not here is shut down as far as this host knows.
pub async fn check_state(cx: Cx<Host>, cmd: CheckState) -> Result<States, Fault> {
    let known = look(&cx).await?;
    let state = |uuid: String| {
        let state = known.get(&uuid).copied().unwrap_or(State::Off);
        (uuid, state)
    };
    Ok(told(cmd.vm_uuids.into_iter().map(state).collect()))
}

/// libvirt is asked first: what starts after that is seen by its QEMU.
async fn look(host: &Host) -> Result<BTreeMap<String, State>, Fault> {
    let domains = host.libvirt.domains().await?.into_iter();
    let mut known: BTreeMap<String, State> =
        domains.filter(|domain| is_uuid(&domain.name)).map(|domain| (domain.name, domain.state)).collect();
    for uuid in tokio::task::spawn_blocking(qemu_process::running).await?? {
        if is_uuid(&uuid) {
            known.entry(uuid).or_insert(State::Running);
        }
    }
    Ok(known)
}

fn told(known: BTreeMap<String, State>) -> States {
    let going = known.iter().filter(|(_, state)| **state == State::ShuttingDown);
    let vm_in_shutdowns = going.map(|(uuid, _)| uuid.clone()).collect();
    let states = known.into_iter().map(|(uuid, state)| (uuid, state.as_str().to_owned())).collect();
    States { states, vm_in_shutdowns }
}
