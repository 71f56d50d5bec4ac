//! Bridges of L2 networks without VLAN, and what all bridges have in common.

use host::netlink::{Kind, Link, Netlink, check_name};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::network::{AddPort, CheckBridge, CreateBridge, DeleteBridge};

use super::handover::hand_over;
use crate::state::Host;

/// The kernel's default.
pub(super) const PLAIN_MTU: u32 = 1500;

pub async fn create_bridge(cx: Cx<Host>, cmd: CreateBridge) -> Result<Done, Fault> {
    check_create(&cmd)?;
    let _one = cx.bridges.lock().await;
    let port = physical(&cx.net, &cmd.physical_interface_name).await?;
    build(&cx.net, &port, &cmd).await
}

pub async fn check_bridge(cx: Cx<Host>, cmd: CheckBridge) -> Result<Done, Fault> {
    let bridge = existing(&cx.net, &cmd.bridge_name).await?;
    let port = physical(&cx.net, &cmd.physical_interface_name).await?;
    check_port(&port, &bridge)
}

pub async fn delete_bridge(cx: Cx<Host>, cmd: DeleteBridge) -> Result<Done, Fault> {
    let _one = cx.bridges.lock().await;
    let port = cx.net.find(&cmd.physical_interface_name).await?;
    take_away(&cx.net, &cmd.bridge_name, &cmd.l2_network_uuid, port.as_ref()).await?;
    Ok(Done {})
}

pub async fn add_port(cx: Cx<Host>, cmd: AddPort) -> Result<Done, Fault> {
    let _one = cx.bridges.lock().await;
    let net = &cx.net;
    let bridge = existing(net, &cmd.bridge_name).await?;
    let port = physical(net, &cmd.physical_interface_name).await?;
    check_free(&port, &bridge)?;
    net.set_up(&port).await?;
    net.set_up(&bridge).await?;
    hand_over(net, &port, &bridge, async || net.enslave(&port, &bridge).await).await?;
    Ok(Done {})
}

/// Refuses what cannot be served.
pub(super) fn check_create(cmd: &CreateBridge) -> Result<(), Fault> {
    check_name(&cmd.bridge_name)?;
    if cmd.isolated == Some(true) || cmd.pvlan.as_deref().is_some_and(|pvlan| !pvlan.is_empty()) {
        return Err(Fault::new("isolated and private vlan networks are not served by this agent"));
    }
    Ok(())
}

/// The bridge with `port` in it and what `port` had on it.
pub(super) async fn build(net: &Netlink, port: &Link, cmd: &CreateBridge) -> Result<Done, Fault> {
    let bridge = marked(net, &cmd.bridge_name, &cmd.l2_network_uuid).await?;
    check_free(port, &bridge)?;
    prepare(net, port, &bridge, cmd.mtu.unwrap_or(PLAIN_MTU)).await?;
    hand_over(net, port, &bridge, async || net.enslave(port, &bridge).await).await?;
    tracing::info!(bridge = bridge.name, port = port.name, "bridge is there");
    Ok(Done {})
}

/// Takes the bridge away when it is the network's; `port` gets back what it had given. Tells whether the
/// network has no bridge of this name any more.
pub(super) async fn take_away(
    net: &Netlink,
    name: &str,
    l2: &str,
    port: Option<&Link>,
) -> Result<bool, Fault> {
    let Some(bridge) = net.find(name).await?.filter(|bridge| bridge.kind == Kind::Bridge) else {
        return Ok(true);
    };
    if bridge.mark() != Some(l2) {
        let (bridge, alias) = (bridge.name, bridge.alias);
        tracing::warn!(bridge, alias, "left alone: it is not this network's bridge");
        return Ok(false);
    }
    refuse_other_ports(net, &bridge, port).await?;
    if let Some(port) = port {
        net.set_up(port).await?;
        hand_over(net, &bridge, port, async || {
            if port.master == Some(bridge.index) { net.release(port).await } else { Ok(()) }
        })
        .await?;
    }
    net.delete(&bridge).await?;
    tracing::info!(bridge = bridge.name, "bridge is gone");
    Ok(true)
}

/// Takes away the VLAN or the tunnel that was made here for the network, unless it is some bridge's.
pub(super) async fn drop_own(net: &Netlink, port: Option<&Link>, l2: &str) -> Result<(), Fault> {
    let Some(port) = port else { return Ok(()) };
    let is_ours = |port: &Link| {
        let made = matches!(port.kind, Kind::Vlan { .. } | Kind::Vxlan { .. });
        made && port.mark() == Some(l2) && port.master.is_none()
    };
    match net.find(&port.name).await?.filter(is_ours) {
        Some(port) => Ok(net.delete(&port).await?),
        None => Ok(()),
    }
}

pub(super) async fn existing(net: &Netlink, name: &str) -> Result<Link, Fault> {
    let found = net.find(name).await?.filter(|bridge| bridge.kind == Kind::Bridge);
    found.ok_or_else(|| Fault::new(format!("can not find bridge[{name}]")))
}

pub(super) async fn physical(net: &Netlink, name: &str) -> Result<Link, Fault> {
    let missing = || Fault::new(format!("can not find physical interface[{name}]"));
    net.find(name).await?.ok_or_else(missing)
}

pub(super) fn check_port(port: &Link, bridge: &Link) -> Result<Done, Fault> {
    if port.master == Some(bridge.index) {
        return Ok(Done {});
    }
    Err(Fault::new(format!(
        "interface {} is not a port of bridge {}: create the bridge again",
        port.name, bridge.name
    )))
}

pub(super) fn check_free(port: &Link, bridge: &Link) -> Result<(), Fault> {
    if port.master.is_none_or(|master| master == bridge.index) {
        return Ok(());
    }
    Err(Fault::new(format!("interface {} is a port of another bridge: release it first", port.name)))
}

/// The network's bridge, made when it is not there.
pub(super) async fn marked(net: &Netlink, name: &str, l2: &str) -> Result<Link, Fault> {
    let Some(bridge) = net.find(name).await? else {
        return Ok(net.add_bridge(name, l2).await?);
    };
    if bridge.kind != Kind::Bridge {
        return Err(Fault::new(format!("interface {} is there and is not a bridge", bridge.name)));
    }
    match bridge.mark() {
        None => tracing::info!(bridge = bridge.name, "using the operator's bridge"),
        Some(mark) if mark == l2 => {}
        Some(mark) => {
            tracing::warn!(bridge = bridge.name, former = mark, "taking over another network's bridge");
            net.set_alias(&bridge, l2).await?;
        }
    }
    Ok(bridge)
}

/// The bridge answers with the interface's own hardware address, so that neighbours need not learn anew;
/// both take the largest packet that any asks for.
pub(super) async fn prepare(net: &Netlink, port: &Link, bridge: &Link, asked: u32) -> Result<(), Fault> {
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

async fn refuse_other_ports(net: &Netlink, bridge: &Link, own: Option<&Link>) -> Result<(), Fault> {
    let links = net.links().await?;
    let others: Vec<&str> = links
        .iter()
        .filter(|link| link.master == Some(bridge.index) && Some(link.index) != own.map(|own| own.index))
        .map(|link| link.name.as_str())
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Fault::new(format!("bridge {} still has ports {others:?}: remove what uses them first", bridge.name)))
}
