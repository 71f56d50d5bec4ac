//! What the standard library does not tell of files and file systems.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::statvfs::statvfs;

/// The room of a file system, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// What an unprivileged user could still write.
    pub available: u64,
}

/// The room of the file system that `path` lies on.
pub fn space(path: &Path) -> io::Result<Space> {
    let told = statvfs(path)?;
    let unit = told.fragment_size();
    Ok(Space { total: told.blocks() * unit, available: told.blocks_available() * unit })
}

/// Opens a file for reading without following a link at its end, and without waiting at a pipe.
pub fn open_plainly(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_no_more_free_than_it_has() {
        let space = space(Path::new("/")).unwrap();
        assert!(space.total > 0 && space.available <= space.total);
        assert!(super::space(Path::new("/no/such/place")).is_err());
    }

    #[test]
    fn a_link_is_not_followed() {
        assert!(open_plainly(Path::new("/proc/self/exe")).is_err());
        assert!(open_plainly(Path::new("/etc/passwd")).is_ok());
    }
}
