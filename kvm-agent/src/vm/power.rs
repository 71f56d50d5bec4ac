//! Pauses and resumes a VM.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::vm::{Pause, Resume};

use super::{checked, not_here};
use crate::state::Host;
use crate::sys::libvirt::State;

pub async fn pause(cx: Cx<Host>, cmd: Pause) -> Result<Done, Fault> {
    let uuid = checked(&cmd.uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    match state(&cx, &uuid).await? {
        State::Paused => {}
        State::Running => cx.libvirt.suspend(&uuid).await?,
        other => return Err(wrong(&uuid, other, "paused")),
    }
    Ok(Done {})
}

pub async fn resume(cx: Cx<Host>, cmd: Resume) -> Result<Done, Fault> {
    let uuid = checked(&cmd.uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    match state(&cx, &uuid).await? {
        State::Running => {}
        State::Paused => cx.libvirt.resume(&uuid).await?,
        other => return Err(wrong(&uuid, other, "resumed")),
    }
    Ok(Done {})
}

async fn state(cx: &Cx<Host>, uuid: &str) -> Result<State, Fault> {
    Ok(cx.libvirt.find(uuid).await?.ok_or_else(|| not_here(uuid))?.state)
}

fn wrong(uuid: &str, state: State, what: &str) -> Fault {
    Fault::new(format!("vm {uuid} cannot be {what}: it is {}", state.as_str()))
}
