//! The vrouter-agent's part.

use std::sync::Arc;

use wire::Fault;
use wire::agent::{Cx, Routes};
use wire::calls::{Done, dhcp};

use crate::{World, obey};

pub(crate) fn routes(world: &Arc<World>) -> Routes<World> {
    Routes::new(Arc::clone(world)).on(prepare).on(apply).on(release).on(delete_namespace)
}

async fn prepare(cx: Cx<World>, command: dhcp::BatchPrepare) -> Result<Done, Fault> {
    obey::<dhcp::BatchPrepare>(&cx, |state| {
        state.namespaces.extend(command.dhcp_infos.into_iter().map(|info| info.namespace_name));
        Ok(Done {})
    })
    .await
}

async fn apply(cx: Cx<World>, command: dhcp::BatchApply) -> Result<Done, Fault> {
    obey::<dhcp::BatchApply>(&cx, |state| {
        for lease in command.dhcp_infos.into_iter().flat_map(|info| info.dhcp) {
            if !state.namespaces.contains(&lease.namespace_name) {
                return Err(Fault::new("prepare the namespace first"));
            }
            state.leases.insert(lease.mac, lease.ip);
        }
        Ok(Done {})
    })
    .await
}

async fn release(cx: Cx<World>, command: dhcp::Release) -> Result<Done, Fault> {
    obey::<dhcp::Release>(&cx, |state| {
        for lease in command.dhcp {
            state.leases.remove(&lease.mac);
        }
        Ok(Done {})
    })
    .await
}

async fn delete_namespace(cx: Cx<World>, command: dhcp::DeleteNamespace) -> Result<Done, Fault> {
    obey::<dhcp::DeleteNamespace>(&cx, |state| {
        state.namespaces.remove(&command.namespace_name);
        Ok(Done {})
    })
    .await
}
