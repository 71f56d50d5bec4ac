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
    let here = fs::read_link("/proc/self/ns/net")?;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may end while we look.
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        if runs(&line, &uuid) && fs::read_link(entry.path().join("ns/net")).is_ok_and(|ns| ns == here) {
            return Ok(Some(Pid::from_raw(pid)));
        }
    }
    Ok(None)
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

fn runs(line: &[u8], uuid: &str) -> bool {
    let mut words = line.split(|&byte| byte == 0);
    let program = words.next().unwrap_or_default();
    let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let is_qemu = name.starts_with(b"qemu-system-") || name == b"qemu-kvm";
    is_qemu && words.skip_while(|word| *word != b"-uuid").nth(1) == Some(uuid.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn a_qemu_is_known_by_its_uuid_argument() {
        let line = format!("/usr/bin/qemu-system-x86_64\0-name\0guest=x\0-uuid\0{UUID}\0-m\x00128");
        assert!(runs(line.as_bytes(), UUID));
        assert!(!runs(line.as_bytes(), "ffffffff-89ab-cdef-0123-456789abcdef"));
    }

    #[test]
    fn no_other_program_is_taken_for_a_qemu() {
        assert!(!runs(format!("/bin/grep\0-uuid\0{UUID}").as_bytes(), UUID));
        assert!(!runs(format!("/usr/bin/qemu-system-x86_64\0-name\0{UUID}").as_bytes(), UUID));
    }
}
