//! System tags that steer how a VM is made.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use engine::inventory::Inventory;
use engine::tag::{Hold, SystemTag, Tokens, Wanted};
use engine::{Id, Result, codes};

use super::VmInstanceInventory;
use crate::l3::L3Network;

/// The address that the VM's NIC in a network gets.
pub(super) const STATIC_IP: SystemTag = SystemTag {
    resource: VmInstanceInventory::KIND,
    pattern: "staticIp::{l3NetworkUuid}::{staticIp}",
    help: "the address that the VM has in a network",
    hold: Hold::Birth,
    once: &["l3NetworkUuid"],
    check: |tokens| read(tokens).map(|_| ()),
};

fn read(tokens: &Tokens) -> Result<(Id<L3Network>, Ipv4Addr)> {
    let (network, ip) = (tokens.get("l3NetworkUuid"), tokens.get("staticIp"));
    let wrong = |what: &str| codes::INVALID_ARGUMENT.because(what.to_owned());
    let network = network.parse().map_err(|_| wrong("it names no uuid of an L3 network"))?;
    Ok((network, ip.parse().map_err(|_| wrong("it names no IPv4 address"))?))
}

/// Which addresses are wanted in which of the VM's networks.
pub(super) fn addresses(
    tags: &Wanted,
    networks: &[Id<L3Network>],
) -> Result<BTreeMap<Id<L3Network>, Ipv4Addr>> {
    let wanted: Result<BTreeMap<_, _>> = tags.tokens(&STATIC_IP).iter().map(read).collect();
    let wanted = wanted?;
    match wanted.keys().find(|network| !networks.contains(network)) {
        None => Ok(wanted),
        Some(network) => {
            let details = format!(
                "a staticIp tag is for the l3 network {network}, in which the VM gets no nic: name it in \
                 \"l3NetworkUuids\""
            );
            Err(codes::INVALID_ARGUMENT.because(details))
        }
    }
}
