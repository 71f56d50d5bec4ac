//! `apply`: leases are served besides those that are, or instead of them.

use std::collections::BTreeMap;

use host::netns;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::dhcp::{Apply, BatchApply, Lease as Wanted};

use super::lease::Lease;
use super::name::Name;
use super::network::{Network, check_distinct};
use super::{Dhcp, together};

pub async fn one(cx: Cx<Dhcp>, command: Apply) -> Result<Done, Fault> {
    let mut outcomes = Vec::new();
    for (name, wanted) in by_network(&cx, &command)? {
        outcomes.push(cx.apply(&name, &wanted, command.rebuild).await.map(|()| Done {}));
    }
    together(outcomes)
}

pub async fn batch(cx: Cx<Dhcp>, command: BatchApply) -> Result<Done, Fault> {
    let mut outcomes = Vec::new();
    for info in command.dhcp_infos {
        outcomes.push(one(cx.clone(), info).await);
    }
    together(outcomes)
}

/// Rebuilding a network without any lease names it by its uuid alone.
fn by_network(dhcp: &Dhcp, command: &Apply) -> Result<BTreeMap<Name, Vec<Wanted>>, Fault> {
    let mut networks: BTreeMap<Name, Vec<Wanted>> = BTreeMap::new();
    for wanted in &command.dhcp {
        let name = Name::of(&wanted.namespace_name, &wanted.bridge_name)?;
        networks.entry(name).or_default().push(wanted.clone());
    }
    if command.rebuild {
        for name in dhcp.records.names()?.into_iter().filter(|name| name.l3() == command.l3_network_uuid) {
            networks.entry(name).or_default();
        }
    }
    Ok(networks)
}

impl Dhcp {
    async fn apply(&self, name: &Name, wanted: &[Wanted], rebuild: bool) -> Result<(), Fault> {
        let _held = self.locks.hold(&name.to_string()).await;
        let (mut network, namespace) = self.prepared(name)?;
        let leases: Vec<_> =
            wanted.iter().map(|w| Lease::check(w, network.server)).collect::<Result<_, _>>()?;
        check_distinct(&leases)?;
        if rebuild {
            network.leases.clear();
        }
        leases.into_iter().for_each(|lease| network.serve(lease));
        self.records.save(&network)?;
        self.serve(&network, &namespace).await
    }

    fn prepared(&self, name: &Name) -> Result<(Network, netns::Namespace), Fault> {
        let namespace = netns::open(&name.to_string())?;
        let prepared = self.records.load(name)?.zip(namespace);
        prepared
            .ok_or_else(|| Fault::new(format!("namespace \"{name}\" is not on this host: prepare it first")))
    }
}
