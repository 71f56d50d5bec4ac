//! L2 networks that reach from host to host in GRE tunnels.

mod api;
pub mod calls;
mod driver;
mod tunnel;

use cumulet_controller::host;
use cumulet_controller::l2::L2_NETWORKS;
use cumulet_controller::vm::points;
use engine::module::Module;

pub const TYPE: &str = "L2GreNetwork";

pub fn module() -> Module {
    Module::new("gre")
        .category("l2Network")
        .api::<api::CreateL2GreNetwork>()
        .admin()
        .driver(&L2_NETWORKS, TYPE, &driver::Gre)
        .hook(&host::CONNECTING, "gre daemon", &tunnel::Daemon)
        .before("l2 networks")
        .hook(&points::BEFORE_CREATE, "gre tunnel", &tunnel::Tunnel)
        .hook(&points::BEFORE_START, "gre tunnel", &tunnel::Tunnel)
        .hook(&points::AFTER_STOP, "gre tunnel", &tunnel::NoTunnel)
        .hook(&points::AFTER_DESTROY, "gre tunnel", &tunnel::NoTunnel)
        .hook(&points::BEFORE_MIGRATE, "gre tunnel", &tunnel::Tunnel)
        .hook(&points::AFTER_MIGRATE, "gre tunnel", &tunnel::NoTunnel)
}
