//! Until when this controller may act, by its own clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A moment of this machine's clock, which nobody sets and which goes on while the machine sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock");
        Moment(now.into())
    }
}

/// The end of the last renewal's time.
#[derive(Debug)]
pub struct Lease {
    /// Nanoseconds of the clock.
    until: AtomicU64,
    length: Duration,
}

impl Lease {
    /// One that was renewed by a request that began at `began`.
    pub fn new(began: Moment, length: Duration) -> Self {
        let lease = Lease { until: AtomicU64::new(0), length };
        lease.renewed(began);
        lease
    }

    /// A tenth is left off for what clocks differ and for what is on its way already.
    pub fn renewed(&self, began: Moment) {
        let until = began.0 + self.length - self.length / 10;
        self.until.fetch_max(nanos(until), Ordering::SeqCst);
    }

    pub fn left(&self) -> Duration {
        self.left_at(Moment::now())
    }

    pub fn holds(&self) -> bool {
        !self.left().is_zero()
    }

    fn left_at(&self, now: Moment) -> Duration {
        Duration::from_nanos(self.until.load(Ordering::SeqCst)).saturating_sub(now.0)
    }
}

fn nanos(moment: Duration) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_the_start_of_its_renewal_less_a_margin() {
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let lease = Lease::new(at(100), Duration::from_secs(10));
        assert_eq!(lease.left_at(at(100)), Duration::from_secs(9));
        assert!(lease.left_at(at(109)).is_zero());
        lease.renewed(at(104));
        assert_eq!(lease.left_at(at(109)), Duration::from_secs(4));
        lease.renewed(at(102));
        assert_eq!(lease.left_at(at(109)), Duration::from_secs(4), "an older renewal takes nothing back");
    }
}
