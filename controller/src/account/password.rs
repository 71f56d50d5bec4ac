//! Hashing of passwords, off the runtime's threads and a few at a time: each takes 19 MiB.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use engine::{Any, Id, Result, codes};
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha512};
use tokio::sync::{Semaphore, SemaphorePermit};

/// What is sent for a new password: the SHA-512 of what a person types, in hex. Nothing else is taken, so that
/// what was hidden in a record is never taken for a password.
#[derive(Clone, Debug, JsonSchema)]
pub struct Password(#[schemars(regex(pattern = "^[0-9a-fA-F]{128}$"))] pub(super) String);

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.len() == 128 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => Ok(Password(text)),
            false => Err(D::Error::custom("send the SHA-512 of the password: 128 hex digits")),
        }
    }
}

static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// What a client sends for a password: the SHA-512 in lower-case hex.
pub(super) fn sha512(password: &str) -> String {
    hex::encode(Sha512::digest(password.as_bytes()))
}

/// Makes a random password and writes it where its owner alone can read it. One that a crash left there
/// is taken again.
pub(super) fn make(path: &Path) -> Result<String> {
    if let Ok(known) = std::fs::read_to_string(path)
        && known.trim().len() == LENGTH
    {
        return Ok(known.trim().to_owned());
    }
    let password: String = Id::<Any>::random().to_string().chars().take(LENGTH).collect();
    let written = File::options().write(true).create(true).truncate(true).mode(0o600).open(path).and_then(
        |mut file| {
            writeln!(file, "{password}")?;
            file.sync_all()
        },
    );
    written.map_err(|e| codes::IO.because(format!("cannot write {}: {e}", path.display())))?;
    tracing::warn!(file = %path.display(), "the initial password of \"admin\" stands in this file");
    Ok(password)
}

/// Hex digits: more than 96 random bits.
const LENGTH: usize = 28;

pub(super) async fn hash_some(password: Option<Password>) -> Result<Option<String>> {
    match password {
        Some(Password(secret)) => hash(secret).await.map(Some),
        None => Ok(None),
    }
}

/// Leave to judge one password.
pub(super) struct Turn(
    #[expect(dead_code, reason = "it is held, not read")] Option<SemaphorePermit<'static>>,
);

pub(super) async fn turn() -> Turn {
    Turn(AT_ONCE.acquire().await.ok())
}

pub(super) async fn hash(secret: String) -> Result<String> {
    let turn = turn().await;
    let work = move || Argon2::default().hash_password(secret.as_bytes()).map(|hash| hash.to_string());
    let hashed = blocking(turn, work).await?.1;
    hashed.map_err(|e| codes::INTERNAL.because(format!("cannot hash a password: {e}")))
}

/// Whether `secret` is what `hash` was made of. Takes as long when there is no hash.
pub(super) async fn matches(secret: String, hash: Option<String>) -> Result<bool> {
    Ok(judge(turn().await, secret, hash).await?.1)
}

/// As [`matches`], with the turn given back, for what is to be done before it ends.
pub(super) async fn judge(turn: Turn, secret: String, hash: Option<String>) -> Result<(Turn, bool)> {
    let work = move || match hash.as_deref().map(PasswordHash::new) {
        Some(Ok(hash)) => Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok(),
        _ => {
            let _ = Argon2::default().hash_password(secret.as_bytes());
            false
        }
    };
    blocking(turn, work).await
}

/// The turn lasts until the work has ended, also when nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(Turn, T)> {
    let done = tokio::task::spawn_blocking(move || (turn, work())).await;
    done.map_err(|e| codes::INTERNAL.because(format!("password check: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_password_is_its_owners_alone_and_made_once() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin-password");
        let password = make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(make(&path).unwrap(), password);
        assert_ne!(make(&dir.path().join("another")).unwrap(), password);
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_alone() {
        let hash = hash(sha512("password")).await.unwrap();
        assert!(matches(sha512("password"), Some(hash.clone())).await.unwrap());
        assert!(!matches(sha512("Password"), Some(hash)).await.unwrap());
        assert!(!matches(sha512("password"), Some("rubbish".into())).await.unwrap());
        assert!(!matches(sha512("password"), None).await.unwrap());
    }
}
