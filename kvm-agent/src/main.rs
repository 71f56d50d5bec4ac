//! Runs virtual machines on one hypervisor: libvirt, bridges, local volumes.
//!
//! The agent holds no desired state. Every command brings what it needs; what the agent made can be found
//! again by its marks; a restart interrupts no VM, no packet and no running task.

mod config;
mod flat_network;
mod ha;
mod host;
mod inventory;
mod keyed;
mod localstorage;
mod mount_point;
mod network;
mod nfs;
mod record;
mod security_group;
mod seed;
mod state;
mod sys;
#[cfg(test)]
mod testing;
mod vm;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use wire::agent::{Agent, Routes};
use wire::tls::Role;

use config::{Command, Config, Flags};
use state::Host;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let stay = match &flags.command {
        Some(Command::Identity(command)) => return command.execute(),
        Some(Command::Fencer { stay }) => Some(*stay),
        None => None,
    };
    wire::agent::main_setup();
    let work = |config: Config| match stay {
        Some(stay) => Ok(ha::fence(&config.state_dir, stay)?),
        None => run(config),
    };
    match flags.config().map_err(Into::into).and_then(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the agent cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(serve(config));
    // A libvirt call that hangs must not hold up the end.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let door = config.entrance().open()?;
    let agent = Agent {
        name: "cumulet-kvm-agent",
        state_dir: config.state_dir.clone(),
        again: config.repeat_unfenced_tasks,
    };
    let host = Arc::new(Host::open(&config, &door)?);
    tokio::spawn(warm_up(host.clone()));
    tokio::spawn(ha::guard(host.clone()));
    agent.serve(&door, routes(host), wire::agent::shutdown_signal()).await?;
    Ok(())
}

/// The first questions to libvirt and to KVM take seconds: the first VM should not wait for them.
async fn warm_up(host: Arc<Host>) {
    if let Err(error) = host.libvirt.node().await {
        tracing::warn!(%error, "libvirt does not answer yet");
    }
    host.probe.verdict().await;
    sys::memory::stay_small().await;
}

fn routes(state: Arc<Host>) -> Routes<Host> {
    let areas = [
        host_routes,
        network_routes,
        filter_routes,
        handed_on_routes,
        life_routes,
        device_routes,
        disk_routes,
        file_routes,
        mount_point_routes,
        nfs_routes,
        ha_routes,
    ];
    let routes = areas.into_iter().fold(Routes::new(state.clone()), |routes, area| area(routes));
    let ears = state.vrouter.router();
    let routes = routes.inventory(inventory::list).plain(&[Role::Host], ears);
    routes.plain(&[Role::Controller, Role::ConsoleProxy], vm::routes(state))
}

/// The host itself.
fn host_routes(routes: Routes<Host>) -> Routes<Host> {
    routes
        .on(host::connect)
        .on(host::echo)
        .on(host::ping)
        .on(host::fact)
        .on(host::capacity)
        .on(host::update_configuration)
        .on(host::update_dependency)
        .on(host::check_file)
        .on(host::device_capacity)
        .on(host::network_facts)
        .on(host::interface_names)
        .on(host::set_address)
        .on(host::check_vlan)
        .on(host::set_router_port)
        .on(host::memory_facts)
        .on(host::numa_topology)
        .on(host::usb_devices)
        .on(host::enable_huge_pages)
        .on(host::disable_huge_pages)
        .on(host::reboot)
        .on(host::shutdown)
}

/// What connects VMs to the physical network.
fn network_routes(routes: Routes<Host>) -> Routes<Host> {
    routes
        .on(network::check_interfaces)
        .on(network::create_bridge)
        .on(network::check_bridge)
        .on(network::delete_bridge)
        .on(network::add_port)
        .on(network::vlan::create_bridge)
        .on(network::vlan::check_bridge)
        .on(network::vlan::delete_bridge)
        .on(network::vlan::update_bridge)
        .on(network::vlan::create_macvlan)
        .on(network::vlan::check_macvlan)
        .on(network::vlan::delete_macvlan)
        .on(network::check_vtep)
        .on(network::vxlan::create_bridge)
        .on(network::vxlan::create_bridges)
        .on(network::vxlan::delete_bridge)
        .on(network::vxlan::update_bridge)
        .on(network::vxlan::populate_fdb)
        .on(network::vxlan::populate_fdbs)
        .on(network::vxlan::delete_fdbs)
        .on(network::add_fdb)
        .on(network::delete_fdb)
}

