//! Runs virtual machines on one hypervisor: libvirt, bridges, local volumes.
//!
//! The agent holds no desired state. Every command brings what it needs; what the agent made can be found
//! again by its marks; a restart interrupts no VM, no packet and no running task.

mod config;
mod host;
mod inventory;
mod keyed;
mod localstorage;
mod network;
mod record;
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

use config::{Config, Flags};
use state::Host;

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(command) = &flags.command {
        return command.execute();
    }
    wire::agent::main_setup();
    match flags.config().map_err(Into::into).and_then(run) {
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
    let host = Arc::new(Host::open(&config, door.live().cloned())?);
    tokio::spawn(warm_up(host.clone()));
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
    Routes::new(state.clone())
        .on(host::connect)
        .on(host::echo)
        .on(host::ping)
        .on(host::fact)
        .on(host::capacity)
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
        .on(network::check_interfaces)
        .on(network::create_bridge)
        .on(network::check_bridge)
        .on(network::delete_bridge)
        .on(localstorage::init)
        .on(localstorage::get_capacity)
        .on(localstorage::create_empty)
        .on(localstorage::create_from_cache)
        .on(localstorage::delete)
        .on(localstorage::delete_dir)
        .on(localstorage::check_bits)
        .on(localstorage::get_size)
        .on(localstorage::download)
        .inventory(inventory::list)
        .plain(&[Role::Controller, Role::ConsoleProxy], vm::routes(state))
}
