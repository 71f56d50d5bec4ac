//! Which of this host's addresses tunnels come from.

use std::net::IpAddr;

use host::netlink::{Address, Kind, Link};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::network::{CheckVtep, VtepFound};

use crate::state::Host;

/// Fails unless exactly one address lies in the CIDR and is the one, or on the interface, that was named.
pub async fn check_vtep(cx: Cx<Host>, cmd: CheckVtep) -> Result<VtepFound, Fault> {
    let network = Network::parse(&cmd.cidr)?;
    let wanted = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (ip, interface) = (wanted(&cmd.vtep_ip), wanted(&cmd.physical_interface_name));
    let links = cx.net.links().await?;
    let mut found = Vec::new();
    for link in links.iter().filter(|link| link.up && is_on(link, interface.as_deref(), &links)) {
        let addresses = cx.net.addresses(link).await?;
        found.extend(addresses.into_iter().filter(|a| network.holds(a)).map(|a| (a.ip, link.name.clone())));
    }
    found.retain(|(found, _)| ip.as_ref().is_none_or(|ip| found.to_string() == *ip));
    match found.as_slice() {
        [(ip, on)] => Ok(VtepFound {
            vtep_ip: ip.to_string(),
            physical_interface_name: interface.unwrap_or_else(|| on.clone()),
        }),
        [] => Err(Fault::new(format!(
            "no address of this host lies in cidr {}{}",
            cmd.cidr,
            told(&ip, &interface)
        ))),
        several => {
            let several: Vec<String> = several.iter().map(|(ip, on)| format!("{ip} on {on}")).collect();
            Err(Fault::new(format!(
                "several addresses lie in cidr {}: {}: name one by vtepip or physicalInterfaceName",
                cmd.cidr,
                several.join(", ")
            )))
        }
    }
}

struct Network {
    base: u128,
    mask: u128,
    v4: bool,
}

impl Network {
    fn parse(text: &str) -> Result<Self, Fault> {
        let odd = || Fault::new(format!("cidr {text:?} is none: write it as 10.0.0.0/24"));
        let (ip, prefix) = text.split_once('/').ok_or_else(odd)?;
        let (ip, prefix): (IpAddr, u32) =
            (ip.parse().map_err(|_| odd())?, prefix.parse().map_err(|_| odd())?);
        let (bits, width) = number(ip);
        if prefix > width {
            return Err(odd());
        }
        let mask = (!0_u128).checked_shl(width - prefix).unwrap_or(0);
        Ok(Network { base: bits & mask, mask, v4: ip.is_ipv4() })
    }

    fn holds(&self, address: &Address) -> bool {
        let (bits, _) = number(address.ip);
        address.ip.is_ipv4() == self.v4 && !address.local && bits & self.mask == self.base
    }
}

fn number(ip: IpAddr) -> (u128, u32) {
    match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    }
}

/// The interface itself, or the bridge that it is a port of, which has its addresses.
fn is_on(link: &Link, interface: Option<&str>, links: &[Link]) -> bool {
    let Some(interface) = interface else { return true };
    let holds = |port: &Link| port.name == interface && port.master == Some(link.index);
    link.name == interface || (link.kind == Kind::Bridge && links.iter().any(holds))
}

fn told(ip: &Option<String>, interface: &Option<String>) -> String {
    let ip = ip.as_ref().map(|ip| format!(" and is {ip}")).unwrap_or_default();
    interface.as_ref().map(|on| format!("{ip} and is on {on}")).unwrap_or(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_own_addresses() {
        let at = |ip: &str| Address { ip: ip.parse().unwrap(), prefix: 24, local: false, dynamic: false };
        for (cidr, ip, held) in [
            ("10.1.0.0/16", "10.1.200.3", true),
            ("10.1.0.0/16", "10.2.0.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("10.0.0.7/32", "10.0.0.7", true),
            ("::/0", "10.0.0.7", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
        ] {
            assert_eq!(Network::parse(cidr).unwrap().holds(&at(ip)), held, "{cidr} {ip}");
        }
        assert!(Network::parse("10.0.0.0/33").is_err() && Network::parse("10.0.0.0").is_err());
    }
}
