//! What a VM's firmware and TPM keep beside its disks.

use std::fs;
use std::io;

use super::domain_xml::{dashed, nvram};

/// Where libvirt keeps what software TPMs remember.
const TPM: &str = "/var/lib/libvirt/swtpm";

/// Succeeds when there is nothing.
pub fn forget(uuid: &str) -> io::Result<()> {
    gone_is_fine(fs::remove_file(nvram(uuid)))?;
    gone_is_fine(fs::remove_dir_all(format!("{TPM}/{}", dashed(uuid))))
}

fn gone_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
