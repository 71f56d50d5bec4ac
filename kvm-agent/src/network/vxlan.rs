//! Bridges of VXLAN networks: the tunnel `vxlan<vni>` is the bridge's port. The tunnel knows the other hosts by
//! its forwarding table: what it cannot place goes to all of them.

use std::net::IpAddr;

use host::netlink::{FLOOD, Kind, Link, Netlink, Tunnel};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::network::{
    CreateVxlanBridge, CreateVxlanBridges, DeleteFdbs, DeleteVxlanBridge, PopulateFdb, PopulateFdbs,
    UpdateVxlanBridge,
};

use super::bridge;
use crate::state::Host;

/// Linux' own, which ZStack's networks use.
const PORT: u16 = 8472;
const LAST_VNI: u32 = (1 << 24) - 1;
/// What a plain network's packets have left when they are wrapped.
const MTU: u32 = 1450;

pub async fn create_bridge(cx: Cx<Host>, cmd: CreateVxlanBridge) -> Result<Done, Fault> {
    let _one = cx.bridges.lock().await;
    create(&cx.net, &cmd).await
}

/// All are tried, whatever becomes of one.
pub async fn create_bridges(cx: Cx<Host>, cmd: CreateVxlanBridges) -> Result<Done, Fault> {
    let _one = cx.bridges.lock().await;
    let mut wrong = Vec::new();
    for cmd in &cmd.bridge_cmds {
        if let Err(fault) = create(&cx.net, cmd).await {
            wrong.push(format!("bridge {}: {}", cmd.bridge_name, fault.error));
        }
    }
    if wrong.is_empty() { Ok(Done {}) } else { Err(Fault::new(wrong.join("; "))) }
}

pub async fn delete_bridge(cx: Cx<Host>, cmd: DeleteVxlanBridge) -> Result<Done, Fault> {
    let _one = cx.bridges.lock().await;
    let net = &cx.net;
    let port = net.find(&name(cmd.vni)).await?;
    if bridge::take_away(net, &cmd.bridge_name, &cmd.l2_network_uuid, port.as_ref()).await? {
        bridge::drop_own(net, port.as_ref(), &cmd.l2_network_uuid).await?;
    }
    Ok(Done {})
}

pub async fn update_bridge(cx: Cx<Host>, cmd: UpdateVxlanBridge) -> Result<Done, Fault> {
    let (old, new) = (vni_of(&cmd.old_vlan, "oldVlan")?, vni_of(&cmd.new_vlan, "newVlan")?);
    let peers = addresses(&cmd.peers)?;
    let _one = cx.bridges.lock().await;
    let net = &cx.net;
    let bridge = bridge::existing(net, &cmd.bridge_name).await?;
    let (from, there) = (net.find(&name(old)).await?, net.find(&name(new)).await?);
    let model = from.as_ref().or(there.as_ref()).and_then(Link::tunnel);
    let Some(model) = model else {
        return Err(Fault::new(format!("tunnel {} is not here: create the bridge first", name(old))));
    };
    let to = tunnel(net, &Tunnel { vni: new, ..model }, &cmd.l2_network_uuid).await?;
    bridge::check_free(&to, &bridge)?;
    net.set_mtu(&to, bridge.mtu).await?;
    populate(net, &to, &peers).await?;
    if let Some(from) = from.as_ref().filter(|from| from.index != to.index) {
        net.release(from).await?;
        bridge::drop_own(net, Some(from), &cmd.l2_network_uuid).await?;
    }
    net.enslave(&to, &bridge).await?;
    net.set_up(&to).await?;
    tracing::info!(bridge = bridge.name, old, new, "bridge is on another tunnel");
    Ok(Done {})
}

pub async fn populate_fdb(cx: Cx<Host>, cmd: PopulateFdb) -> Result<Done, Fault> {
    let peers = addresses(&cmd.peers)?;
    let link = cx.net.find(&name(cmd.vni)).await?;
    let missing = || Fault::new(format!("tunnel {} is not here: create its bridge first", name(cmd.vni)));
    populate(&cx.net, &link.ok_or_else(missing)?, &peers).await?;
    Ok(Done {})
}

pub async fn populate_fdbs(cx: Cx<Host>, cmd: PopulateFdbs) -> Result<Done, Fault> {
    let peers = addresses(&cmd.peers)?;
    for link in tunnels(&cx.net, &cmd.network_uuids).await? {
        populate(&cx.net, &link, &peers).await?;
    }
    Ok(Done {})
}

