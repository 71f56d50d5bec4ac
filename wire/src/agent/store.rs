//! The journal's file: opened alone, read, appended to, compacted.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::ledger::Ledger;
use super::machine::{Disk, now};
use super::record::{Record, Unreadable};

const NAME: &str = "journal";
/// Written beside the journal, then renamed over it.
const NEW: &str = "journal.new";
const LOCK: &str = "lock";
/// A journal is compacted when it is larger than this and than [`GROWTH`] times what was live last time.
const SMALL: u64 = 16 << 20;
const GROWTH: u64 = 4;

pub struct Store {
    dir: PathBuf,
    disk: Box<dyn Disk>,
    file: File,
    /// Bytes written, and bytes known to be durable.
    len: u64,
    synced: u64,
    /// A write or sync failed and could not be taken back: the file must be made anew first.
    suspect: bool,
    compact_at: u64,
    compaction: Option<JoinHandle<io::Result<Compacted>>>,
    /// Held as long as the store lives.
    _lock: File,
}

/// A new journal that says the same as the first `upto` bytes of the old one.
struct Compacted {
    file: File,
    upto: u64,
    live: u64,
}

impl Store {
    pub fn open(dir: &Path, disk: Box<dyn Disk>) -> io::Result<(Self, Ledger)> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| about(dir, "create", e))?;
        let lock = lock(dir)?;
        remove_if_there(&dir.join(NEW))?;
        let path = dir.join(NAME);
        let file = options().create(true).open(&path).map_err(|e| about(&path, "open", e))?;
        let (ledger, len) = read(&path, u64::MAX)?;
        cut_off(&path, &file, len)?;
        if len == 0 {
            dump(&ledger, &file)?;
        }
        file.sync_all()?;
        sync_dir(dir)?;
        let len = file.metadata()?.len();
        let store = Store {
            dir: dir.to_owned(),
            disk,
            file,
            len,
            synced: len,
            suspect: false,
            compact_at: SMALL,
            compaction: None,
            _lock: lock,
        };
        Ok((store, ledger))
    }

    /// Appends whole lines; durable on return if `sync`. On an error none of them is there.
    pub fn commit(&mut self, lines: &[u8], sync: bool) -> io::Result<()> {
        if self.suspect {
            self.renew()?;
        }
        if let Err(error) = self.disk.append(&mut self.file, lines) {
            self.suspect = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += lines.len() as u64;
        if !sync {
            return Ok(());
        }
        // After a failed sync the kernel may have dropped what it could not write: trust nothing of it.
        if let Err(error) = self.disk.sync(&self.file) {
            self.suspect = true;
            return Err(error);
        }
        self.synced = self.len;
        Ok(())
    }

    /// Begins or ends a compaction when it is time.
    pub fn tidy(&mut self) {
        if self.suspect {
            return;
        }
        match self.compaction.take_if(|compaction| compaction.is_finished()) {
            Some(compaction) => self.end_compaction(compaction),
            None if self.compaction.is_none() && self.len > self.compact_at => self.begin_compaction(),
            None => {}
        }
    }

    fn begin_compaction(&mut self) {
        let (dir, upto) = (self.dir.clone(), self.synced);
        let thread = std::thread::Builder::new().name("compaction".into());
        match thread.spawn(move || compact(&dir, upto)) {
            Ok(thread) => self.compaction = Some(thread),
            Err(error) => self.put_off(&error),
        }
    }

    fn end_compaction(&mut self, compaction: JoinHandle<io::Result<Compacted>>) {
        let compacted = compaction.join().unwrap_or_else(|_| Err(io::Error::other("compaction panicked")));
        if let Err(error) = compacted.and_then(|compacted| self.adopt(compacted)) {
            self.put_off(&error);
        }
    }

    fn put_off(&mut self, error: &io::Error) {
        tracing::warn!(%error, bytes = self.len, "the task journal could not be compacted");
        self.compact_at = self.len.saturating_mul(2);
    }

    /// Makes the journal anew from what is known to be durable.
    fn renew(&mut self) -> io::Result<()> {
        if let Some(compaction) = self.compaction.take() {
            // It writes to the same new file.
            let _ = compaction.join();
        }
        self.len = self.synced;
        let compacted = compact(&self.dir, self.synced)?;
        self.adopt(compacted)?;
        self.suspect = false;
        tracing::info!(bytes = self.len, "the task journal was made anew after an error");
        Ok(())
    }

    /// Puts a compacted journal, and what was appended meanwhile, in the journal's place.
    fn adopt(&mut self, mut compacted: Compacted) -> io::Result<()> {
        let mut tail = File::open(self.dir.join(NAME))?;
        tail.seek(SeekFrom::Start(compacted.upto))?;
        let copied = io::copy(&mut tail.take(self.len - compacted.upto), &mut compacted.file)?;
        compacted.file.sync_all()?;
        fs::rename(self.dir.join(NEW), self.dir.join(NAME))?;
        self.file = compacted.file;
        self.len = compacted.live + copied;
        self.synced = self.len;
        self.compact_at = SMALL.max(compacted.live.saturating_mul(GROWTH));
        // When this fails, the old name may come back after a power failure: write nothing to the new file.
        sync_dir(&self.dir).inspect_err(|_| self.suspect = true)
    }
}

