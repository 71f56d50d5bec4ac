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

mod cd_rom;
mod console;
mod disks;
mod end;
mod grow;
mod guest;
mod io_thread;
mod layers;
mod limits;
mod migrate;
mod plug;
mod power;
mod reboot;
mod relay;
mod snapshot;
mod start;
mod states;
mod stop;
mod told;

use wire::Fault;

use crate::sys::domain_xml::is_uuid;

pub use cd_rom::{attach_iso, detach_iso};
pub use console::{Consoles, delete_console_firewall, get_vnc_port, harden_console, open_console, routes};
pub use grow::{change_cpu_memory, increase_cpu, increase_memory, resize};
pub use guest::{change_password, screenshot, set_hostname, sync_clock, tools_info, tools_state, trim};
pub use io_thread::{delete_io_thread, get_io_threads, set_io_thread_pin};
pub use layers::{commit, merge, query_jobs, stream};
pub use limits::{
    delete_volume_bandwidth, get_nic_qos, get_volume_bandwidth, pin_emulator, set_nic_qos, set_priority,
    set_volume_bandwidth,
};
pub use migrate::{cancel_migration, compare_cpu, cpu_xml, migrate, migration_progress, stay};
pub use plug::{attach_nic, attach_volume, change_nic_state, detach_nic, detach_volume, update_nic};
pub use power::{pause, resume};
pub use reboot::{Restarts, reboot};
pub use snapshot::{check as check_snapshot, take as take_snapshot, take_many as take_snapshots};
pub use start::{clean_firmware, start};
pub use states::{check_state, sync};
pub use stop::{destroy, stop};
pub use told::{
    check_volumes, device_address, device_info, first_boot_device, sync_volumes, virtualizer_info,
};

/// A uuid as ZStack writes it. It becomes file names, arguments and a domain's name.
pub fn checked(uuid: &str) -> Result<String, Fault> {
    let unsound =
        || Fault::new(format!("vm uuid {uuid:?} is not sound: it must be 32 lower-case hex digits"));
    is_uuid(uuid).then(|| uuid.to_owned()).ok_or_else(unsound)
}

fn not_here(uuid: &str) -> Fault {
    Fault::new(format!("vm {uuid} is not running on this host"))
}

#[cfg(test)]
mod tests;
