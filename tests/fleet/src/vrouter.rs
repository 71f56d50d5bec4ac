//! The vrouter-agent's part.

use std::sync::Arc;

use wire::Fault;
use wire::agent::{Cx, Owned, Routes};
use wire::calls::{Done, dhcp};

use crate::{State, World, lock, obey, owned};

pub(crate) fn routes(world: &Arc<World>) -> Routes<World> {
    Routes::new(Arc::clone(world)).on(prepare).on(apply).on(release).on(delete_namespace).inventory(inventory)
}

async fn inventory(world: Arc<World>) -> Result<Vec<Owned>, Fault> {
    let state = lock(&world.state);
    let network = |name: &String| {
        let (_, l3) = name.rsplit_once('_').unwrap_or_default();
        owned("namespace", name, l3)
    };
    let leases = state.leases.iter().map(|(mac, l3)| owned("lease", mac, l3));
    Ok(state.namespaces.iter().map(network).chain(leases).collect())
}

async fn prepare(cx: Cx<World>, command: dhcp::BatchPrepare) -> Result<Done, Fault> {
    obey::<dhcp::BatchPrepare>(&cx, |state| {
        state.namespaces.extend(command.dhcp_infos.into_iter().map(|info| info.namespace_name));
        Ok(Done {})
    })
    .await
}

/// The guest is told nothing any more.
fn silence(state: &mut State, mac: &str) {
    state.told.retain(|told| told.split(' ').next() != Some(mac));
    state.names.remove(mac);
}

async fn apply(cx: Cx<World>, command: dhcp::BatchApply) -> Result<Done, Fault> {
    obey::<dhcp::BatchApply>(&cx, |state| {
        for info in command.dhcp_infos {
            if info.rebuild {
                state.served.retain(|guest| !guest.ends_with(&info.l3_network_uuid));
                let served = state.leases.extract_if(.., |_, l3| *l3 == info.l3_network_uuid);
                for (mac, _) in served.collect::<Vec<_>>() {
                    silence(state, &mac);
                }
            }
            for lease in info.dhcp {
                if !state.namespaces.contains(&lease.namespace_name) {
                    return Err(Fault::new("prepare the namespace first"));
                }
                silence(state, &lease.mac);
                state.served.insert(format!("{} {}", lease.mac, lease.l3_network_uuid));
                state.names.extend(lease.hostname.map(|name| (lease.mac.clone(), name)));
                let domain = lease.dns_domain.map(|domain| format!("{} domain {domain}", lease.mac));
                state.told.extend(domain);
                state.told.extend(lease.dns.iter().map(|dns| format!("{} dns {dns}", lease.mac)));
                state.leases.insert(lease.mac, lease.l3_network_uuid);
            }
        }
        Ok(Done {})
    })
    .await
}

async fn release(cx: Cx<World>, command: dhcp::Release) -> Result<Done, Fault> {
    obey::<dhcp::Release>(&cx, |state| {
        for lease in command.dhcp {
            let (_, l3) = lease.namespace_name.rsplit_once('_').unwrap_or_default();
            state.served.remove(&format!("{} {l3}", lease.mac));
            // Perhaps it is another network's by now.
            if state.leases.get(&lease.mac).is_some_and(|now| now != l3) {
                continue;
            }
            state.leases.remove(&lease.mac);
            silence(state, &lease.mac);
        }
        Ok(Done {})
    })
    .await
}

async fn delete_namespace(cx: Cx<World>, command: dhcp::DeleteNamespace) -> Result<Done, Fault> {
    obey::<dhcp::DeleteNamespace>(&cx, |state| {
        let (_, l3) = command.namespace_name.rsplit_once('_').unwrap_or_default();
        let served: Vec<String> =
            state.leases.iter().filter(|(_, its)| *its == l3).map(|(mac, _)| mac.clone()).collect();
        served.iter().for_each(|mac| silence(state, mac));
        state.served.retain(|guest| !guest.ends_with(l3));
        state.namespaces.remove(&command.namespace_name);
        Ok(Done {})
    })
    .await
}
