//! `/host/*`: the hypervisor host as a whole.

mod capacity;
mod connect;
mod fact;
mod files;
mod hardware;
mod nics;
mod power;
mod software;

pub use capacity::capacity;
pub use connect::{connect, echo, ping};
pub use fact::{fact, virtualizer_name};
pub use files::{check_file, device_capacity};
pub use hardware::{disable_huge_pages, enable_huge_pages, memory_facts, numa_topology, usb_devices};
pub use nics::{check_vlan, interface_names, network_facts, set_address, set_router_port};
pub use power::{reboot, shutdown};
pub use software::{update_configuration, update_dependency};
