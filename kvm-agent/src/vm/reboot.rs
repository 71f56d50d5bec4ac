//! Reboots a VM: ends its QEMU and starts another from the same definition, so that a changed boot order
//! and a newer QEMU take effect.
//!
//! Between the end and the start, the definition exists nowhere but in a file of this agent: whoever
//! repeats the command, this agent after its death or a controller after a failure, starts the VM from
//! it. The new domain's mark names the task, so that a repeated command does not reboot twice. The file is
//! forgotten when the VM runs, when it is stopped or destroyed, and with the host's reboot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wire::Fault;
use wire::agent::Cx;
use wire::calls::vm::{Reboot, Rebooted};

use super::{checked, end, not_here, start, stop};
use crate::record::replace;
use crate::state::{Host, private_dir};
use crate::sys::domain_xml::restart;
use crate::sys::libvirt::State;
use crate::sys::machine;

pub async fn reboot(cx: Cx<Host>, cmd: Reboot) -> Result<Rebooted, Fault> {
    let uuid = checked(&cmd.uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let task = cx.task().id.to_string();
    let there = cx.libvirt.find(&uuid).await?;
    if there.is_some_and(|domain| matches!(domain.state, State::Running | State::Paused | State::Suspended)) {
        let now = cx.libvirt.restartable_xml(&uuid).await?;
        if restart::restarted_by(&now)?.as_deref() == Some(&task) {
            cx.restarts.forget(&uuid)?;
            return report(&cx, &uuid).await;
        }
        cx.restarts.keep(&uuid, &restart::prepare(&now, &cmd.boot_dev, &task)?)?;
    }
    let next = cx.restarts.kept(&uuid)?.ok_or_else(|| not_here(&uuid))?;
    stop::shut_down(&cx, &uuid, stop::grace(cmd.timeout)).await?;
    end::make_absent(&cx, &uuid).await?;
    start::create(&cx, &uuid, next, false).await?;
    cx.restarts.forget(&uuid)?;
    tracing::info!(vm = uuid, "rebooted");
    report(&cx, &uuid).await
}

async fn report(cx: &Cx<Host>, uuid: &str) -> Result<Rebooted, Fault> {
    Ok(Rebooted { virtualizer_info: start::confirm(cx, uuid).await?.virtualizer_info })
}

/// Definitions of VMs that are between their end and their start. They hold console passwords.
pub struct Restarts {
    dir: PathBuf,
}

impl Restarts {
    /// Forgets those from before the host's last boot: their VMs may run elsewhere by now.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        private_dir(&dir)?;
        let (mark, boot) = (dir.join("boot"), machine::boot_id());
        if fs::read_to_string(&mark).ok().as_deref() != Some(boot.as_str()) {
            for entry in fs::read_dir(&dir)? {
                fs::remove_file(entry?.path())?;
            }
            replace(&mark, boot.as_bytes())?;
        }
        Ok(Restarts { dir })
    }

    pub fn forget(&self, uuid: &str) -> io::Result<()> {
        match fs::remove_file(self.path(uuid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn keep(&self, uuid: &str, xml: &str) -> io::Result<()> {
        replace(&self.path(uuid), xml.as_bytes())
    }

    fn kept(&self, uuid: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.path(uuid)) {
            Ok(xml) => Ok(Some(xml)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self, uuid: &str) -> PathBuf {
        Path::new(&self.dir).join(format!("{uuid}.xml"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_definition_outlives_the_agent_and_not_the_host() {
        let dir = tempfile::tempdir().unwrap();
        Restarts::open(dir.path().to_owned()).unwrap().keep("vm", "<domain/>").unwrap();
        let again = Restarts::open(dir.path().to_owned()).unwrap();
        assert_eq!(again.kept("vm").unwrap().as_deref(), Some("<domain/>"));
        fs::write(dir.path().join("boot"), "another boot").unwrap();
        let after = Restarts::open(dir.path().to_owned()).unwrap();
        assert_eq!(after.kept("vm").unwrap(), None);
        after.forget("vm").unwrap();
    }
}
