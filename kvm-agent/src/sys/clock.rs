//! The clock that leases run by: it goes on while the machine sleeps, and nobody sets it.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since this machine's boot.
pub type Moment = Duration;

pub fn now() -> Moment {
    // Linux has had this clock since 2.6.39, and the call has no other way to fail.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or(Moment::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on() {
        let then = now();
        assert!(then > Moment::ZERO && now() >= then && now() < Moment::MAX);
    }
}
