//! What the controller is made of. Adding a resource is one directory and one line here.

use engine::error::Code;
use engine::module::Module;

use crate::host::hook::HostHook;

pub fn all() -> Vec<Module> {
    vec![
        crate::account::module(),
        crate::tag::module(),
        crate::machine::module(),
        crate::setting::module(),
        crate::management::module(),
        crate::zone::module(),
        crate::offering::module(),
        crate::disk_offering::module(),
        crate::cluster::module(),
        crate::host::module(),
        crate::primary_storage::module(),
        crate::backup_storage::module(),
        crate::image::module(),
        crate::l2::module(),
        crate::l3::module(),
        crate::volume::module(),
        crate::nic::module(),
        crate::vm::module(),
        crate::console::module(),
        crate::sweep::module(),
        crate::event::module(),
    ]
}

/// Whether there is such a hypervisor; clusters lie below hosts and ask here.
pub fn check_hypervisor(name: &str) -> engine::Result<()> {
    crate::host::driver::HYPERVISORS.get(name).map(|_| ())
}

/// What is made on a host when it comes, in order; taken away in the opposite order when it goes.
pub static HOST_HOOKS: &[&dyn HostHook] = &[
    &crate::l2::host_hook::L2Networks,
    &crate::primary_storage::host_hook::Storages,
    &crate::l3::host_hook::L3Networks,
];

/// The error codes of the resources, beside the engine's.
pub static CODES: &[Code] = &[
    crate::account::AUTHENTICATION,
    crate::account::SESSION,
    crate::account::LOCKED,
    crate::account::CROWDED,
    crate::host::NOT_ITS_OWN,
    crate::vm::allocate::NO_HOST,
];

/// The whole wiring as text.
pub fn wiring() -> String {
    engine::own_modules().iter().chain(&all()).map(Module::describe).collect()
}
