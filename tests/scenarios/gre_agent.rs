//! The agent's half of the example in `docs/examples/l2-plugin`, on simulated hosts.

use fleet::{State, World, obey};
use wire::agent::{Cx, Routes};
use wire::{Call, Fault};

use crate::gre::calls::{CheckDaemon, CreateBridge, DaemonState, DeleteBridge, Done, SetTunnel};

/// Among what a host has: its daemon does not run.
pub const NO_DAEMON: &str = "no gre daemon";

pub fn routes(routes: Routes<World>) -> Routes<World> {
    routes.on(create).on(delete).on(tunnel).on(daemon)
}

/// The VMs that have a tunnel.
pub fn tunnels(state: &State) -> impl Iterator<Item = &str> {
    state.others.iter().filter_map(|other| other.strip_prefix("tunnel "))
}

async fn create(cx: Cx<World>, command: CreateBridge) -> Result<Done, Fault> {
    obey::<CreateBridge>(&cx, |state| {
        state.bridges.insert(command.bridge_name, command.l2_network_uuid);
        Ok(Done {})
    })
    .await
}

async fn delete(cx: Cx<World>, command: DeleteBridge) -> Result<Done, Fault> {
    obey::<DeleteBridge>(&cx, |state| {
        state.bridges.remove(&command.bridge_name);
        Ok(Done {})
    })
    .await
}

async fn tunnel(cx: Cx<World>, command: SetTunnel) -> Result<Done, Fault> {
    obey::<SetTunnel>(&cx, |state| {
        let tunnel = format!("tunnel {}", command.vm_uuid);
        match command.wanted {
            true => state.others.insert(tunnel),
            false => state.others.remove(&tunnel),
        };
        Ok(Done {})
    })
    .await
}

async fn daemon(cx: Cx<World>, _: CheckDaemon) -> Result<<CheckDaemon as Call>::Reply, Fault> {
    Ok(DaemonState { running: !cx.state().state().others.contains(NO_DAEMON) })
}
