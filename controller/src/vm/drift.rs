//! A VM that is not in the state that the records say: what follows, by table, and how the records follow.
//!
//! Everything here runs in a flow that owns the VM, so that nothing else happens to it meanwhile; only the
//! listing does not, and decides nothing.

use engine::db::Tx;
use engine::flow::Cx;
use engine::{Any, Id, Result, codes};

use super::fallen::Fall;
use super::{VmInstance, VmInstanceInventory, boot, store};
use crate::host::driver::VmState;
use crate::host::{self, Host, HostInventory};

pub use store::{Stand, off_hosts, on_host};

/// A VM that is in one of these states, and is that on its host, is in truth in this state.
const BECOMES: &[(&[&str], VmState, &str)] = &[
    (&["Running", "Paused", "Unknown", "Crashed", "NoState"], VmState::Absent, "Stopped"),
    (&["Stopped", "Paused", "Unknown", "Crashed", "NoState"], VmState::Running, "Running"),
    (&["Stopped", "Running", "Unknown", "Crashed", "NoState"], VmState::Paused, "Paused"),
    (&["Running", "Paused", "Unknown", "NoState"], VmState::Crashed, "Crashed"),
];

/// The state that the records should say instead of `state`; none when they are right.
pub fn becomes(state: &str, found: VmState) -> Option<&'static str> {
    let row = BECOMES.iter().find(|(from, is, _)| *is == found && from.contains(&state));
    row.map(|(.., to)| *to)
}

/// Asks the host again: what the records should say of the VM there, if anything else than they do.
pub async fn look(cx: &Cx, host: &HostInventory, vm: Id<Any>) -> Result<Option<String>> {
    let vm: VmInstanceInventory = match engine::inventory::find(&mut cx.read().await?, vm).await {
        Err(error) if error.is(codes::NOT_FOUND) => return Ok(None),
        found => found?,
    };
    if vm.host_uuid.is_some_and(|other| other != host.uuid) {
        return Ok(None);
    }
    let found = host.hypervisor()?.vm_state(cx, host, &vm.uuid.to_string()).await?;
    Ok(becomes(&vm.state, found).map(str::to_owned))
}

/// The services of the VM's networks follow. The truth about the VM does not wait for them: what they fail
/// to forget is found as a lease without owner.
pub async fn follow(cx: &Cx, host: &HostInventory, vm: Id<Any>, to: &str) -> Result<()> {
    let vm: Id<VmInstance> = vm.cast();
    let followed = match to {
        "Stopped" => boot::unserve(cx, host, vm).await,
        _ => boot::serve(cx, host, vm).await,
    };
    match followed {
        Err(error) if !error.says_nothing() => {
            tracing::warn!(%vm, to, %error, "its network services do not follow");
            Ok(())
        }
        outcome => outcome,
    }
}

/// The records say from now on what is so.
pub async fn record(tx: &mut Tx, vm: Id<Any>, host: Id<Host>, to: &str) -> Result<()> {
    let vm: VmInstanceInventory = engine::inventory::find(tx, vm).await?;
    if to == "Stopped" {
        return store::fell(tx, vm.uuid, Fall::Itself).await;
    }
    if vm.host_uuid.is_none() {
        let host: HostInventory = engine::inventory::find(tx, host).await?;
        store::place(tx, vm.uuid, &host).await?;
        host::claim_as_it_is(tx, vm.uuid.cast(), host.uuid, vm.cpu_num, vm.memory_size).await?;
    }
    store::set_state(tx, vm.uuid, to).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_follow_what_is_and_nothing_that_passes() {
        for (state, found, to) in [
            ("Running", VmState::Absent, Some("Stopped")),
            ("Running", VmState::Paused, Some("Paused")),
            ("Running", VmState::Crashed, Some("Crashed")),
            ("Stopped", VmState::Running, Some("Running")),
            ("Unknown", VmState::Running, Some("Running")),
            ("Running", VmState::Running, None),
            ("Running", VmState::Passing, None),
            ("Stopped", VmState::Absent, None),
            ("Destroyed", VmState::Running, None),
            ("Starting", VmState::Absent, None),
        ] {
            assert_eq!(becomes(state, found), to, "{state} {found:?}");
        }
    }
}
