//! Work queues by key: what may not happen at the same time waits its turn here.
//!
//! A queue orders the work of one controller; it excludes nobody else. Exclusion is the ownership that a
//! flow takes in the database ([`crate::flow`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All queues of this controller; clones share them.
#[derive(Clone, Default)]
pub struct Queues {
    lines: Arc<Mutex<HashMap<String, Line>>>,
}

struct Line {
    gate: Arc<Semaphore>,
    width: usize,
    /// Holders and those who wait; the line is forgotten when it falls to 0.
    users: usize,
    holders: Vec<(u64, String, Instant)>,
    next: u64,
}

/// A place in a queue, held until it is dropped.
pub struct Turn {
    queues: Queues,
    key: String,
    number: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

/// One queue as an operator sees it.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    pub key: String,
    pub width: usize,
    pub holders: Vec<String>,
    pub waiting: usize,
    pub oldest_seconds: u64,
}

struct Waiting {
    queues: Queues,
    key: String,
    entered: bool,
}

impl Queues {
    /// Waits for a turn in the queue `key`, in which at most `width` work at a time (0: unlimited).
    /// `who` is shown to operators.
    pub async fn enter(&self, key: &str, width: usize, who: &str) -> Turn {
        let gate = self.join(key, width);
        let mut waiting = Waiting { queues: self.clone(), key: key.to_owned(), entered: false };
        let permit = match width {
            0 => None,
            _ => Some(gate.acquire_owned().await.expect("queues are never closed")),
        };
        waiting.entered = true;
        let number = self.hold(key, who);
        Turn { queues: self.clone(), key: key.to_owned(), number, _permit: permit }
    }

    /// The queues that are in use now.
    pub fn views(&self) -> Vec<View> {
        let lines = self.lock();
        let view = |(key, line): (&String, &Line)| View {
            key: key.clone(),
            width: line.width,
            holders: line.holders.iter().map(|(_, who, _)| who.clone()).collect(),
            waiting: line.users.saturating_sub(line.holders.len()),
            oldest_seconds: line.holders.first().map_or(Duration::ZERO, |(_, _, at)| at.elapsed()).as_secs(),
        };
        lines.iter().map(view).collect()
    }

    fn join(&self, key: &str, width: usize) -> Arc<Semaphore> {
        let mut lines = self.lock();
        let line = lines.entry(key.to_owned()).or_insert_with(|| Line {
            gate: Arc::new(Semaphore::new(width.max(1))),
            width,
            users: 0,
            holders: Vec::new(),
            next: 0,
        });
        line.users += 1;
        Arc::clone(&line.gate)
    }

    fn hold(&self, key: &str, who: &str) -> u64 {
        let mut lines = self.lock();
        let Some(line) = lines.get_mut(key) else { return 0 };
        line.next += 1;
        line.holders.push((line.next, who.to_owned(), Instant::now()));
        line.next
    }

    fn leave(&self, key: &str, number: Option<u64>) {
        let mut lines = self.lock();
        let Some(line) = lines.get_mut(key) else { return };
        line.users -= 1;
        line.holders.retain(|(held, ..)| Some(*held) != number);
        if line.users == 0 {
            lines.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.lines.lock().expect("no code panics while it holds the queues")
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.entered {
            self.queues.leave(&self.key, None);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queues.leave(&self.key, Some(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_serial_queue_lets_one_in_at_a_time() {
        let queues = Queues::default();
        let first = queues.enter("vm-1", 1, "start").await;
        let mut second = Box::pin(queues.enter("vm-1", 1, "stop"));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(queues.enter("vm-2", 1, "start").now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_queue_shows_who_holds_it_and_is_forgotten_when_idle() {
        let queues = Queues::default();
        let turn = queues.enter("vm-1", 1, "start").await;
        let gave_up = queues.enter("vm-1", 1, "stop").now_or_never();
        assert!(gave_up.is_none());
        let views = queues.views();
        assert_eq!((views[0].holders.as_slice(), views[0].waiting), (&["start".to_owned()][..], 0));
        drop(turn);
        assert!(queues.views().is_empty());
    }

    #[tokio::test]
    async fn width_counts_and_zero_does_not() {
        let queues = Queues::default();
        let _a = queues.enter("host", 2, "a").await;
        let _b = queues.enter("host", 2, "b").await;
        assert!(queues.enter("host", 2, "c").now_or_never().is_none());
        let all: Vec<_> = futures::future::join_all((0..9).map(|_| queues.enter("free", 0, "x"))).await;
        assert_eq!(all.len(), 9);
    }
}
