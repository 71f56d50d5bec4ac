//! Who is logged in where: a file that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub server: String,
    pub account: String,
    pub session: String,
}

/// `$XDG_CONFIG_HOME/cumulet/session.json`, by default below `~/.config`.
pub fn path() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let config = config.context("there is no place for the session: set HOME or XDG_CONFIG_HOME")?;
    Ok(config.join("cumulet/session.json"))
}

/// The session at `server`, or at the one where somebody is logged in.
pub fn load(path: &Path, server: Option<&str>) -> Result<Session> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("nobody is logged in: run cumulet login"),
        Err(error) => {
            return Err(error).with_context(|| format!("session file {} is unreadable", path.display()));
        }
    };
    let session: Session = serde_json::from_str(&text)
        .with_context(|| format!("session file {} is damaged: run cumulet login", path.display()))?;
    match server {
        Some(server) if server != session.server => {
            bail!(
                "the session is one at {}, not at {server}: run cumulet login --server {server}",
                session.server
            )
        }
        _ => Ok(session),
    }
}

/// Replaces the file in one step.
pub fn store(path: &Path, session: &Session) -> Result<()> {
    let written = || -> std::io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(session)?)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    written().with_context(|| format!("session file {} cannot be written", path.display()))
}

pub fn forget(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("session file {} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_session_is_readable_by_its_owner_only_and_goes_to_its_own_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cumulet/session.json");
        assert!(load(&path, None).unwrap_err().to_string().contains("cumulet login"));
        let session = Session { server: "http://a".into(), account: "admin".into(), session: "s".into() };
        store(&path, &session).unwrap();
        store(&path, &session).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&path, Some("http://a")).unwrap(), session);
        assert!(load(&path, Some("http://b")).is_err());
        forget(&path).unwrap();
        forget(&path).unwrap();
    }
}
