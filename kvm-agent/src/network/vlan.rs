//! Bridges of L2 networks with a VLAN: the VLAN of the physical interface is the bridge's port. Without a VLAN
//! (0) the physical interface itself is.

use host::netlink::{Link, Netlink, check_name};
use md5::{Digest, Md5};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::network::{
    CheckBridge, CheckMacvlan, CheckVlanBridge, CreateMacvlan, CreateVlanBridge, DeleteMacvlan,
    DeleteVlanBridge, UpdateVlanBridge,
};

use super::bridge::{self, PLAIN_MTU};
use super::handover::hand_over;
use crate::state::Host;

/// What the kernel takes.
const LONGEST_NAME: usize = 15;
const LAST_VLAN: u16 = 4094;

pub async fn create_bridge(cx: Cx<Host>, cmd: CreateVlanBridge) -> Result<Done, Fault> {
    check_id(cmd.vlan, "vlan")?;
    bridge::check_create(&cmd.bridge)?;
    let _one = cx.bridges.lock().await;
    let physical = bridge::physical(&cx.net, &cmd.bridge.physical_interface_name).await?;
    let asked = cmd.bridge.mtu.unwrap_or(PLAIN_MTU);
    let port = port(&cx.net, &physical, cmd.vlan, &cmd.bridge.l2_network_uuid, asked).await?;
    bridge::build(&cx.net, &port, &cmd.bridge).await
}

pub async fn check_bridge(cx: Cx<Host>, cmd: CheckVlanBridge) -> Result<Done, Fault> {
    let CheckBridge { physical_interface_name, bridge_name } = cmd.bridge;
    let bridge = bridge::existing(&cx.net, &bridge_name).await?;
    let physical = bridge::physical(&cx.net, &physical_interface_name).await?;
    let port = find(&cx.net, &physical, cmd.vlan).await?;
    bridge::check_port(&port, &bridge)
}

pub async fn delete_bridge(cx: Cx<Host>, cmd: DeleteVlanBridge) -> Result<Done, Fault> {
    let _one = cx.bridges.lock().await;
    let (net, l2) = (&cx.net, &cmd.bridge.l2_network_uuid);
    let physical = net.find(&cmd.bridge.physical_interface_name).await?;
    let port = match &physical {
        Some(physical) => here(net, physical, cmd.vlan).await?,
        None => None,
    };
    if bridge::take_away(net, &cmd.bridge.bridge_name, l2, port.as_ref()).await? {
        bridge::drop_own(net, port.as_ref(), l2).await?;
    }
    Ok(Done {})
}

/// The bridge leaves its old port, which gets back what the bridge had of it, before it takes the new one.
pub async fn update_bridge(cx: Cx<Host>, cmd: UpdateVlanBridge) -> Result<Done, Fault> {
    let (old, new) = (id_of(cmd.old_vlan, "oldVlan")?, id_of(cmd.new_vlan, "newVlan")?);
    let _one = cx.bridges.lock().await;
    let net = &cx.net;
    let bridge = bridge::existing(net, &cmd.bridge_name).await?;
    let physical = bridge::physical(net, &cmd.physical_interface_name).await?;
    let to = port(net, &physical, new, &cmd.l2_network_uuid, bridge.mtu).await?;
    bridge::check_free(&to, &bridge)?;
    let from = here(net, &physical, old).await?.filter(|from| from.index != to.index);
    if to.master != Some(bridge.index) {
        if let Some(from) = from.as_ref().filter(|from| from.master == Some(bridge.index)) {
            hand_over(net, &bridge, from, async || net.release(from).await).await?;
        }
        net.enslave(&to, &bridge).await?;
    }
    bridge::prepare(net, &to, &bridge, bridge.mtu).await?;
    hand_over(net, &to, &bridge, async || Ok(())).await?;
    bridge::drop_own(net, from.as_ref(), &cmd.l2_network_uuid).await?;
    tracing::info!(bridge = bridge.name, old, new, "bridge is on another vlan");
    Ok(Done {})
}

pub async fn create_macvlan(cx: Cx<Host>, cmd: CreateMacvlan) -> Result<Done, Fault> {
    check_id(cmd.vlan, "vlan")?;
    let _one = cx.bridges.lock().await;
    let physical = bridge::physical(&cx.net, &cmd.physical_interface_name).await?;
    let asked = cmd.mtu.unwrap_or(PLAIN_MTU);
    let port = port(&cx.net, &physical, cmd.vlan, &cmd.l2_network_uuid, asked).await?;
    cx.net.set_up(&port).await?;
    Ok(Done {})
}

