//! A file of two blocks on a shared storage, written and read past the page cache where the file system allows
//! that: what was written is on the storage, or the call fails or hangs.
//!
//! Both blocks are always there, so that who looks at one never depends on what its machine remembers of a
//! directory. The lock lies behind them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Whole sectors of any disk; a record is in the first of them, which no disk tears.
const BLOCK: usize = 4096;
const RECORD: usize = 512;
const LOOK: Duration = Duration::from_millis(20);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    Lease = 0,
    Mark = 1,
}

pub struct LeaseFile {
    file: File,
    path: PathBuf,
}

/// Memory as `O_DIRECT` wants it.
#[repr(align(4096))]
struct Aligned([u8; BLOCK]);

impl LeaseFile {
    /// `None` when it is not there.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        match open(path) {
            Ok(file) => Ok(Some(LeaseFile { file, path: path.to_owned() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes it when it is not there; whole, under its name, or not at all.
    pub fn open_or_make(path: &Path) -> io::Result<Self> {
        if let Some(file) = Self::open(path)? {
            return Ok(file);
        }
        let dir = path.parent().ok_or_else(|| io::Error::other("a lease needs a directory"))?;
        fs::create_dir_all(dir)?;
        let new = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        new.as_file().write_all_at(&[0; 2 * BLOCK], 0)?;
        new.as_file().sync_all()?;
        new.persist_noclobber(path).map(drop).or_else(|failed| match failed.error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(failed.error),
        })?;
        File::open(dir)?.sync_all()?;
        Self::open(path)?.ok_or_else(|| io::Error::other(format!("{path:?} was taken away again")))
    }

    /// The same file for somebody with a lock of its own.
    pub fn again(&self) -> io::Result<Self> {
        Ok(LeaseFile { file: open(&self.path)?, path: self.path.clone() })
    }

    /// What was written last; nothing when it was never written.
    pub fn read(&self, block: Block) -> io::Result<Vec<u8>> {
        let mut buffer = Box::new(Aligned([0; BLOCK]));
        let read = self.file.read_at(&mut buffer.0, offset(block))?;
        let record = &buffer.0[..read.min(RECORD)];
        let end = record.iter().position(|byte| *byte == 0).unwrap_or(record.len());
        Ok(record[..end].to_vec())
    }

    /// Returns well when it is on the storage.
    pub fn write(&self, block: Block, record: &[u8]) -> io::Result<()> {
        let mut buffer = Box::new(Aligned([0; BLOCK]));
        let place = buffer.0[..RECORD].get_mut(..record.len());
        place.ok_or_else(|| io::Error::other("the record is too long"))?.copy_from_slice(record);
        self.file.write_all_at(&buffer.0, offset(block))
    }

    /// Waits for the lock for at most `patience`; it is let go of when the file is closed, or its holder dies.
    pub fn lock(&self, patience: Duration) -> io::Result<()> {
        let until = Instant::now() + patience;
        loop {
            match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&whole_lock())) {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) if Instant::now() < until => {
                    std::thread::park_timeout(LOOK);
                }
                Err(error) => {
                    return Err(io::Error::other(format!("cannot lock {:?}: {}", self.path, error.desc())));
                }
            }
        }
    }

    /// Whether its path still leads here, on the storage of which `beside` is a file.
    pub fn is_named(&self, beside: &Path) -> io::Result<bool> {
        let here = self.file.metadata()?;
        if fs::metadata(beside)?.dev() != here.dev() {
            return Ok(false);
        }
        match open(&self.path) {
            Ok(there) => Ok(there.metadata()?.ino() == here.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes it away. Who has it open sees so by [`is_named`](Self::is_named).
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        File::open(self.path.parent().unwrap_or(&self.path))?.sync_all()
    }
}

fn offset(block: Block) -> u64 {
    block as u64 * BLOCK as u64
}

fn open(path: &Path) -> io::Result<File> {
    let open = |flags| OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    match open(libc::O_DIRECT | libc::O_DSYNC | libc::O_NOFOLLOW) {
        // A file system that has no such way.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open(libc::O_DSYNC | libc::O_NOFOLLOW),
        opened => opened,
    }
}

fn whole_lock() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 2 * BLOCK as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_written_each_for_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("leases/host");
        assert!(LeaseFile::open(&path).unwrap().is_none());
        let file = LeaseFile::open_or_make(&path).unwrap();
        assert_eq!(file.read(Block::Mark).unwrap(), b"");
        file.write(Block::Mark, b"mark").unwrap();
        file.write(Block::Lease, b"a long lease").unwrap();
        file.write(Block::Lease, b"lease").unwrap();
        let again = LeaseFile::open_or_make(&path).unwrap();
        assert_eq!(
            (again.read(Block::Lease).unwrap(), again.read(Block::Mark).unwrap()),
            (b"lease".to_vec(), b"mark".to_vec())
        );
        assert!(file.write(Block::Mark, &[b'x'; 513]).is_err());
        assert_eq!(fs::read_dir(dir.path().join("leases")).unwrap().count(), 1);
    }

    #[test]
    fn one_has_the_lock_until_its_file_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host");
        let (one, other) = (LeaseFile::open_or_make(&path).unwrap(), LeaseFile::open_or_make(&path).unwrap());
        one.lock(Duration::ZERO).unwrap();
        assert!(other.lock(Duration::ZERO).is_err());
        drop(one);
        other.lock(Duration::ZERO).unwrap();
    }

    #[test]
    fn a_file_that_was_made_anew_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host");
        let old = LeaseFile::open_or_make(&path).unwrap();
        assert!(old.is_named(dir.path()).unwrap());
        assert!(!old.is_named(Path::new("/proc")).unwrap());
        LeaseFile::open_or_make(&path).unwrap().remove().unwrap();
        assert!(!old.is_named(dir.path()).unwrap());
        let _new = LeaseFile::open_or_make(&path).unwrap();
        assert!(!old.is_named(dir.path()).unwrap());
    }
}
