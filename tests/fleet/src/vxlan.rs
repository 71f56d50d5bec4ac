//! Tunnels of VXLANs, which end at the host's own address.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wire::agent::{Cx, Routes};
use wire::calls::{Done, network as call};
use wire::{Call, Fault};

use crate::{World, obey};

type Outcome<C> = Result<<C as Call>::Reply, Fault>;

/// What carries one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    pub vni: u32,
    /// Where it comes from.
    pub end: String,
    /// The other ends that it knows.
    pub peers: BTreeSet<String>,
}

pub(crate) fn add_to(routes: Routes<World>) -> Routes<World> {
    routes.on(check).on(create).on(delete).on(populate).on(populate_all).on(depopulate)
}

async fn check(cx: Cx<World>, _: call::CheckVtep) -> Outcome<call::CheckVtep> {
    let vtep_ip = cx.address.map(|address| address.to_string()).unwrap_or_default();
    Ok(call::VtepFound { vtep_ip, physical_interface_name: "eth0".into() })
}

async fn create(cx: Cx<World>, command: call::CreateVxlanBridge) -> Outcome<call::CreateVxlanBridge> {
    obey::<call::CreateVxlanBridge>(&cx, |state| {
        state.bridges.insert(command.bridge_name, command.l2_network_uuid.clone());
        let tunnel = state.tunnels.entry(command.l2_network_uuid).or_default();
        (tunnel.vni, tunnel.end) = (command.vni, command.vtep_ip);
        tunnel.peers.extend(command.peers);
        Ok(Done {})
    })
    .await
}

async fn delete(cx: Cx<World>, command: call::DeleteVxlanBridge) -> Outcome<call::DeleteVxlanBridge> {
    obey::<call::DeleteVxlanBridge>(&cx, |state| {
        state.bridges.remove(&command.bridge_name);
        state.tunnels.remove(&command.l2_network_uuid);
        Ok(Done {})
    })
    .await
}

async fn populate(cx: Cx<World>, command: call::PopulateFdb) -> Outcome<call::PopulateFdb> {
    obey::<call::PopulateFdb>(&cx, |state| {
        let tunnel = state.tunnels.values_mut().find(|tunnel| tunnel.vni == command.vni);
        let missing = || Fault::new(format!("tunnel vxlan{} is not here", command.vni));
        tunnel.ok_or_else(missing)?.peers.extend(command.peers);
        Ok(Done {})
    })
    .await
}

async fn populate_all(cx: Cx<World>, command: call::PopulateFdbs) -> Outcome<call::PopulateFdbs> {
    obey::<call::PopulateFdbs>(&cx, |state| {
        for network in &command.network_uuids {
            if let Some(tunnel) = state.tunnels.get_mut(network) {
                tunnel.peers.extend(command.peers.clone());
            }
        }
        Ok(Done {})
    })
    .await
}

async fn depopulate(cx: Cx<World>, command: call::DeleteFdbs) -> Outcome<call::DeleteFdbs> {
    obey::<call::DeleteFdbs>(&cx, |state| {
        for network in &command.network_uuids {
            if let Some(tunnel) = state.tunnels.get_mut(network) {
                tunnel.peers.retain(|peer| !command.peers.contains(peer));
            }
        }
        Ok(Done {})
    })
    .await
}
