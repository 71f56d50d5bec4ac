//! The host's own interfaces.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use host::netlink::{Kind, Link};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::machine::{
    Bonding, CheckVlan, GetInterfaceNames, GetNetworkFacts, InterfaceNames, NetworkFacts, NetworkInterface,
    SetAddress, SetRouterPort,
};

use crate::state::Host;
use crate::sys::interface;

pub async fn network_facts(cx: Cx<Host>, _: GetNetworkFacts) -> Result<NetworkFacts, Fault> {
    let links = cx.net.links().await?;
    let mut addresses = HashMap::new();
    for link in &links {
        let own = cx.net.addresses(link).await?.into_iter().filter(|address| !address.local);
        let own: Vec<String> = own.map(|address| format!("{}/{}", address.ip, address.prefix)).collect();
        addresses.insert(link.index, own);
    }
    let view = View { links: &links, addresses };
    let physical = links.iter().filter(|link| interface::is_physical(&link.name));
    let bonds = links.iter().filter(|link| link.kind == Kind::Bond);
    Ok(NetworkFacts {
        nics: physical.map(|link| view.nic(link)).collect(),
        bondings: bonds.map(|bond| view.bonding(bond)).collect(),
    })
}

/// Addresses that are not here are left out.
pub async fn interface_names(cx: Cx<Host>, cmd: GetInterfaceNames) -> Result<InterfaceNames, Fault> {
    let odd = |ip: &String| Fault::new(format!("ipAddresses: {ip:?} is not an ip address"));
    let parsed = |ip: &String| ip.parse::<IpAddr>().map_err(|_| odd(ip));
    let asked = cmd.ip_addresses.iter().map(parsed).collect::<Result<Vec<_>, _>>()?;
    let mut on = HashMap::new();
    for link in cx.net.links().await? {
        for address in cx.net.addresses(&link).await? {
            on.insert(address.ip, link.name.clone());
        }
    }
    Ok(InterfaceNames { interface_names: asked.iter().filter_map(|ip| on.get(ip).cloned()).collect() })
}

/// Good until the next boot: what the host begins with stands in its operating system's own files.
pub async fn set_address(cx: Cx<Host>, cmd: SetAddress) -> Result<Done, Fault> {
    let (ip, prefix) = (parsed(&cmd.ip_address, "ipAddress")?, prefix(&cmd.netmask)?);
    let gateway = cmd.gateway.as_deref().filter(|gateway| !gateway.is_empty());
    let gateway = gateway.map(|gateway| parsed(gateway, "gateway")).transpose()?;
    let _one = cx.bridges.lock().await;
    let link = named(&cx, &cmd.interface_name).await?;
    cx.net.add_address(&link, ip.into(), prefix).await?;
    for old in cx.net.addresses(&link).await?.into_iter().filter(|old| old.ip.is_ipv4()) {
        if (old.ip, old.prefix) != (ip.into(), prefix) {
            cx.net.delete_address(&link, old.ip, old.prefix).await?;
        }
    }
    cx.net.set_up(&link).await?;
    // An address of the same network that went may have taken it along.
    cx.net.add_address(&link, ip.into(), prefix).await?;
    if let Some(gateway) = gateway {
        cx.net.set_default_route(gateway).await?;
    }
    Ok(Done {})
}

pub async fn check_vlan(cx: Cx<Host>, cmd: CheckVlan) -> Result<Done, Fault> {
    let link = named(&cx, &cmd.interface_name).await?;
    match cx.net.find_vlan(&link, cmd.vlan_id).await? {
        Some(_) => Ok(Done {}),
        None => Err(Fault::new(format!("interface {} has no vlan {}", link.name, cmd.vlan_id))),
    }
}

pub async fn set_router_port(cx: Cx<Host>, cmd: SetRouterPort) -> Result<Done, Fault> {
    for name in &cmd.nic_names {
        let link = named(&cx, name).await?;
        interface::set_router_port(&link.name, cmd.enable).map_err(|error| {
            Fault::new(format!("nicNames: {name} is no port of a bridge with multicast snooping: {error}"))
        })?;
    }
    Ok(Done {})
}

