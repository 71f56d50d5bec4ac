//! `/host/*`: the hypervisor host as a whole.

mod capacity;
mod connect;
mod fact;

pub use capacity::capacity;
pub use connect::{connect, echo, ping};
pub use fact::{fact, virtualizer_name};
