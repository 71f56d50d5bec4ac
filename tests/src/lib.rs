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

/// Where tests say what they could not try on this machine.
pub fn untried_dir() -> PathBuf {
    target().join("untried")
}

/// What the calling test cannot try on this machine, and why: `cargo xtask test` tells it at its end.
///
/// # Panics
/// When it cannot be written down: nothing is left out silently.
pub fn untried(what: &str) {
    let test = std::thread::current().name().unwrap_or("a test").replace("::", ".");
    std::fs::create_dir_all(untried_dir()).expect("target/ can be written");
    std::fs::write(untried_dir().join(test), what).expect("target/ can be written");
}
