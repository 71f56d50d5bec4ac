//! `prepare`: the namespace, its port, its server.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::dhcp::{BatchPrepare, Prepare};

use super::lease::{Lease, parse};
use super::name::Name;
use super::network::Network;
use super::{Dhcp, together};
use crate::sys::port;

pub async fn one(cx: Cx<Dhcp>, command: Prepare) -> Result<Done, Fault> {
    let name = Name::of(&command.namespace_name, &command.bridge_name)?;
    let server = server(&command)?;
    let _held = cx.locks.hold(&name.to_string()).await;
    let network = cx.wanted(name, server)?;
    cx.records.save(&network)?;
    let namespace = port::ensure(&network.name, server).await?;
    cx.serve(&network, &namespace).await?;
    Ok(Done {})
}

pub async fn batch(cx: Cx<Dhcp>, command: BatchPrepare) -> Result<Done, Fault> {
    let mut outcomes = Vec::new();
    for info in command.dhcp_infos {
        outcomes.push(one(cx.clone(), info).await);
    }
    together(outcomes)
}

fn server(command: &Prepare) -> Result<Ipv4Net, Fault> {
    let v6 = command.dhcp6_server_ip.as_deref().is_some_and(|ip| !ip.is_empty());
    if v6 || command.ip_version.is_some_and(|version| version != 4) {
        return Err(Fault::new("dhcp for ip version 6 is not served: use 4"));
    }
    let ip: Ipv4Addr = parse(&command.dhcp_server_ip, "dhcp server address")?;
    let mask: Ipv4Addr = parse(&command.dhcp_netmask, "dhcp netmask")?;
    let net = Ipv4Net::with_netmask(ip, mask);
    let net = net.map_err(|_| Fault::new(format!("dhcp netmask {mask} is not a netmask")))?;
    let inside = net.prefix_len() < 31 && ip != net.network() && ip != net.broadcast();
    inside
        .then_some(net)
        .ok_or_else(|| Fault::new(format!("{net} is not the address of a server in its network")))
}

impl Dhcp {
    /// What is served already, from its new address: leases that do not fit it any more are dropped.
    fn wanted(&self, name: Name, server: Ipv4Net) -> Result<Network, Fault> {
        let known = self.records.load(&name)?;
        let mut network = known.unwrap_or_else(|| Network { name, server, leases: Default::default() });
        network.server = server;
        network.leases.retain(|_, lease: &mut Lease| server.contains(&lease.ip) && lease.ip != server.addr());
        Ok(network)
    }
}
