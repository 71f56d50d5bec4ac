//! What time it is: by the database's clock, as it was last heard.
//!
//! All controllers agree on it, and nobody who sets this machine's clock changes it: between two hearings it
//! goes on by the clock that counts from the machine's start.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Microseconds since 1970 at the machine's start, as the database counts; nothing was heard as long as it is 0.
static START: AtomicI64 = AtomicI64::new(0);
/// What is heard is late by the time that the answer took: time does not jump for so little.
const NOISE: i64 = 250_000;

/// Microseconds since 1970.
pub fn now() -> i64 {
    match START.load(Ordering::Relaxed) {
        0 => jiff::Timestamp::now().as_microsecond(),
        start => start.saturating_add(since_start()),
    }
}

/// The database has just said that it is so late.
pub(crate) fn heard(clock: i64) {
    if (clock - now()).abs() > NOISE || START.load(Ordering::Relaxed) == 0 {
        START.store(clock.saturating_sub(since_start()), Ordering::Relaxed);
    }
}

fn since_start() -> i64 {
    let since = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock");
    i64::try_from(Duration::from(since).as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, for the time is that of the whole process.
    #[test]
    fn the_time_is_the_databases_whatever_this_machine_thinks() {
        heard(1_000_000_000);
        let first = now();
        assert!((1_000_000_000..1_600_000_000).contains(&first), "{first} is a moment after it was heard");
        heard(first - NOISE / 2);
        assert!(now() >= first, "a little late is no reason to go back");
        heard(5_000_000_000);
        assert!((5_000_000_000..5_600_000_000).contains(&now()));
    }
}