struct View<'a> {
    links: &'a [Link],
    /// By the interface's index.
    addresses: HashMap<u32, Vec<String>>,
}

impl View<'_> {
    fn nic(&self, link: &Link) -> NetworkInterface {
        let master = link.master.and_then(|index| self.links.iter().find(|link| link.index == index));
        let interface_type = match master.map(|master| master.kind) {
            Some(Kind::Bridge) => "bridgeSlave",
            Some(Kind::Bond) => "bondingSlave",
            _ => "noMaster",
        };
        let pci = interface::pci(&link.name);
        NetworkInterface {
            interface_name: link.name.clone(),
            interface_type: interface_type.into(),
            speed: interface::speed(&link.name),
            carrier_active: interface::carrier(&link.name),
            slave_active: (interface_type == "bondingSlave").then(|| interface::carrier(&link.name)),
            mac: mac(link),
            ip_addresses: self.addresses.get(&link.index).cloned().unwrap_or_default(),
            pci_device_address: pci.as_ref().map(|pci| pci.address.clone()),
            vendor_id: pci.as_ref().map(|pci| pci.vendor.clone()),
            device_id: pci.as_ref().map(|pci| pci.device.clone()),
            subvendor_id: pci.as_ref().map(|pci| pci.subvendor.clone()),
            subdevice_id: pci.map(|pci| pci.subdevice),
        }
    }

    fn bonding(&self, bond: &Link) -> Bonding {
        let slaves = self.links.iter().filter(|link| link.master == Some(bond.index));
        let word = |what: &str| interface::bonding(&bond.name, what);
        Bonding {
            bonding_name: bond.name.clone(),
            mode: word("mode"),
            xmit_hash_policy: word("xmit_hash_policy"),
            mii_status: word("mii_status"),
            miimon: word("miimon").parse().unwrap_or_default(),
            mac: mac(bond),
            ip_addresses: self.addresses.get(&bond.index).cloned().unwrap_or_default(),
            speed: interface::speed(&bond.name),
            all_slaves_active: word("all_slaves_active") == "1",
            slaves: slaves.map(|slave| self.nic(slave)).collect(),
        }
    }
}

async fn named(cx: &Cx<Host>, name: &str) -> Result<Link, Fault> {
    let missing = || Fault::new(format!("interfaceName: there is no interface {name:?} on this host"));
    cx.net.find(name).await?.ok_or_else(missing)
}

fn mac(link: &Link) -> String {
    link.mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn parsed(ip: &str, member: &str) -> Result<Ipv4Addr, Fault> {
    ip.parse().map_err(|_| Fault::new(format!("{member}: {ip:?} is not an ipv4 address")))
}

fn prefix(netmask: &str) -> Result<u8, Fault> {
    let bits = parsed(netmask, "netmask")?.to_bits();
    let ones = bits.leading_ones();
    let whole = bits.count_ones() == ones && ones > 0;
    let odd = || Fault::new(format!("netmask: {netmask:?} is none: write it as 255.255.255.0"));
    u8::try_from(ones).ok().filter(|_| whole).ok_or_else(odd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::host;

    #[tokio::test]
    async fn every_interface_with_a_device_behind_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let facts = network_facts(host(dir.path()), GetNetworkFacts::default()).await.unwrap();
        let read = |name: &str, what: &str| std::fs::read_to_string(format!("/sys/class/net/{name}/{what}"));
        let entries = std::fs::read_dir("/sys/class/net").unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut physical: Vec<String> = names.filter(|name| interface::is_physical(name)).collect();
        let mut told: Vec<String> = facts.nics.iter().map(|nic| nic.interface_name.clone()).collect();
        physical.sort();
        told.sort();
        assert_eq!(told, physical);
        for nic in facts.nics {
            assert_eq!(nic.mac, read(&nic.interface_name, "address").unwrap().trim());
        }
    }

    #[test]
    fn a_netmask_is_ones_and_then_zeros() {
        assert_eq!((prefix("255.255.255.0").unwrap(), prefix("255.255.255.255").unwrap()), (24, 32));
        for odd in ["255.0.255.0", "0.0.0.0", "24", ""] {
            assert!(prefix(odd).unwrap_err().error.starts_with("netmask: "), "{odd}");
        }
    }
}
