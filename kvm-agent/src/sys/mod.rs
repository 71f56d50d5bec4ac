//! The only place that touches the machine.

pub mod domain_xml;
pub mod image_lock;
pub mod libvirt;
pub mod machine;
pub mod memory;
pub mod probe;
pub mod qemu_process;
