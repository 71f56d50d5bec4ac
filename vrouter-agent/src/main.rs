//! `cumulet-vrouter-agent`: serves L3 networks on one host. For each it keeps a network namespace with a
//! port on the network's bridge, in which one dnsmasq gives the addresses that the controller has
//! allocated and answers the names of their holders.
//!
//! Stopping or restarting this program interrupts nobody: namespaces and servers go on, and the next
//! start finds them again.

mod config;
mod dhcp;
mod inventory;
mod locks;
mod sys;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use wire::agent::{Agent, Routes};

use config::Config;
use dhcp::Dhcp;

fn main() -> ExitCode {
    let config = match Config::from_args() {
        Ok(config) => config,
        Err(command) => return command.execute(),
    };
    wire::agent::main_setup();
    match config.and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = wire::agent::shutdown_signal();
    let door = config.entrance().open()?;
    let dhcp = Dhcp::open(&config).context("cannot open the state directory")?;
    let dhcp = Arc::new(dhcp);
    dhcp.adopt().await;
    tokio::spawn(dhcp.clone().watch(shutdown.clone()));
    let routes = dhcp::routes(Routes::new(dhcp)).inventory(inventory::list).from_neighbours();
    let agent = Agent { name: "cumulet-vrouter-agent", state_dir: config.state_dir, again: false };
    agent.serve(&door, routes, shutdown).await.context("cannot serve")
}
