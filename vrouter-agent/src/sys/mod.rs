//! The only place that touches the machine: links and namespaces, nftables, dnsmasq.

pub mod dnsmasq;
pub mod filter;
pub mod offload;
pub mod port;
