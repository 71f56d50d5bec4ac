//! What more than one agent needs of the machine: programs, links, namespaces, disk images.

pub mod file;
pub mod netlink;
pub mod netns;
pub mod process;
pub mod qcow2;
pub mod qemu_img;
