//! Which QEMUs have files of a storage open, and their end.
//!
//! Only `/proc` is asked: libvirtd may hang, and what is asked of a storage that hangs does so too. The paths of
//! open files are read from links, which touches no file system; one that is just being started is known by its
//! arguments. A process that is on its way out and waits for its last writes has neither any more: it counts as
//! one that has them all, until it is gone.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::libc;

use super::qemu_process;

/// A QEMU, and what it has open.
pub struct Qemu {
    /// Without dashes; empty when it can no longer be told.
    pub uuid: String,
    process: Process,
    files: Vec<PathBuf>,
    arguments: Vec<u8>,
    is_ending: bool,
}

/// One process and no later one with its number.
struct Process {
    pid: i32,
    handle: OwnedFd,
}

/// All QEMUs in our network namespace (where several hosts share a machine, each has its own).
pub fn all() -> io::Result<Vec<Qemu>> {
    let here = fs::read_link("/proc/self/ns/net")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Whoever ends while we look is gone.
        let of_another = |ns: PathBuf| ns != here;
        if !is_named_qemu(pid) || fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(of_another) {
            continue;
        }
        if let Some(qemu) = Process::open(pid)?.and_then(Qemu::look) {
            found.push(qemu);
        }
    }
    Ok(found)
}

impl Qemu {
    fn look(process: Process) -> Option<Self> {
        let pid = process.pid;
        let mut qemu =
            Qemu { uuid: String::new(), process, files: Vec::new(), arguments: Vec::new(), is_ending: false };
        // The first thread may have ended while another still waits for the storage.
        for thread in threads(pid) {
            let links = fs::read_dir(thread.join("fd")).into_iter().flatten().flatten();
            qemu.files.extend(links.filter_map(|link| fs::read_link(link.path()).ok()));
            if qemu.arguments.is_empty() {
                qemu.arguments = fs::read(thread.join("cmdline")).unwrap_or_default();
            }
            if !qemu.files.is_empty() && !qemu.arguments.is_empty() {
                break;
            }
        }
        if qemu.arguments.is_empty() {
            qemu.is_ending = true;
            return (!is_buried(pid)).then_some(qemu);
        }
        let uuid = qemu_process::runs(&qemu.arguments)?;
        Some(Qemu { uuid: uuid.replace('-', ""), ..qemu })
    }

    /// Whether it has a file below `dir` open, or is about to.
    pub fn uses(&self, dir: &Path) -> bool {
        let mut below = dir.as_os_str().as_bytes().to_vec();
        below.push(b'/');
        self.is_ending
            || self.files.iter().any(|file| file.starts_with(dir))
            || self.arguments.windows(below.len()).any(|part| part == below)
    }

    /// It gets no last word. That it was told so does not mean that it is gone.
    pub fn kill(&self) -> io::Result<()> {
        self.process.kill()
    }
}

impl Process {
    fn open(pid: i32) -> io::Result<Option<Self>> {
        // SAFETY: two numbers go in, a descriptor of our own or an error comes out.
        let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if handle < 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ESRCH) { Ok(None) } else { Err(error) };
        }
        let handle = i32::try_from(handle).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made it for us, and nobody else knows it.
        Ok(Some(Process { pid, handle: unsafe { OwnedFd::from_raw_fd(handle) } }))
    }

    fn kill(&self) -> io::Result<()> {
        let (handle, none) = (self.handle.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: the descriptor is open as long as we are, and a null signal info is allowed.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, handle, libc::SIGKILL, none, 0) };
        let error = io::Error::last_os_error();
        if sent == 0 || error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
    }
}

/// The kernel keeps 15 characters of a program's name, for the dying too.
fn is_named_qemu(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/comm"))
        .is_ok_and(|name| name.starts_with(b"qemu-system-") || name == b"qemu-kvm\n")
}

fn threads(pid: i32) -> Vec<PathBuf> {
    let mut threads = vec![PathBuf::from(format!("/proc/{pid}"))];
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.extend(tasks.map(|task| task.path()));
    threads
}

/// Whether nothing of it is left but its number, which its parent has not taken yet.
fn is_buried(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes().first().copied());
    let alone = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count) <= 1;
    matches!(state, Some(Some(b'Z' | b'X'))) && alone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qemu(files: &[&str], arguments: &str, is_ending: bool) -> Qemu {
        let pid = i32::try_from(std::process::id()).unwrap();
        Qemu {
            uuid: String::new(),
            process: Process::open(pid).unwrap().unwrap(),
            files: files.iter().map(PathBuf::from).collect(),
            arguments: arguments.as_bytes().to_vec(),
            is_ending,
        }
    }

    #[test]
    fn a_storage_is_used_by_open_files_by_arguments_and_by_who_is_on_its_way_out() {
        let uses = |files: &[&str], arguments: &str| qemu(files, arguments, false).uses(Path::new("/mnt/a"));
        assert!(uses(&["socket:[7]", "/mnt/a/x.qcow2"], ""));
        assert!(uses(&["/mnt/a/x.qcow2 (deleted)"], ""));
        assert!(uses(&[], "-blockdev\0{\"filename\":\"/mnt/a/x.qcow2\"}"));
        assert!(!uses(&["/mnt/ab/x.qcow2"], "-drive\0file=/mnt/ab/x.qcow2"));
        assert!(qemu(&[], "", true).uses(Path::new("/mnt/a")));
    }

    #[test]
    fn nobody_else_is_taken_for_a_qemu() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(!is_named_qemu(me) && !is_buried(me));
        assert!(is_buried(i32::MAX) && Process::open(i32::MAX).is_ok_and(|process| process.is_none()));
        assert!(Process::open(me).unwrap().and_then(Qemu::look).is_none());
    }
}