fn compact(dir: &Path, upto: u64) -> io::Result<Compacted> {
    let (mut ledger, len) = read(&dir.join(NAME), upto)?;
    if len != upto {
        return Err(io::Error::other(format!("the journal can be read up to byte {len} of {upto} only")));
    }
    ledger.forget(now());
    let path = dir.join(NEW);
    remove_if_there(&path)?;
    let file = options().create_new(true).open(&path)?;
    dump(&ledger, &file)?;
    file.sync_data()?;
    let live = file.metadata()?.len();
    Ok(Compacted { file, upto, live })
}

fn dump(ledger: &Ledger, file: &File) -> io::Result<()> {
    let (mut out, mut line) = (BufWriter::new(file), Vec::new());
    ledger.dump(&mut |record| {
        line.clear();
        record.write(&mut line);
        out.write_all(&line)
    })?;
    out.flush()
}

/// Reads the first `upto` bytes. Gives the ledger and where its last whole record ends.
fn read(path: &Path, upto: u64) -> io::Result<(Ledger, u64)> {
    let mut lines = BufReader::new(File::open(path)?.take(upto));
    let (mut ledger, mut line) = (Ledger::default(), Vec::new());
    let (mut at, mut damaged) = (0u64, None);
    while lines.read_until(b'\n', &mut line)? > 0 {
        match (Record::read(&line), damaged) {
            (Ok(record), None) => {
                ledger.apply(record).map_err(|e| unreadable(path, at, &e))?;
            }
            // What follows it was written later, so it was whole once.
            (Ok(_) | Err(Unreadable::Strange(_)), Some(damaged)) => {
                return Err(unreadable(path, damaged, "the record is damaged"));
            }
            (Err(Unreadable::Strange(error)), None) => return Err(unreadable(path, at, &error)),
            (Err(Unreadable::Damaged), damage) => damaged = damage.or(Some(at)),
        }
        at += line.len() as u64;
        line.clear();
    }
    Ok((ledger, damaged.unwrap_or(at)))
}

fn cut_off(path: &Path, file: &File, len: u64) -> io::Result<()> {
    let torn = file.metadata()?.len() - len;
    if torn > 0 {
        let journal = path.display();
        tracing::warn!(%journal, bytes = torn, "cut off the end of a write that a crash interrupted");
        file.set_len(len)?;
    }
    Ok(())
}

fn lock(dir: &Path) -> io::Result<File> {
    let path = dir.join(LOCK);
    let file = options().create(true).open(&path).map_err(|e| about(&path, "open", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("state directory {} is in use by another agent: stop it first", dir.display()),
        )),
        Err(TryLockError::Error(error)) => Err(about(&path, "lock", error)),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).read(true).mode(0o600);
    options
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(about(path, "remove", error)),
        _ => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn about(path: &Path, verb: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {}: {error}", path.display()))
}

fn unreadable(path: &Path, at: u64, error: &str) -> io::Error {
    let text = format!(
        "task journal {} is unreadable at byte {at}: {error}: restore it, or move it away to forget its tasks",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
