//! This controller among the others.
//!
//! A controller that works has an **era**: a row in `node` with a lease by the database's clock. It renews
//! the lease every heartbeat and trusts it, by its own clock, from the *start* of the last successful
//! renewal, less a margin. When the lease runs out it stops all of the era's work at once, and begins a
//! new era under a new id; it never goes on in an old one.
//!
//! ```text
//!  join ──▶ renew … renew ──┬─ leave: the row goes, the others take over at once
//!   ▲                       └─ lease ran out by our clock, or others buried the row: the era is over
//!   └───────────────────────────────┘
//! ```
//!
//! Whoever sees that a lease has run out by the database's clock buries the row; that is final. A flow or
//! job whose owner has no row belongs to whom the ring names.

mod era;
mod heart;
mod lease;
pub mod ring;
mod store;

use std::time::Duration;

pub use era::Era;
pub(crate) use era::{Eras, spawn};
pub(crate) use heart::beat;
pub(crate) use store::next_epoch;

/// Marks the id of an era: one stay of a controller among the others.
#[derive(Debug)]
pub enum Node {}

/// How a controller takes part.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Where the other controllers reach this one: `http://10.0.0.1:8080`.
    pub url: String,
    /// The same at every start of this controller: what went before under this name is dead.
    pub home: String,
    pub heartbeat: Duration,
    /// After so long without a renewal a controller counts as dead.
    pub lease: Duration,
}

impl Membership {
    /// For a controller that is alone.
    pub fn alone() -> Self {
        Membership {
            url: String::new(),
            home: "alone".into(),
            heartbeat: Duration::from_secs(2),
            lease: Duration::from_secs(10),
        }
    }
}
