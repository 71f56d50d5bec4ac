//! The only place that touches the machine.

pub mod clock;
pub mod domain_xml;
pub mod fencer_process;
pub mod firmware;
pub mod hardware;
pub mod image_lock;
pub mod interface;
pub mod lease_file;
pub mod libvirt;
pub mod machine;
pub mod memory;
pub mod mounts;
pub mod nft;
pub mod oom;
pub mod power;
pub mod probe;
pub mod qemu_files;
pub mod qemu_process;
pub mod shaping;
