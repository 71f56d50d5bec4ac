//! Bridges of L2 networks without VLAN.

use host::netlink::{Kind, Link, Netlink, check_name};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::network::{CheckBridge, CreateBridge, DeleteBridge};

use super::handover::hand_over;
use crate::state::Host;

/// The kernel's default.
const PLAIN_MTU: u32 = 1500;

pub async fn create_bridge(cx: Cx<Host>, cmd: CreateBridge) -> Result<Done, Fault> {
    check_name(&cmd.bridge_name)?;
    if cmd.isolated == Some(true) || cmd.pvlan.as_deref().is_some_and(|pvlan| !pvlan.is_empty()) {
        return Err(Fault::new("isolated and private vlan networks are not served by this agent"));
    }
    let _one = cx.bridges.lock().await;
    let net = &cx.net;
    let port = physical(net, &cmd.physical_interface_name).await?;
    let bridge = marked_bridge(net, &cmd).await?;
    if port.master.is_some_and(|master| master != bridge.index) {
        return Err(Fault::new(format!(
            "interface {} is a port of another bridge: release it first",
            port.name
        )));
    }
    prepare(net, &port, &bridge, cmd.mtu.unwrap_or(PLAIN_MTU)).await?;
    hand_over(net, &port, &bridge, async || net.enslave(&port, &bridge).await).await?;
    tracing::info!(bridge = bridge.name, port = port.name, "bridge is there");
    Ok(Done {})
}

pub async fn check_bridge(cx: Cx<Host>, cmd: CheckBridge) -> Result<Done, Fault> {
    let bridge = match cx.net.find(&cmd.bridge_name).await? {
        Some(bridge) if bridge.kind == Kind::Bridge => bridge,
        _ => return Err(Fault::new(format!("can not find bridge[{}]", cmd.bridge_name))),
    };
    let port = physical(&cx.net, &cmd.physical_interface_name).await?;
    if port.master != Some(bridge.index) {
        return Err(Fault::new(format!(
            "interface {} is not a port of bridge {}: create the bridge again",
            port.name, bridge.name
        )));
    }
    Ok(Done {})
}

pub async fn delete_bridge(cx: Cx<Host>, cmd: DeleteBridge) -> Result<Done, Fault> {
    let _one = cx.bridges.lock().await;
    let net = &cx.net;
    let Some(bridge) = net.find(&cmd.bridge_name).await?.filter(|bridge| bridge.kind == Kind::Bridge) else {
        return Ok(Done {});
    };
    if bridge.mark() != Some(cmd.l2_network_uuid.as_str()) {
        tracing::warn!(
            bridge = bridge.name,
            alias = bridge.alias,
            "left alone: it is not this network's bridge"
        );
        return Ok(Done {});
    }
    refuse_other_ports(net, &bridge, &cmd.physical_interface_name).await?;
    if let Some(port) = net.find(&cmd.physical_interface_name).await? {
        net.set_up(&port).await?;
        hand_over(net, &bridge, &port, async || {
            if port.master == Some(bridge.index) { net.release(&port).await } else { Ok(()) }
        })
        .await?;
    }
    net.delete(&bridge).await?;
    tracing::info!(bridge = bridge.name, "bridge is gone");
    Ok(Done {})
}

async fn physical(net: &Netlink, name: &str) -> Result<Link, Fault> {
    let missing = || Fault::new(format!("can not find physical interface[{name}]"));
    net.find(name).await?.ok_or_else(missing)
}

/// The network's bridge, made when it is not there.
async fn marked_bridge(net: &Netlink, cmd: &CreateBridge) -> Result<Link, Fault> {
    let Some(bridge) = net.find(&cmd.bridge_name).await? else {
        return Ok(net.add_bridge(&cmd.bridge_name, &cmd.l2_network_uuid).await?);
    };
    if bridge.kind != Kind::Bridge {
        return Err(Fault::new(format!("interface {} is there and is not a bridge", bridge.name)));
    }
    match bridge.mark() {
        None => tracing::info!(bridge = bridge.name, "using the operator's bridge"),
        Some(mark) if mark == cmd.l2_network_uuid => {}
        Some(mark) => {
            tracing::warn!(bridge = bridge.name, former = mark, "taking over another network's bridge");
            net.set_alias(&bridge, &cmd.l2_network_uuid).await?;
        }
    }
    Ok(bridge)
}

/// The bridge answers with the interface's own hardware address, so that neighbours need not learn anew;
/// both take the largest packet that any asks for.
async fn prepare(net: &Netlink, port: &Link, bridge: &Link, asked: u32) -> Result<(), Fault> {
    let mtu = asked.max(port.mtu).max(if port.master == Some(bridge.index) { bridge.mtu } else { 0 });
    if port.mtu != mtu {
        net.set_mtu(port, mtu).await?;
    }
    if bridge.mtu != mtu {
        net.set_mtu(bridge, mtu).await?;
    }
    if bridge.mark().is_some() && bridge.mac != port.mac {
        net.set_mac(bridge, &port.mac).await?;
    }
    net.set_up(port).await?;
    Ok(net.set_up(bridge).await?)
}

async fn refuse_other_ports(net: &Netlink, bridge: &Link, physical: &str) -> Result<(), Fault> {
    let links = net.links().await?;
    let others: Vec<&str> = links
        .iter()
        .filter(|link| link.master == Some(bridge.index) && link.name != physical)
        .map(|link| link.name.as_str())
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Fault::new(format!("bridge {} still has ports {others:?}: remove what uses them first", bridge.name)))
}
