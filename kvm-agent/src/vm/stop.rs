//! Ends a VM, gently or not.

use std::time::Duration;

use tokio::time::Instant;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::vm::{Destroy, Stop};

use super::{checked, end};
use crate::state::Host;
use crate::sys::libvirt::State;

/// For a command that names no time.
const DEFAULT_TIMEOUT: u64 = 60;
const LONGEST_TIMEOUT: u64 = 24 * 3600;
const LOOK: Duration = Duration::from_millis(200);

pub async fn stop(cx: Cx<Host>, cmd: Stop) -> Result<Done, Fault> {
    let uuid = checked(&cmd.uuid)?;
    let gently = match cmd.kind.as_str() {
        "grace" | "" => true,
        "cold" | "force" => false,
        other => {
            return Err(Fault::new(format!("stop type {other:?} is not known: use grace, cold or force")));
        }
    };
    let _one = cx.vms.lock(uuid.clone()).await;
    if gently {
        shut_down(&cx, &uuid, grace(cmd.timeout)).await?;
    }
    remove(&cx, &uuid).await
}

pub async fn destroy(cx: Cx<Host>, cmd: Destroy) -> Result<Done, Fault> {
    let uuid = checked(&cmd.uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    remove(&cx, &uuid).await
}

/// Half of the time is the guest's; the other half is left for ending a guest that does not listen.
pub(super) fn grace(timeout: u64) -> Duration {
    let timeout = if timeout == 0 { DEFAULT_TIMEOUT } else { timeout.min(LONGEST_TIMEOUT) };
    Duration::from_millis(timeout * 1000 / 2)
}

/// Asks the guest to power off and waits for it. Whether it did is for the caller to see.
pub(super) async fn shut_down(host: &Host, uuid: &str, patience: Duration) -> Result<(), Fault> {
    // A guest that does not run cannot hear; one that is going down already need not be asked.
    if state(host, uuid).await? == Some(State::Running)
        && let Err(error) = host.libvirt.press_power_button(uuid).await
        && !error.is_missing()
    {
        tracing::warn!(vm = uuid, %error, "cannot ask the guest to power off");
        return Ok(());
    }
    let until = Instant::now() + patience;
    while Instant::now() < until {
        match state(host, uuid).await? {
            Some(State::Running | State::ShuttingDown) => tokio::time::sleep(LOOK).await,
            _ => return Ok(()),
        }
    }
    tracing::info!(vm = uuid, "the guest did not power off in time");
    Ok(())
}

async fn remove(cx: &Cx<Host>, uuid: &str) -> Result<Done, Fault> {
    end::make_absent(cx, uuid).await?;
    cx.restarts.forget(uuid)?;
    cx.seeds.forget(uuid)?;
    tracing::info!(vm = uuid, "gone");
    Ok(Done {})
}

async fn state(host: &Host, uuid: &str) -> Result<Option<State>, Fault> {
    Ok(host.libvirt.find(uuid).await?.map(|domain| domain.state))
}
