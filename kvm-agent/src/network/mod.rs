//! `/network/*`: what connects VMs to the physical network.
//!
//! An L2 network without VLAN is a bridge with one physical interface as a port. A bridge made here
//! carries the L2 network's uuid as its alias, from its first moment; one without it belongs to the
//! operator: it is used and never taken away. With a VLAN the port is the VLAN of the interface, with a VXLAN
//! the end of a tunnel; both are marked as the bridge is, and go with it.

mod bridge;
mod fdb;
mod handover;
mod interfaces;
pub mod vlan;
mod vtep;
pub mod vxlan;

pub use bridge::{add_port, check_bridge, create_bridge, delete_bridge};
pub use fdb::{add_fdb, delete_fdb};
pub use interfaces::check_interfaces;
pub use vtep::check_vtep;

#[cfg(test)]
mod tests;
