//! Who has a disk image open.
//!
//! QEMU locks ranges of every image it opens, those it only reads too, with open-file-description locks.
//! Asking the kernel for a conflicting lock sees them across namespaces and after restarts of anything but
//! QEMU; looking through `/proc` would not.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Whether a QEMU (a guest or `qemu-img`) has the image at `path` open.
pub fn is_in_use(path: &Path) -> io::Result<bool> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut question = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        // To the end, wherever that is.
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(&file, FcntlArg::F_OFD_GETLK(&mut question)) {
        Ok(_) => Ok(question.l_type != libc::F_UNLCK as libc::c_short),
        // A file system without locks: QEMU could not lock either.
        Err(Errno::ENOLCK | Errno::EOPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_of_another_is_seen_until_it_is_gone() {
        let image = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_in_use(image.path()).unwrap());
        let reader = File::open(image.path()).unwrap();
        // As QEMU marks "I depend on consistent data".
        let lock = libc::flock {
            l_type: libc::F_RDLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 100,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&reader, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        assert!(is_in_use(image.path()).unwrap());
        drop(reader);
        assert!(!is_in_use(image.path()).unwrap());
    }
}
