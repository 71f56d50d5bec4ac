//! Black-box tests, and the lab they run in: real parts of a cloud on one machine.
//!
//! The lab is a library so that `cargo xtask demo` shows the very cloud that the real tests use. It depends on
//! no crate of the product and on nothing that needs a system library: it must build on a machine that has only
//! Rust, before the packages that the rest needs are installed.
//!
//! * [`guest`] makes the disk images that guests boot from;
//! * [`lab`] owns machines (namespaces with their processes), links between them, and takes all of it away;
//! * [`http`] and [`api`] talk to what runs there;
//! * [`controller`] is one controller process, for agents that somebody else simulates;
//! * [`site`] is what every VM needs, made through the API;
//! * [`cloud`] puts controller, agents, libvirt and a network together into a cloud that runs VMs.

pub mod api;
pub mod cloud;
pub mod controller;
pub mod guest;
pub mod http;
pub mod lab;
pub mod postgres;
pub mod site;

use std::path::{Path, PathBuf};

/// The workspace's root directory.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// Where cargo puts what it builds, and everything else that can be made again.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Where guest images are kept.
pub fn guest_cache() -> PathBuf {
    target().join("guest")
}
