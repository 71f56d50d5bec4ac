//! Makes sure that a VM is gone: its domain and its QEMU.

use std::time::Duration;

use wire::Fault;

use super::limits;
use crate::state::Host;
use crate::sys::libvirt::Error;
use crate::sys::qemu_process;

/// How long the end of a VM may take to show.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);

/// Powers the VM off if it is there. When it returns well, neither libvirt nor the process table knows it.
pub(super) async fn make_absent(host: &Host, uuid: &str) -> Result<(), Fault> {
    if is_absent(host, uuid).await? {
        return Ok(());
    }
    let powered_off = missing_is_fine(host.libvirt.power_off(uuid).await);
    if let Err(error) = &powered_off {
        tracing::warn!(vm = uuid, %error, "libvirt does not power the vm off");
        kill(uuid).await?;
    }
    missing_is_fine(host.libvirt.undefine(uuid).await)?;
    let until = tokio::time::Instant::now() + PATIENCE;
    while !is_absent(host, uuid).await? {
        if tokio::time::Instant::now() > until {
            powered_off?;
            return Err(Fault::new(format!("vm {uuid} was powered off and is still there")));
        }
        // A domain that is gone while its QEMU is not will not be ended by anybody else.
        if host.libvirt.find(uuid).await?.is_none() {
            kill(uuid).await?;
        }
        tokio::time::sleep(LOOK).await;
    }
    limits::tidy().await;
    Ok(())
}

async fn is_absent(host: &Host, uuid: &str) -> Result<bool, Fault> {
    Ok(host.libvirt.find(uuid).await?.is_none() && !has_process(uuid).await?)
}

pub(super) async fn has_process(uuid: &str) -> Result<bool, Fault> {
    let uuid = uuid.to_owned();
    Ok(tokio::task::spawn_blocking(move || qemu_process::find(&uuid)).await??.is_some())
}

async fn kill(uuid: &str) -> Result<bool, Fault> {
    let uuid = uuid.to_owned();
    Ok(tokio::task::spawn_blocking(move || qemu_process::kill_leftover(&uuid)).await??)
}

fn missing_is_fine(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.is_missing() => Ok(()),
        outcome => outcome,
    }
}
