//! An identity on the disk: a directory that all agents of a machine share.
//!
//! ```text
//! identity.pem   the key and its certificates, 0600; one file, so that one rename brings both or neither
//! ca.pem         the authorities that are trusted
//! revoked        machines that are refused, one a line
//! controller     where to renew: the controller's URL
//! pending.pem    the key of an enrolment whose answer has not come yet, 0600
//! lock           who has it renews
//! ```
//! `identity.pem` is written last: where it is, the others are.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rcgen::KeyPair;

use super::enrol::{Issued, Trust};
use super::{Error, Identity};

const IDENTITY: &str = "identity.pem";
const AUTHORITIES: &str = "ca.pem";
const REVOKED: &str = "revoked";
const CONTROLLER: &str = "controller";
const PENDING: &str = "pending.pem";
const LOCK: &str = "lock";

#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

/// What the files were like when they were read, to notice that somebody has replaced them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen([(u64, i64, i64); 3]);

impl Directory {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Directory(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether the machine was enrolled.
    pub fn is_enrolled(&self) -> bool {
        self.0.join(IDENTITY).exists()
    }

    /// The identity that lies there.
    ///
    /// # Errors
    /// When there is none, it is not sound, or others may read its key.
    pub fn identity(&self) -> Result<Identity, Error> {
        let path = self.0.join(IDENTITY);
        let about =
            |error: Error| Error::Unsound { path: path.clone(), why: format!("is not sound: {error}") };
        private(&path)?;
        let text = read(&path)?;
        Identity::new(&text, &text, &self.trust()?).map_err(about)
    }

    /// Whom the machine trusts.
    ///
    /// # Errors
    /// When it is unreadable.
    pub fn trust(&self) -> Result<Trust, Error> {
        let path = self.0.join(REVOKED);
        let revoked = read(&path)?.lines().map(str::parse).collect::<Result<_, _>>();
        let revoked = revoked.map_err(|why: String| Error::Unsound { path, why })?;
        Ok(Trust { authorities: read(&self.0.join(AUTHORITIES))?, revoked })
    }

    /// Where it is renewed.
    ///
    /// # Errors
    /// When it is unreadable.
    pub fn controller(&self) -> Result<String, Error> {
        Ok(read(&self.0.join(CONTROLLER))?.trim().to_owned())
    }

    pub(super) fn seen(&self) -> Seen {
        Seen([IDENTITY, AUTHORITIES, REVOKED].map(|name| {
            let known = fs::metadata(self.0.join(name));
            known.map_or((0, 0, 0), |known| (known.ino(), known.mtime(), known.mtime_nsec()))
        }))
    }

    /// The key of an enrolment, made now or by an earlier attempt: who enrols again after an answer was
    /// lost must be known again by it.
    pub(super) fn pending(&self) -> Result<KeyPair, Error> {
        let path = self.0.join(PENDING);
        if path.exists() {
            return Ok(KeyPair::from_pem(&read(&path)?)?);
        }
        let dir = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        dir.map_err(|source| Error::File { verb: "make", path: self.0.clone(), source })?;
        let key = KeyPair::generate()?;
        self.write(PENDING, &key.serialize_pem())?;
        Ok(key)
    }

    /// Keeps what an enrolment brought.
    pub(super) fn enrolled(&self, controller: &str, issued: &Issued, key: &KeyPair) -> Result<(), Error> {
        self.write(CONTROLLER, controller)?;
        self.renewed(issued, key)?;
        let path = self.0.join(PENDING);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::File { verb: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Keeps what a renewal brought.
    pub(super) fn renewed(&self, issued: &Issued, key: &KeyPair) -> Result<(), Error> {
        self.trusts(&issued.trust)?;
        self.write(IDENTITY, &format!("{}{}", key.serialize_pem(), issued.chain))
    }

    pub(super) fn trusts(&self, trust: &Trust) -> Result<(), Error> {
        let revoked: String = trust.revoked.iter().map(|machine| format!("{machine}\n")).collect();
        self.write(AUTHORITIES, &trust.authorities)?;
        self.write(REVOKED, &revoked)
    }

    /// Held by whoever renews; `None` when another agent does.
    pub(super) fn lock(&self) -> Result<Option<File>, Error> {
        let path = self.0.join(LOCK);
        let about = |source| Error::File { verb: "lock", path: path.clone(), source };
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(about)?;
        self.hand_over(&file).map_err(about)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(about(source)),
        }
    }

    /// To whoever the directory belongs to: agents of one machine may run as different users, and what root
    /// has renewed must not be lost to the others.
    fn hand_over(&self, file: &File) -> io::Result<()> {
        let (dir, own) = (fs::metadata(&self.0)?, file.metadata()?);
        match dir.uid() == own.uid() {
            true => Ok(()),
            false => fchown(file, Some(dir.uid()), Some(dir.gid())),
        }
    }

    /// Durable, and there wholly or not at all.
    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.0.join(name);
        let write = || {
            // Agents of one machine may write at the same time.
            let new = self.0.join(format!(".{name}.{:016x}", rand::random::<u64>()));
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
            let written = self.hand_over(&file).and_then(|()| file.write_all(text.as_bytes()));
            let written = written.and_then(|()| file.sync_all());
            let there = written.and_then(|()| fs::rename(&new, &path));
            there.inspect_err(|_| drop(fs::remove_file(&new)))?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(|source| Error::File { verb: "write", path, source })
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { verb: "read", path: path.to_owned(), source })
}

fn private(path: &Path) -> Result<(), Error> {
    let known = fs::metadata(path);
    let known = known.map_err(|source| Error::File { verb: "read", path: path.to_owned(), source })?;
    match known.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(Error::Unsound {
            path: path.to_owned(),
            why: "holds a key and others may read it: chmod 600, and enrol again if somebody has".into(),
        }),
    }
}
