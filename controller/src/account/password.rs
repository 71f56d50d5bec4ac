//! Hashing of passwords, off the runtime's threads and a few at a time: each takes 19 MiB.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use engine::{Result, codes};
use sha2::{Digest, Sha512};
use tokio::sync::Semaphore;

static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// What a client sends for a password: the SHA-512 in lower-case hex.
pub(super) fn sha512(password: &str) -> String {
    hex::encode(Sha512::digest(password.as_bytes()))
}

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

    #[tokio::test]
    async fn a_password_matches_its_own_hash_alone() {
        let hash = hash(sha512("password")).await.unwrap();
        assert!(matches(sha512("password"), Some(hash.clone())).await.unwrap());
        assert!(!matches(sha512("Password"), Some(hash)).await.unwrap());
        assert!(!matches(sha512("password"), Some("rubbish".into())).await.unwrap());
        assert!(!matches(sha512("password"), None).await.unwrap());
    }
}
