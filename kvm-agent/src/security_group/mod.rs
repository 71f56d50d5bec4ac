//! `/securitygroup/*`: what may pass to and from VMs' NICs, as nftables rules on their bridges.
//!
//! * The kernel holds the rules: a command changes what it names in one step, and a repetition changes nothing.
//! * Answers pass by connection tracking, which sees bridged packets by br_netfilter, in a zone per bridge:
//!   networks may use the same addresses. What it finds is handed on to the bridge's rules in two
//!   bits of the packet's mark (`script.rs`).
//! * The rules of bridges come behind br_netfilter's own hook at 0: before it, IP packets pass unseen.
//! * What leaves a VM is judged first, then what reaches one: two VMs on one host are judged by both.
//! * Only what a NIC of a group sends or gets is judged. ARP, DHCP, neighbour discovery and a VM's questions to
//!   DNS always pass.

mod ranges;
mod rule;
mod script;

use host::netlink::{Kind, Netlink};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::security_group::{Apply, CheckDefault, CleanUp, Refresh, UpdateMembers};

use crate::state::Host;
use crate::sys::nft;
use script::{Script, Zone};

pub async fn check_default(cx: Cx<Host>, _: CheckDefault) -> Result<Done, Fault> {
    let _one = cx.firewall.lock().await;
    put(&cx.net, Script::default()).await
}

pub async fn apply(cx: Cx<Host>, cmd: Apply) -> Result<Done, Fault> {
    let mut script = Script::default();
    for nic in &cmd.nics {
        script.nic(nic, &cmd.rules, &cmd.ip6_rules)?;
    }
    let _one = cx.firewall.lock().await;
    put(&cx.net, script).await
}

pub async fn refresh(cx: Cx<Host>, cmd: Refresh) -> Result<Done, Fault> {
    let mut script = Script::anew();
    for nic in &cmd.nics {
        script.nic(nic, &cmd.rules, &cmd.ip6_rules)?;
    }
    let _one = cx.firewall.lock().await;
    put(&cx.net, script).await
}

pub async fn update_members(cx: Cx<Host>, cmd: UpdateMembers) -> Result<Done, Fault> {
    let mut script = Script::default();
    for group in &cmd.groups {
        script.members(group)?;
    }
    let _one = cx.firewall.lock().await;
    put(&cx.net, script).await
}

pub async fn clean_up(cx: Cx<Host>, _: CleanUp) -> Result<Done, Fault> {
    let _one = cx.firewall.lock().await;
    let table = nft::table("bridge", script::TABLE).await?;
    let mut script = Script::default();
    let here: Vec<String> = cx.net.links().await?.into_iter().map(|link| link.name).collect();
    for nic in script::nics_in(&table).iter().filter(|nic| !here.contains(nic)) {
        script.without(nic);
    }
    for group in script::unused_in(&table) {
        script.without_group(&group);
    }
    put(&cx.net, script).await
}

async fn put(net: &Netlink, script: Script) -> Result<Done, Fault> {
    nft::track_bridged()?;
    nft::load(&script.text(&zones(net).await?)).await?;
    Ok(Done {})
}

/// A bridge with a VM on it is a zone of its own; but what is for the host itself is not bridged, and stays
/// where the host's own rules look for it.
async fn zones(net: &Netlink) -> Result<Vec<Zone>, Fault> {
    let links = net.links().await?;
    let has_vm =
        |index: u32| links.iter().any(|link| link.master == Some(index) && link.name.starts_with("vnic"));
    let bridges = links.iter().filter(|link| link.kind == Kind::Bridge && has_vm(link.index));
    Ok(bridges.filter_map(Zone::of).collect())
}