/// What may pass to and from VMs.
fn filter_routes(routes: Routes<Host>) -> Routes<Host> {
    routes
        .on(security_group::check_default)
        .on(security_group::apply)
        .on(security_group::refresh)
        .on(security_group::update_members)
        .on(security_group::clean_up)
}

/// What the vrouter-agent of this host serves.
fn handed_on_routes(routes: Routes<Host>) -> Routes<Host> {
    routes
        .on(flat_network::connect)
        .on(flat_network::prepare)
        .on(flat_network::batch_prepare)
        .on(flat_network::apply)
        .on(flat_network::batch_apply)
        .on(flat_network::release)
        .on(flat_network::delete_namespace)
}

/// VMs as wholes.
fn life_routes(routes: Routes<Host>) -> Routes<Host> {
    routes
        .on(vm::start)
        .on(vm::stop)
        .on(vm::pause)
        .on(vm::resume)
        .on(vm::reboot)
        .on(vm::destroy)
        .on(vm::sync)
        .on(vm::check_state)
        .on(vm::get_vnc_port)
        .on(vm::open_console)
        .on(vm::harden_console)
        .on(vm::delete_console_firewall)
        .on(vm::clean_firmware)
        .on(vm::migrate)
        .on(vm::migration_progress)
        .on(vm::cancel_migration)
        .on(vm::stay)
        .on(vm::cpu_xml)
        .on(vm::compare_cpu)
        .on(seed::read)
        .on(seed::write)
}

/// What is in a VM, and what its guest says.
fn device_routes(routes: Routes<Host>) -> Routes<Host> {
    routes
        .on(vm::attach_volume)
        .on(vm::detach_volume)
        .on(vm::attach_nic)
        .on(vm::detach_nic)
        .on(vm::update_nic)
        .on(vm::change_nic_state)
        .on(vm::attach_iso)
        .on(vm::detach_iso)
        .on(vm::increase_cpu)
        .on(vm::increase_memory)
        .on(vm::change_cpu_memory)
        .on(vm::set_nic_qos)
        .on(vm::get_nic_qos)
        .on(vm::set_priority)
        .on(vm::pin_emulator)
        .on(vm::set_io_thread_pin)
        .on(vm::delete_io_thread)
        .on(vm::get_io_threads)
        .on(vm::device_info)
        .on(vm::device_address)
        .on(vm::first_boot_device)
        .on(vm::virtualizer_info)
        .on(vm::change_password)
        .on(vm::trim)
        .on(vm::sync_clock)
        .on(vm::set_hostname)
        .on(vm::screenshot)
        .on(vm::tools_info)
        .on(vm::tools_state)
}

/// Disks of VMs.
fn disk_routes(routes: Routes<Host>) -> Routes<Host> {
    routes
        .on(vm::resize)
        .on(vm::set_volume_bandwidth)
        .on(vm::delete_volume_bandwidth)
        .on(vm::get_volume_bandwidth)
        .on(vm::take_snapshot)
        .on(vm::take_snapshots)
        .on(vm::check_snapshot)
        .on(vm::merge)
        .on(vm::commit)
        .on(vm::stream)
        .on(vm::query_jobs)
        .on(vm::check_volumes)
        .on(vm::sync_volumes)
}

