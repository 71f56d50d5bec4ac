//! The state directory: one controller at a time, the same one at every start.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use engine::{Any, ErrorCode, Id, Result, codes};

/// Held as long as the controller lives: a second one would take the first one's work for abandoned.
pub struct Home {
    id: String,
    _lock: File,
}

impl Home {
    pub fn open(dir: &Path) -> Result<Home> {
        // The database in it holds keys.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|e| failed("make", dir, &e))?;
        let lock = lock(&dir.join("lock"))?;
        Ok(Home { id: id(&dir.join("node"))?, _lock: lock })
    }

    /// What this controller is known by from start to start.
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(|e| failed("open", path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(codes::STATE.because(format!(
            "another controller runs in this state directory ({} is locked): give each its own, and all of \
             them one PostgreSQL",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed("lock", path, &error)),
    }
}

fn id(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let id: Id<Any> = text
                .trim()
                .parse()
                .map_err(|e: String| codes::IO.because(format!("{}: {e}", path.display())))?;
            Ok(id.to_string())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (id, fresh) = (Id::<Any>::random().to_string(), path.with_extension("new"));
            let written = write(&fresh, &id).and_then(|()| fs::rename(&fresh, path));
            written.map_err(|e| failed("write", path, &e)).map(|()| id)
        }
        Err(error) => Err(failed("read", path, &error)),
    }
}

/// On disk before it gets its name: an empty file would keep the controller from starting.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> ErrorCode {
    codes::IO.because(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_one_controllers_and_known_again() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let refused = Home::open(dir.path()).err().unwrap();
        assert!(refused.details().contains("another controller"), "{refused}");
        let id = home.id().to_owned();
        drop(home);
        assert_eq!(Home::open(dir.path()).unwrap().id(), id);
    }
}