pub async fn delete_fdbs(cx: Cx<Host>, cmd: DeleteFdbs) -> Result<Done, Fault> {
    let peers = addresses(&cmd.peers)?;
    for link in tunnels(&cx.net, &cmd.network_uuids).await? {
        for peer in &peers {
            cx.net.delete_fdb(&link, &FLOOD, Some(*peer)).await?;
        }
    }
    Ok(Done {})
}

async fn create(net: &Netlink, cmd: &CreateVxlanBridge) -> Result<Done, Fault> {
    let (peers, local) = (addresses(&cmd.peers)?, address(&cmd.vtep_ip, "vtepIp")?);
    let port = cmd.dstport.filter(|&port| port != 0).unwrap_or(PORT);
    check_vni(cmd.vni, "vni")?;
    let here = net.all_addresses().await?.iter().any(|address| address.ip == local);
    if !here {
        return Err(Fault::new(format!("vtepIp {local} is not an address of this host")));
    }
    let link = tunnel(net, &Tunnel { vni: cmd.vni, local, port }, &cmd.l2_network_uuid).await?;
    let bridge = bridge::marked(net, &cmd.bridge_name, &cmd.l2_network_uuid).await?;
    bridge::check_free(&link, &bridge)?;
    let mtu = cmd.mtu.unwrap_or(MTU);
    net.set_mtu(&link, mtu).await?;
    net.enslave(&link, &bridge).await?;
    net.set_mtu(&bridge, mtu).await?;
    populate(net, &link, &peers).await?;
    net.set_up(&link).await?;
    net.set_up(&bridge).await?;
    tracing::info!(bridge = bridge.name, vni = cmd.vni, peers = peers.len(), "bridge is there");
    Ok(Done {})
}

/// One of ours that leads elsewhere (the host has another address now) is made anew.
async fn tunnel(net: &Netlink, tunnel: &Tunnel, l2: &str) -> Result<Link, Fault> {
    let name = name(tunnel.vni);
    match net.find(&name).await? {
        Some(link) if link.tunnel().as_ref() == Some(tunnel) => {
            if link.mark().is_some_and(|mark| mark != l2) {
                net.set_alias(&link, l2).await?;
            }
            return Ok(link);
        }
        Some(link) if !matches!(link.kind, Kind::Vxlan { .. }) || link.mark().is_none() => {
            return Err(Fault::new(format!(
                "interface {name} is there and is not this agent's: remove it first"
            )));
        }
        Some(link) => net.delete(&link).await?,
        None => {}
    }
    Ok(net.add_vxlan(&name, l2, tunnel).await?)
}

/// This host itself is no peer: what it would send there came back.
async fn populate(net: &Netlink, link: &Link, peers: &[IpAddr]) -> Result<(), Fault> {
    let own = link.tunnel().map(|tunnel| tunnel.local);
    for peer in peers.iter().filter(|&&peer| Some(peer) != own) {
        net.add_fdb(link, &FLOOD, Some(*peer)).await?;
    }
    Ok(())
}

async fn tunnels(net: &Netlink, networks: &[String]) -> Result<Vec<Link>, Fault> {
    let wanted = |link: &Link| {
        let marked = link.mark().is_some_and(|mark| networks.iter().any(|network| network == mark));
        marked && matches!(link.kind, Kind::Vxlan { .. })
    };
    Ok(net.links().await?.into_iter().filter(wanted).collect())
}

fn name(vni: u32) -> String {
    format!("vxlan{vni}")
}

fn check_vni(vni: u32, member: &str) -> Result<(), Fault> {
    match vni {
        1..=LAST_VNI => Ok(()),
        _ => Err(Fault::new(format!("{member} {vni} is no vxlan: give one from 1 to {LAST_VNI}"))),
    }
}

fn vni_of(text: &str, member: &str) -> Result<u32, Fault> {
    let vni = text.parse().map_err(|_| Fault::new(format!("{member} {text:?} is no number")))?;
    check_vni(vni, member).map(|()| vni)
}

fn addresses(peers: &[String]) -> Result<Vec<IpAddr>, Fault> {
    peers.iter().map(|peer| address(peer, "peers")).collect()
}

fn address(text: &str, member: &str) -> Result<IpAddr, Fault> {
    text.parse().map_err(|_| Fault::new(format!("{member}: {text:?} is not an ip address")))
}