pub async fn check_macvlan(cx: Cx<Host>, cmd: CheckMacvlan) -> Result<Done, Fault> {
    let physical = bridge::physical(&cx.net, &cmd.physical_interface_name).await?;
    find(&cx.net, &physical, cmd.vlan).await?;
    Ok(Done {})
}

pub async fn delete_macvlan(cx: Cx<Host>, cmd: DeleteMacvlan) -> Result<Done, Fault> {
    let _one = cx.bridges.lock().await;
    let Some(physical) = cx.net.find(&cmd.physical_interface_name).await? else { return Ok(Done {}) };
    let vlan = here(&cx.net, &physical, cmd.vlan).await?;
    if let Some(vlan) = &vlan {
        let users = cx.net.links().await?.into_iter().filter(|link| link.parent == Some(vlan.index));
        let users: Vec<String> = users.map(|link| link.name).collect();
        if !users.is_empty() {
            return Err(Fault::new(format!("vlan {} carries {users:?}: remove those first", vlan.name)));
        }
    }
    bridge::drop_own(&cx.net, vlan.as_ref(), &cmd.l2_network_uuid).await?;
    Ok(Done {})
}

/// The VLAN of `physical`, made when it is not there; one of the operator's is used as it is called.
async fn port(net: &Netlink, physical: &Link, id: u16, l2: &str, mtu: u32) -> Result<Link, Fault> {
    if id == 0 {
        return Ok(physical.clone());
    }
    // A VLAN carries no larger packets than what it lies on.
    if physical.mtu < mtu {
        net.set_mtu(physical, mtu).await?;
    }
    net.set_up(physical).await?;
    if let Some(there) = net.find_vlan(physical, id).await? {
        return Ok(there);
    }
    Ok(net.add_vlan(&name(&physical.name, id), l2, physical, id).await?)
}

async fn here(net: &Netlink, physical: &Link, id: u16) -> Result<Option<Link>, Fault> {
    if id == 0 {
        return Ok(Some(physical.clone()));
    }
    Ok(net.find_vlan(physical, id).await?)
}

async fn find(net: &Netlink, physical: &Link, id: u16) -> Result<Link, Fault> {
    let found = here(net, physical, id).await?;
    found.ok_or_else(|| Fault::new(format!("interface {} has no vlan {id}: create it again", physical.name)))
}

/// `eth0.7`; a physical interface whose name is too long for that is told by a hash.
fn name(physical: &str, id: u16) -> String {
    let plain = format!("{physical}.{id}");
    if plain.len() <= LONGEST_NAME && check_name(&plain).is_ok() {
        return plain;
    }
    let (hash, id) = (hex::encode(Md5::digest(physical)), id.to_string());
    format!("{}.{id}", &hash[..LONGEST_NAME - 1 - id.len()])
}

fn check_id(id: u16, member: &str) -> Result<(), Fault> {
    if id <= LAST_VLAN {
        return Ok(());
    }
    Err(Fault::new(format!("{member} {id} is no vlan: give one from 1 to {LAST_VLAN}, or 0 for none")))
}

fn id_of(text: Option<String>, member: &str) -> Result<u16, Fault> {
    let text = text.unwrap_or_default();
    if text.is_empty() {
        return Ok(0);
    }
    let odd = |_| Fault::new(format!("{member} {text:?} is no number: give one from 0 to {LAST_VLAN}"));
    let id = text.parse().map_err(odd)?;
    check_id(id, member).map(|()| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_is_named_after_its_interface_as_long_as_that_fits() {
        assert_eq!(name("eth0", 7), "eth0.7");
        assert_eq!(name("enp129s0f0", 4094), "enp129s0f0.4094");
        let long = name("enp129s0f0np1", 4094);
        assert_eq!(long.len(), LONGEST_NAME);
        assert!(long.ends_with(".4094") && long != name("enp129s0f0np0", 4094));
    }

    #[test]
    fn a_vlan_that_cannot_be_is_named() {
        assert_eq!(id_of(None, "oldVlan").unwrap(), 0);
        assert_eq!(id_of(Some("17".into()), "oldVlan").unwrap(), 17);
        assert!(id_of(Some("x".into()), "newVlan").unwrap_err().error.contains("newVlan"));
        assert!(check_id(4095, "vlan").unwrap_err().error.starts_with("vlan 4095"));
    }
}