/// Storage on this host's own disks.
fn file_routes(routes: Routes<Host>) -> Routes<Host> {
    routes
        .on(localstorage::init)
        .on(localstorage::get_capacity)
        .on(localstorage::create_empty)
        .on(localstorage::create_from_cache)
        .on(localstorage::delete)
        .on(localstorage::delete_dir)
        .on(localstorage::check_bits)
        .on(localstorage::get_size)
        .on(localstorage::download)
        .on(localstorage::upload)
        .on(localstorage::revert)
        .on(localstorage::reinit)
        .on(localstorage::merge)
        .on(localstorage::merge_and_rebase)
        .on(localstorage::offline_merge)
        .on(localstorage::verify_chain)
        .on(localstorage::rebase_all)
        .on(localstorage::create_template)
        .on(localstorage::estimate)
        .on(localstorage::with_backing)
        .on(localstorage::create_folder)
        .on(localstorage::unlink)
        .on(localstorage::resize)
        .on(localstorage::get_backing_file)
        .on(localstorage::get_backing_chain)
        .on(localstorage::batch_get_size)
        .on(localstorage::base_image)
        .on(localstorage::get_references)
        .on(localstorage::hard_link)
        .on(localstorage::relink_volume)
        .on(localstorage::check_initialized)
        .on(localstorage::create_initialized)
        .on(localstorage::get_md5)
        .on(localstorage::check_md5)
        .on(localstorage::get_hash)
        .on(localstorage::clean_local_meta)
}

/// Storage that several hosts have mounted.
fn mount_point_routes(routes: Routes<Host>) -> Routes<Host> {
    routes
        .on(mount_point::connect)
        .on(mount_point::create_root)
        .on(mount_point::with_backing)
        .on(mount_point::create_empty)
        .on(mount_point::create_folder)
        .on(mount_point::delete)
        .on(mount_point::unlink)
        .on(mount_point::check_bits)
        .on(mount_point::get_size)
        .on(mount_point::resize)
        .on(mount_point::create_template)
        .on(mount_point::estimate)
        .on(mount_point::revert)
        .on(mount_point::reinit)
        .on(mount_point::merge)
        .on(mount_point::offline_merge)
        .on(mount_point::get_backing_chain)
        .on(mount_point::hard_link)
        .on(mount_point::get_hash)
        .on(mount_point::download)
        .on(mount_point::upload)
        .on(mount_point::clean_meta)
}

/// Storage on shares that this agent mounts.
fn nfs_routes(routes: Routes<Host>) -> Routes<Host> {
    routes
        .on(nfs::mount)
        .on(nfs::remount)
        .on(nfs::unmount)
        .on(nfs::update_mount_point)
        .on(nfs::ping)
        .on(nfs::get_capacity)
        .on(nfs::create_empty)
        .on(nfs::create_from_template)
        .on(nfs::with_backing)
        .on(nfs::create_folder)
        .on(nfs::delete)
        .on(nfs::unlink)
        .on(nfs::check_bits)
        .on(nfs::create_template)
        .on(nfs::estimate)
        .on(nfs::revert)
        .on(nfs::reinit)
        .on(nfs::merge)
        .on(nfs::merge_and_rebase)
        .on(nfs::offline_merge)
        .on(nfs::move_bits)
        .on(nfs::get_size)
        .on(nfs::batch_get_size)
        .on(nfs::base_image)
        .on(nfs::get_backing_chain)
        .on(nfs::resize)
        .on(nfs::hard_link)
        .on(nfs::rebase_backing)
        .on(nfs::get_hash)
        .on(nfs::download)
        .on(nfs::upload)
        .on(nfs::clean_meta)
}

/// What keeps two hosts from writing to one disk.
fn ha_routes(routes: Routes<Host>) -> Routes<Host> {
    routes.on(ha::set_up).on(ha::cancel).on(ha::scan).on(ha::watch).on(ha::fence_lease)
}

#[cfg(test)]
mod tests {
    /// What is served stands in `paths.txt`, for people and for `cargo xtask coverage agent`.
    #[tokio::test]
    async fn the_paths_are_those_that_are_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let served =
            super::routes(crate::testing::host(dir.path()).state().clone()).paths().join("\n") + "\n";
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/paths.txt");
        if std::env::var_os("UPDATE_PATHS").is_some() {
            std::fs::write(file, served).unwrap();
        } else {
            assert_eq!(served, std::fs::read_to_string(file).unwrap(), "set UPDATE_PATHS=1 to accept");
        }
    }
}
