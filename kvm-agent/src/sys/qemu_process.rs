//! QEMU processes, found by the uuid in their arguments: the last word on whether a VM is gone.
//!
//! Only those in the agent's own network namespace are seen: where several hosts share a machine (tests,
//! a migration between two of them), each has its own.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::domain_xml::dashed;

/// The QEMU that runs VM `uuid`, as far as this process may see it.
pub fn find(uuid: &str) -> io::Result<Option<Pid>> {
    let uuid = dashed(uuid);
    Ok(all()?.into_iter().find_map(|(running, pid)| (running == uuid).then_some(pid)))
}

/// The VMs that QEMUs run, by their uuids without dashes.
pub fn running() -> io::Result<Vec<String>> {
    Ok(all()?.into_iter().map(|(uuid, _)| uuid.replace('-', "")).collect())
}

fn all() -> io::Result<Vec<(String, Pid)>> {
    let here = fs::read_link("/proc/self/ns/net")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may end while we look.
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let Some(uuid) = runs(&line) else { continue };
        if fs::read_link(entry.path().join("ns/net")).is_ok_and(|ns| ns == here) {
            found.push((uuid, Pid::from_raw(pid)));
        }
    }
    Ok(found)
}

/// Ends the QEMU that runs VM `uuid` if there is one; tells whether there was. It gets no last word: this
/// is for one that no longer listens.
pub fn kill_leftover(uuid: &str) -> io::Result<bool> {
    let Some(pid) = find(uuid)? else { return Ok(false) };
    tracing::warn!(vm = uuid, %pid, "killing a qemu that outlived its domain");
    match kill(pid, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The uuid, with dashes, of the VM that a process of these arguments runs, if it is a QEMU.
pub(super) fn runs(line: &[u8]) -> Option<String> {
    let mut words = line.split(|&byte| byte == 0);
    let program = words.next().unwrap_or_default();
    let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let is_qemu = name.starts_with(b"qemu-system-") || name == b"qemu-kvm";
    let uuid = words.skip_while(|word| *word != b"-uuid").nth(1)?;
    is_qemu.then(|| String::from_utf8_lossy(uuid).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn a_qemu_is_known_by_its_uuid_argument() {
        let line = format!("/usr/bin/qemu-system-x86_64\0-name\0guest=x\0-uuid\0{UUID}\0-m\x00128");
        assert_eq!(runs(line.as_bytes()).as_deref(), Some(UUID));
    }

    #[test]
    fn no_other_program_is_taken_for_a_qemu() {
        assert_eq!(runs(format!("/bin/grep\0-uuid\0{UUID}").as_bytes()), None);
        assert_eq!(runs(format!("/usr/bin/qemu-system-x86_64\0-name\0{UUID}").as_bytes()), None);
    }
}
