//! `/vm/*`: virtual machines.
//!
//! A VM is a **transient** libvirt domain, named by the VM's uuid:
//!
//! * libvirtd keeps what it needs to find its QEMUs again below `/run`: a VM outlives restarts of libvirtd
//!   and of this agent;
//! * nothing remains of a VM that ended, however it ended: stopped, destroyed, powered off by its guest,
//!   lost with its host. No definition is left that could start it a second time on a host that comes
//!   back; only the controller knows how a VM looks and where it may run.
//!
//! States of a VM here: absent, running, paused; start makes it run from any of them, stop and destroy
//! make it absent from any of them, and both verify what they report. Commands for one VM run one after
//! another ([`Host::vms`](crate::state::Host)).

mod console;
mod disks;
mod end;
mod power;
mod reboot;
mod relay;
mod start;
mod states;
mod stop;

use wire::Fault;

use crate::sys::domain_xml::is_uuid;

pub use console::{Consoles, get_vnc_port, open_console, routes};
pub use power::{pause, resume};
pub use reboot::{Restarts, reboot};
pub use start::start;
pub use states::{check_state, sync};
pub use stop::{destroy, stop};

/// A uuid as ZStack writes it. It becomes file names, arguments and a domain's name.
fn checked(uuid: &str) -> Result<String, Fault> {
    let unsound =
        || Fault::new(format!("vm uuid {uuid:?} is not sound: it must be 32 lower-case hex digits"));
    is_uuid(uuid).then(|| uuid.to_owned()).ok_or_else(unsound)
}

fn not_here(uuid: &str) -> Fault {
    Fault::new(format!("vm {uuid} is not running on this host"))
}

#[cfg(test)]
mod tests;
