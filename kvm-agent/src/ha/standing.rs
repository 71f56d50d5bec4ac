//! What the fencer says of itself to whoever connects to its socket, as of that moment.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nothing that it does for an answer takes longer.
const PATIENCE: Duration = Duration::from_secs(1);
const LARGEST: u64 = 1 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Which run of the fencer this is.
    pub era: String,
    pub storages: BTreeMap<String, Stand>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// The last order that it follows.
    pub order: u64,
    /// A VM may start.
    pub held: bool,
    /// Fenced, and not set up since.
    pub given_up: bool,
    /// Counts the losses of this era.
    pub generation: u64,
    /// Milliseconds since the boot: until when what runs may go on.
    pub until: u64,
    /// Why it is not held.
    pub why: String,
}

/// Asks the fencer that works in `dir`; fails when there is none.
pub fn ask(dir: &Path) -> io::Result<Standing> {
    let stream = UnixStream::connect(path(dir))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = Vec::new();
    stream.take(LARGEST).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Where it is asked. Must be called by who has the fencer's lock.
pub fn listen(dir: &Path) -> io::Result<UnixListener> {
    let path = path(dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let cannot = |error| io::Error::other(format!("cannot listen at {path:?}: {error}"));
    UnixListener::bind(&path).map_err(cannot)
}

/// Answers one after another, for ever.
pub fn answer(listener: &UnixListener, standing: impl Fn() -> Standing) {
    for stream in listener.incoming() {
        let told = stream.and_then(|mut stream| {
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(&serde_json::to_vec(&standing())?)
        });
        if let Err(error) = told {
            tracing::debug!(%error, "somebody asked and did not listen");
        }
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("socket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_and_a_dead_fencer_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ask(dir.path()).is_err());
        drop(listen(dir.path()).unwrap());
        assert!(ask(dir.path()).is_err(), "a socket that was left behind");
        let listener = listen(dir.path()).unwrap();
        std::thread::spawn(move || answer(&listener, || Standing { era: "e".into(), ..Standing::default() }));
        assert_eq!(ask(dir.path()).unwrap().era, "e");
    }
}
