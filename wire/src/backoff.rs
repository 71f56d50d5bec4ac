//! Growing pauses between attempts.

use std::time::Duration;

/// Doubles from `first` to `most`; each pause is shortened by up to a half at random, so that many who
/// failed together do not come back together.
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub fn new(first: Duration, most: Duration) -> Self {
        Backoff { next: first, most }
    }

    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.most);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_most_and_vary_by_half() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        for step in 0..20u32 {
            let full = Duration::from_millis(100 << step.min(10)).min(Duration::from_secs(30));
            let pause = backoff.pause();
            assert!(pause >= full / 2 && pause <= full, "step {step}: {pause:?} of {full:?}");
        }
    }
}
