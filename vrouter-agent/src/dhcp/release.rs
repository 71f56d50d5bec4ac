//! `release`: leases are served no longer.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use host::netns;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::dhcp::Release;

use super::lease::{mac, parse};
use super::name::Name;
use super::{Dhcp, together};

pub async fn release(cx: Cx<Dhcp>, command: Release) -> Result<Done, Fault> {
    let mut networks: BTreeMap<Name, Vec<(String, Ipv4Addr)>> = BTreeMap::new();
    for lease in &command.dhcp {
        let name = Name::of(&lease.namespace_name, &lease.bridge_name)?;
        let ip = parse(&lease.ip, "address of the lease")?;
        networks.entry(name).or_default().push((mac(&lease.mac)?, ip));
    }
    let mut outcomes = Vec::new();
    for (name, leases) in networks {
        outcomes.push(cx.release(&name, &leases).await.map(|()| Done {}));
    }
    together(outcomes)
}

impl Dhcp {
    async fn release(&self, name: &Name, leases: &[(String, Ipv4Addr)]) -> Result<(), Fault> {
        let _held = self.locks.hold(&name.to_string()).await;
        let Some(mut network) = self.records.load(name)? else { return Ok(()) };
        leases.iter().for_each(|(mac, ip)| network.release(mac, *ip));
        self.records.save(&network)?;
        match netns::open(&name.to_string())? {
            Some(namespace) => self.serve(&network, &namespace).await,
            None => Ok(()),
        }
    }
}
