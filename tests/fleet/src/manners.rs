//! How a host behaves when nobody lays traps: how long it takes, and how often it refuses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The default does everything at once and refuses nothing.
#[derive(Debug, Default)]
pub struct Manners {
    state: AtomicU64,
    /// Longest pause before an effect, and between the effect and its outcome.
    pub longest: Duration,
    /// Of these commands one in so many is refused, without effect.
    pub refused: Option<(&'static [&'static str], u64)>,
}

impl Manners {
    pub fn new(seed: u64, longest: Duration, refused: (&'static [&'static str], u64)) -> Self {
        Manners { state: AtomicU64::new(seed), longest, refused: Some(refused) }
    }

    /// Most pauses are short, a few last as long as they may.
    pub(crate) async fn pause(&self) {
        let longest = u64::try_from(self.longest.as_millis()).unwrap_or(u64::MAX);
        if longest == 0 {
            return;
        }
        let upto = if self.next().is_multiple_of(10) { longest } else { longest.div_ceil(10) };
        tokio::time::sleep(Duration::from_millis(self.next() % upto.max(1))).await;
    }

    pub(crate) fn refusal(&self, path: &str) -> Option<String> {
        let (paths, one_in) = self.refused?;
        let refused = paths.contains(&path) && self.next().is_multiple_of(one_in);
        refused.then(|| format!("{path}: not today"))
    }

    /// A Weyl sequence, mixed.
    fn next(&self) -> u64 {
        let mixed = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
