//! The jobs that this controller is doing now. Who began one is told that it is still at work without proving
//! again who he is and without a question to the database, and after a moment's wait for its end, so that he
//! need not ask often. How it ended is told to whom it belongs, from the database, as ever.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::id::{Any, Id};

/// The longest that an answer waits for the end of a job: below the patience of any client.
const LINGER: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct AtWork {
    jobs: Mutex<HashMap<Id<Any>, Doing>>,
    /// Keyed at random: nobody can make two callers look alike.
    hasher: RandomState,
}

struct Doing {
    caller: Option<u64>,
    ended: CancellationToken,
}

/// As long as it lives the job is at work.
pub(super) struct Present {
    all: Arc<AtWork>,
    job: Id<Any>,
}

impl AtWork {
    /// It is at work from now on, for whom the header `Authorization` names.
    pub(super) fn enter(self: &Arc<Self>, job: Id<Any>, authorization: Option<&str>) -> Present {
        let doing = Doing { caller: self.caller(authorization), ended: CancellationToken::new() };
        self.jobs.lock().expect("never poisoned").insert(job, doing);
        Present { all: Arc::clone(self), job }
    }

    /// Whether it is at work here for this caller and will be for a moment: waits for its end that long.
    pub(super) async fn lingers(&self, job: Id<Any>, authorization: Option<&str>) -> bool {
        let caller = self.caller(authorization);
        let ended = match self.jobs.lock().expect("never poisoned").get(&job) {
            Some(doing) if caller.is_some() && doing.caller == caller => doing.ended.clone(),
            _ => return false,
        };
        timeout(LINGER, ended.cancelled()).await.is_err()
    }

    fn caller(&self, authorization: Option<&str>) -> Option<u64> {
        authorization.map(|header| self.hasher.hash_one(header))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let gone = self.all.jobs.lock().expect("never poisoned").remove(&self.job);
        gone.inspect(|doing| doing.ended.cancel());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_began_a_job_waits_for_its_end() {
        let (all, job) = (Arc::new(AtWork::default()), Id::random());
        let present = all.enter(job, Some("OAuth a"));
        assert!(all.lingers(job, Some("OAuth a")).await, "it is at work all the while");
        assert!(!all.lingers(job, Some("OAuth b")).await);
        assert!(!all.lingers(job, None).await);
        assert!(!all.lingers(Id::random(), Some("OAuth a")).await);
        let ending = async {
            tokio::time::sleep(LINGER / 2).await;
            drop(present);
        };
        let (lingers, ()) = tokio::join!(all.lingers(job, Some("OAuth a")), ending);
        assert!(!lingers, "it ended meanwhile");
        let nobodys = all.enter(job, None);
        assert!(!all.lingers(job, None).await, "who names nobody is not who began it");
        drop(nobodys);
    }
}
