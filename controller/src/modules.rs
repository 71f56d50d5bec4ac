//! What the controller is made of. Adding a resource is one directory and one line here.

use engine::module::Module;

use crate::host::hook::HostHook;

pub fn all() -> Vec<Module> {
    vec![
        crate::account::module(),
        crate::zone::module(),
        crate::cluster::module(),
        crate::host::module(),
    ]
}

/// What is made on a host when it comes, in order; taken away in the opposite order when it goes.
pub static HOST_HOOKS: &[&dyn HostHook] = &[];

/// The whole wiring as text.
pub fn wiring() -> String {
    all().iter().map(Module::describe).collect()
}
