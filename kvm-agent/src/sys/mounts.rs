//! What is mounted, and NFS shares.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use host::process::{self, program};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use wire::Fault;

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    pub at: PathBuf,
    /// A device, or `server:/path`.
    pub source: String,
}

/// What is mounted at `path` itself, uppermost.
pub fn at(path: &Path) -> io::Result<Option<Mounted>> {
    let table = fs::read("/proc/self/mountinfo")?;
    let lines = table.split(|byte| *byte == b'\n').filter_map(parse);
    Ok(lines.rev().find(|mounted| mounted.at == path))
}

/// Runs `mount.nfs` of the package `nfs-common`.
pub async fn mount_nfs(url: &str, path: &Path, options: &str) -> Result<(), Fault> {
    let mut mount = program("mount.nfs").arg(url).arg(path);
    if !options.is_empty() {
        mount = mount.args(["-o", options]);
    }
    match mount.run().await {
        Err(error @ process::Error::Start { .. }) => {
            Err(Fault::new(format!("{error}: install nfs-common (nfs-utils) on this host")))
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

/// Succeeds when nothing is mounted there; fails while something there is in use.
pub fn unmount(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw`.
fn parse(line: &[u8]) -> Option<Mounted> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let source = String::from_utf8_lossy(&unescaped(fields.get(dash + 2)?)).into_owned();
    Some(Mounted { at: PathBuf::from(OsString::from_vec(unescaped(fields.get(4)?))), source })
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_table_is_read() {
        let line = b"36 35 0:52 / /mnt/a\\040b rw,relatime shared:1 - nfs4 10.0.0.1:/a\\134b rw,vers=4.2";
        let (at, source) = (PathBuf::from("/mnt/a b"), "10.0.0.1:/a\\b".to_owned());
        assert_eq!(parse(line), Some(Mounted { at, source }));
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn the_root_is_mounted_and_a_plain_directory_is_not() {
        assert!(at(Path::new("/proc")).unwrap().is_some());
        assert_eq!(at(Path::new("/proc/self")).unwrap(), None);
    }
}
