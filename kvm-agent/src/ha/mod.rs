//! `/ha/*`: no disk has two writers, whatever becomes of a host.
//!
//! A process of its own, the *fencer*, renews a *lease* on each shared storage that it was set up for, and kills
//! the VMs there when it cannot. Who wants to give a host up *watches* its lease, and *marks* it. Invariants:
//!
//! * A VM runs on such a storage only while the lease is held, or is killed by the time at which others may take
//!   it for dead: the lease runs out by the clock of its host, from the begin of the last renewal that returned,
//!   and others wait longer than that by theirs. No clock is compared with another one.
//! * The fencer writes its lease and then looks for the mark; who fences writes the mark and then reads the lease.
//!   One of both sees the other.
//! * The mark goes when nothing is left that it was for; and after that nothing starts before the fencer was set up
//!   again, which happens when the controller has connected the host: no command from before it counts by then.
//! * A VM that starts is paused until the lease was looked at once more, and found not to have been lost since the
//!   first look: either its fencer sees the process, or the process never runs.
//! * Agent and fencer start and replace each other: the death of one neither stops renewal nor the kill.

mod claim;
mod fencer;
mod guard;
mod lease;
mod plan;
mod record;
mod report;
mod scan;
mod setup;
mod standing;
mod watch;

pub use fencer::run as fence;
pub use guard::{Fencing, guard};
pub use scan::scan;
pub use setup::{cancel, set_up};
pub use watch::{fence as fence_lease, watch};

/// Below the agent's state directory: what agent and fencer tell each other.
pub const DIR: &str = "fencer";
