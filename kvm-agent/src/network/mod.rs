//! `/network/*`: what connects VMs to the physical network.
//!
//! An L2 network without VLAN is a bridge with one physical interface as a port. A bridge made here
//! carries the L2 network's uuid as its alias, from its first moment; one without it belongs to the
//! operator: it is used and never taken away.

mod bridge;
mod handover;
mod interfaces;

pub use bridge::{check_bridge, create_bridge, delete_bridge};
pub use interfaces::check_interfaces;

#[cfg(test)]
mod tests;
