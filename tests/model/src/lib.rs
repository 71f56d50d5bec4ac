//! An exhaustive search through what crashes, pauses and late messages can do to flows.
//!
//! Three small worlds are gone through breadth first, state by state, until there is no new one:
//!
//! * [`flow`]: two controllers, the row of a flow, one agent, and a network that may deliver every message
//!   at any time and again. The agent is the product's own: its decisions are made by the ledger of `wire`.
//! * [`lease`]: when a controller may believe that it owns anything at all: clocks, renewals, expiry.
//! * [`fencing`]: when a host may be given up, so that no disk has two writers.
//!
//! Each [`Rule`] can be left out. A search that holds under all of them and fails without any one of them
//! says that they are enough, and that each is needed.

mod agent;
pub mod fencing;
pub mod flow;
pub mod lease;
pub mod rule;
pub mod search;

pub use rule::{Rule, Rules};
pub use search::{Broken, Report, search};
