//! What the controller is made of. Adding a resource is one directory and one line here.

use engine::api::describe::About;
use engine::error::Code;
use engine::module::Module;

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
        crate::affinity_group::module(),
        crate::cluster::module(),
        crate::host::module(),
        crate::primary_storage::module(),
        crate::backup_storage::module(),
        crate::image::module(),
        crate::l2::module(),
        crate::l2::vxlan::module(),
        crate::l3::module(),
        crate::volume::module(),
        crate::nic::module(),
        crate::vm::module(),
        crate::vm::moves(),
        crate::snapshot::module(),
        crate::template::module(),
        crate::console::module(),
        crate::sweep::module(),
        crate::ha::module(),
        crate::ha::levels(),
        crate::event::module(),
        crate::service::module(),
        crate::long_job::module(),
        crate::capacity::module(),
        crate::candidate::module(),
        crate::task::module(),
        crate::directory::module(),
        crate::ssh_key_pair::module(),
        crate::certificate::module(),
    ]
}

/// Whether there is such a hypervisor; clusters lie below hosts and ask here.
pub fn check_hypervisor(name: &str) -> engine::Result<()> {
    crate::host::driver::HYPERVISORS.get(name).map(|_| ())
}

/// Whether there is such a way to choose hosts; offerings lie below VMs and ask here.
pub fn check_allocator_strategy(name: &str) -> engine::Result<()> {
    crate::vm::allocate::check_strategy(name)
}

/// The error codes of the resources, beside the engine's.
pub static CODES: &[Code] = &[
    crate::account::CROWDED,
    crate::host::NOT_ITS_OWN,
    crate::ha::NO_EVIDENCE,
    crate::ha::TOO_MANY,
    crate::vm::allocate::NO_HOST,
    crate::service::UNKNOWN,
    crate::service::AWAY,
    crate::service::SLOW,
];

/// The API as an OpenAPI document, with what a program adds.
pub fn openapi(plugins: &[Module]) -> String {
    let own: Vec<_> = all().into_iter().chain(engine::own_modules()).collect();
    let modules: Vec<_> = own.iter().chain(plugins).collect();
    let about = About {
        title: "Cumulet",
        version: env!("CARGO_PKG_VERSION"),
        description: "ZStack's REST API. What changes something is a job: 202, and a location to poll.",
    };
    format!("{:#}\n", engine::api::describe::openapi(&modules, about))
}

/// The whole wiring as text, with what a program adds; refuses what does not fit together.
pub fn wiring(plugins: Vec<Module>) -> engine::Result<String> {
    let mut modules = engine::own_modules();
    modules.extend(all());
    modules.extend(plugins);
    engine::module::describe(modules)
}
