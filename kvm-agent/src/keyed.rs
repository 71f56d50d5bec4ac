//! Locks by name: who holds one name never waits for another's.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

/// Names that nobody holds or waits for take no room for long.
pub struct KeyedLocks<K> {
    locks: Mutex<HashMap<K, Weak<Lock<()>>>>,
}

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        KeyedLocks { locks: Mutex::default() }
    }
}

impl<K: Eq + Hash> KeyedLocks<K> {
    pub async fn lock(&self, key: K) -> OwnedMutexGuard<()> {
        self.entry(key).lock_owned().await
    }

    fn entry(&self, key: K) -> Arc<Lock<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        locks.retain(|_, lock| lock.strong_count() > 0);
        let slot = locks.entry(key).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let lock = Arc::default();
            *slot = Arc::downgrade(&lock);
            lock
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_name_excludes_itself_and_no_other() {
        let locks = KeyedLocks::default();
        let held = locks.lock("a").await;
        let wait = Duration::from_millis(20);
        assert!(tokio::time::timeout(wait, locks.lock("a")).await.is_err());
        tokio::time::timeout(wait, locks.lock("b")).await.unwrap();
        drop(held);
        tokio::time::timeout(wait, locks.lock("a")).await.unwrap();
        assert!(locks.locks.lock().unwrap().len() <= 2);
    }
}
