//! Hashing of passwords, off the runtime's threads and a few at a time: each takes 19 MiB.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use engine::{Any, Id, Result, codes};
use sha2::{Digest, Sha512};
use tokio::sync::Semaphore;

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

pub(super) async fn hash(secret: String) -> Result<String> {
    let work = move || Argon2::default().hash_password(secret.as_bytes()).map(|hash| hash.to_string());
    let hashed = blocking(work).await?;
    hashed.map_err(|e| codes::INTERNAL.because(format!("cannot hash a password: {e}")))
}

/// Whether `secret` is what `hash` was made of. Takes as long when there is no hash.
pub(super) async fn matches(secret: String, hash: Option<String>) -> Result<bool> {
    let work = move || match hash.as_deref().map(PasswordHash::new) {
        Some(Ok(hash)) => Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok(),
        _ => {
            let _ = Argon2::default().hash_password(secret.as_bytes());
            false
        }
    };
    blocking(work).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let _turn = AT_ONCE.acquire().await;
    let done = tokio::task::spawn_blocking(work).await;
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
