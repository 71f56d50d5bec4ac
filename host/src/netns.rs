//! Named network namespaces, as `ip netns` knows them: a file below `/run/netns` on which the kernel's
//! handle is mounted.
//!
//! Invariants: making one that is there and removing one that is not succeed; a file that a crash left
//! without its mount is not a namespace and is finished by the next [`create`]; no thread of the async
//! runtime ever changes its namespace: whoever must enter one does so on a thread of its own.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use tokio::sync::oneshot;

use crate::netlink::{self, Netlink};

/// Where named namespaces live.
pub const DIR: &str = "/run/netns";

/// An open namespace; it lives at least as long as this.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

/// Makes the namespace `name`; succeeds when it is there.
pub async fn create(name: &str) -> io::Result<Namespace> {
    let path = path_of(name)?;
    let name = name.to_owned();
    apart(move || {
        let _lock = shared_dir()?;
        if let Some(there) = open_at(&name, &path)? {
            return Ok(there);
        }
        OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        bind(Path::new("/proc/thread-self/ns/net"), &path)?;
        open_at(&name, &path)?.ok_or_else(|| io::Error::other(format!("namespace {name:?} vanished")))
    })
    .await?
}

/// The namespace `name`, unless there is none.
pub fn open(name: &str) -> io::Result<Option<Namespace>> {
    open_at(name, &path_of(name)?)
}

/// Takes the name away; the namespace itself ends with its last process. Succeeds when it is gone.
pub async fn delete(name: &str) -> io::Result<()> {
    let path = path_of(name)?;
    apart(move || {
        match umount2(&path, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        fs::remove_file(&path).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
    })
    .await?
}

impl Namespace {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// What tells it from every other namespace that lives.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let meta = self.file.metadata()?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Whether the process `pid` lives in it.
    pub fn holds(&self, pid: i32) -> io::Result<bool> {
        let meta = match fs::metadata(format!("/proc/{pid}/ns/net")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            meta => meta?,
        };
        Ok((meta.dev(), meta.ino()) == self.identity()?)
    }

    /// Runs `work` inside, on a thread of its own.
    pub async fn within<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let file = self.file.try_clone()?;
        apart(move || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            work()
        })
        .await?
    }

    /// A conversation about the links inside.
    pub async fn netlink(&self) -> Result<Netlink, netlink::Error> {
        let file = self.file.try_clone().map_err(netlink::Error::Open)?;
        Netlink::open_within(move || Ok(setns(&file, CloneFlags::CLONE_NEWNET)?)).await
    }
}

/// Runs `work` on a fresh thread, which may change what it sees of the machine: it ends with the work.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new().name("apart".into()).spawn(move || done.send(work()))?;
    outcome.await.map_err(|_| io::Error::other("a thread outside the runtime panicked"))
}

/// Gives the calling thread mounts of its own, in which the directory `source` stands at `target` too.
/// What the machine unmounts later vanishes here as well. Only for a thread of [`apart`].
pub fn mount_privately(source: &Path, target: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&Path>, Path::new("/"), None::<&Path>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&Path>)?;
    bind(source, target)
}

fn path_of(name: &str) -> io::Result<PathBuf> {
    let sound = !name.is_empty() && name.len() <= 255 && !name.contains(['/', '\0']);
    if !sound || name == "." || name == ".." {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} names no namespace")));
    }
    Ok(Path::new(DIR).join(name))
}

fn open_at(name: &str, path: &Path) -> io::Result<Option<Namespace>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mounted = fstatfs(&file)?.filesystem_type() == NSFS_MAGIC;
    Ok(mounted.then(|| Namespace { name: name.to_owned(), file }))
}

/// Makes the directory of all names a shared mount, as `ip netns` does, so that what is mounted there is
/// seen, and later let go, by every process with mounts of its own. The lock is iproute2's, too.
fn shared_dir() -> io::Result<Flock<File>> {
    fs::create_dir_all(DIR)?;
    let lock = Flock::lock(File::open(DIR)?, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    let dir = Path::new(DIR);
    let share =
        || mount(None::<&Path>, dir, None::<&Path>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&Path>);
    match share() {
        Err(Errno::EINVAL) => {
            mount(Some(dir), dir, None::<&Path>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&Path>)?;
            share()?;
        }
        shared => shared?,
    }
    Ok(lock)
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    let bound = mount(Some(source), target, None::<&Path>, MsFlags::MS_BIND, None::<&Path>);
    bound.map_err(|error| {
        io::Error::other(format!("cannot mount {} on {}: {error}", source.display(), target.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leaves_the_directory_is_refused() {
        for name in ["", ".", "..", "../etc/passwd", "a/b"] {
            assert_eq!(create(name).await.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
            assert_eq!(delete(name).await.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }

    #[tokio::test]
    async fn a_panic_outside_the_runtime_is_an_error() {
        let outcome = apart(|| -> () { panic!("on purpose") }).await;
        assert!(outcome.unwrap_err().to_string().contains("panicked"));
    }

    #[tokio::test]
    async fn a_namespace_is_made_once_entered_and_removed() {
        let name = format!("cumulet-test-{}", std::process::id());
        let made = create(&name).await.unwrap();
        let again = create(&name).await.unwrap();
        assert_eq!(made.identity().unwrap(), again.identity().unwrap());
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(!made.holds(pid).unwrap());
        let inside = made.within(|| fs::read_to_string("/proc/thread-self/net/dev")).await.unwrap();
        assert_eq!(inside.lines().count(), 3, "only lo is there: {inside}");
        delete(&name).await.unwrap();
        delete(&name).await.unwrap();
        assert!(open(&name).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_file_left_without_its_mount_is_finished() {
        let name = format!("cumulet-torn-{}", std::process::id());
        fs::create_dir_all(DIR).unwrap();
        fs::write(Path::new(DIR).join(&name), "").unwrap();
        assert!(open(&name).unwrap().is_none());
        create(&name).await.unwrap();
        assert!(open(&name).unwrap().is_some());
        delete(&name).await.unwrap();
    }
}
