//! Tests with real parts: libvirt, QEMU, bridges, namespaces. They need root and the packages that
//! `cargo xtask test` installs.

mod browser;
mod cloud;
mod drift;
mod guest;
mod ha;
mod killed;
mod lab;
mod seed;
mod share;
mod snapshots;
mod vxlan;
