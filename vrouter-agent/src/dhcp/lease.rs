//! One NIC's fixed address, checked: nothing here can break out of a line of dnsmasq's files.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use wire::Fault;
use wire::calls::dhcp::{HostRoute, Lease as Wanted};

/// Guests are told no smaller one than IPv4 needs.
const SMALLEST_MTU: u32 = 68;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Lower case, with colons.
    pub mac: String,
    pub ip: Ipv4Addr,
    /// The network's gateway, whether or not this NIC is told of it.
    pub gateway: Option<Ipv4Addr>,
    /// Whether the guest's default route, names and domain come from this network.
    pub is_default: bool,
    /// Whether it is told of the gateway although another network is its default.
    pub is_extra_gateway: bool,
    pub hostname: Option<String>,
    pub domain: Option<String>,
    pub dns: Vec<IpAddr>,
    pub mtu: Option<u32>,
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub to: Ipv4Net,
    pub via: Ipv4Addr,
}

impl Lease {
    /// Checks what is wanted against the network it is wanted in.
    pub fn check(wanted: &Wanted, network: Ipv4Net) -> Result<Self, Fault> {
        let of = |what: &str| format!("{what} of the lease for {:?}", wanted.mac);
        if wanted.ip_version.is_some_and(|version| version != 4) {
            return Err(Fault::new(format!("{} is not served: use 4", of("ip version"))));
        }
        let mac = mac(&wanted.mac)?;
        let ip: Ipv4Addr = parse(&wanted.ip, &of("address"))?;
        if !network.contains(&ip) || ip == network.addr() {
            let network = network.trunc();
            return Err(Fault::new(format!("{} is {ip}: not free in network {network}", of("address"))));
        }
        Ok(Lease {
            mac,
            ip,
            gateway: given(&wanted.gateway).map(|g| parse(g, &of("gateway"))).transpose()?,
            is_default: wanted.is_default_l3_network,
            is_extra_gateway: wanted.vm_multi_gateway,
            hostname: given(&wanted.hostname).map(|n| dns_name(n, &of("hostname"))).transpose()?,
            domain: given(&wanted.dns_domain).map(|n| dns_name(n, &of("domain"))).transpose()?,
            dns: wanted.dns.iter().map(|d| parse(d, &of("dns server"))).collect::<Result<_, _>>()?,
            mtu: wanted.mtu.filter(|&mtu| mtu != 0).map(|mtu| check_mtu(mtu, &of("mtu"))).transpose()?,
            routes: wanted.host_routes.iter().map(|r| route(r, &of("route"))).collect::<Result<_, _>>()?,
        })
    }

    /// The gateway, when this NIC is told of it.
    pub fn told_gateway(&self) -> Option<Ipv4Addr> {
        self.gateway.filter(|_| self.is_default || self.is_extra_gateway)
    }

    /// What it is called inside DHCP: the first label of its name.
    pub fn label(&self) -> Option<&str> {
        self.hostname.as_deref().and_then(|name| name.split('.').next())
    }

    /// All names it answers to, the fullest first.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let (Some(label), Some(domain)) = (self.label(), &self.domain) {
            names.push(format!("{label}.{domain}"));
        }
        names.extend(self.hostname.clone());
        names.extend(self.label().map(str::to_owned));
        let mut seen = Vec::new();
        names.retain(|name| {
            !seen.contains(name) && {
                seen.push(name.clone());
                true
            }
        });
        names
    }
}

/// A MAC address in lower case; refuses what is none, or is a group's.
pub fn mac(text: &str) -> Result<String, Fault> {
    let octet = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split(':').collect();
    let sound = parts.len() == 6 && parts.iter().all(|part| octet(part));
    let group = || u8::from_str_radix(parts[0], 16).is_ok_and(|first| first & 1 == 1);
    if !sound || group() {
        return Err(Fault::new(format!("{text:?} is not the mac address of one interface")));
    }
    Ok(text.to_ascii_lowercase())
}

pub fn parse<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault::new(format!("{what} is malformed: {text:?}")))
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn check_mtu(mtu: u32, what: &str) -> Result<u32, Fault> {
    let sound = (SMALLEST_MTU..=65535).contains(&mtu);
    sound.then_some(mtu).ok_or_else(|| Fault::new(format!("{what} is out of range: {mtu}")))
}

fn route(wanted: &HostRoute, what: &str) -> Result<Route, Fault> {
    let to: Ipv4Net = parse(&wanted.prefix, what)?;
    Ok(Route { to: to.trunc(), via: parse(&wanted.nexthop, what)? })
}

/// Letters, digits and hyphens between dots, in lower case.
fn dns_name(text: &str, what: &str) -> Result<String, Fault> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let sound = text.len() <= 253 && text.split('.').all(label);
    let refused = || Fault::new(format!("{what} is not a dns name: {text:?}"));
    sound.then(|| text.to_ascii_lowercase()).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Ipv4Net {
        "10.4.0.1/16".parse().unwrap()
    }

    fn wanted() -> Wanted {
        Wanted { mac: "52:54:00:AA:00:01".into(), ip: "10.4.0.9".into(), ..Wanted::default() }
    }

    fn error(change: impl FnOnce(&mut Wanted)) -> String {
        let mut wanted = wanted();
        change(&mut wanted);
        Lease::check(&wanted, network()).unwrap_err().error
    }

    #[test]
    fn a_lease_is_normalised() {
        let lease = Lease::check(&wanted(), network()).unwrap();
        assert_eq!(lease.mac, "52:54:00:aa:00:01");
        assert!(lease.names().is_empty());
        let named =
            Wanted { hostname: Some("Web.Lab".into()), dns_domain: Some("example.org".into()), ..wanted() };
        let names = Lease::check(&named, network()).unwrap().names();
        assert_eq!(names, ["web.example.org", "web.lab", "web"]);
    }

    #[test]
    fn what_would_break_out_of_its_line_is_refused() {
        assert!(error(|w| w.mac = "52:54:00:aa:00:01,10.0.0.1".into()).contains("mac address"));
        assert!(error(|w| w.mac = "ff:ff:ff:ff:ff:ff".into()).contains("mac address"));
        assert!(error(|w| w.hostname = Some("a\ndhcp-script=/x".into())).contains("dns name"));
        assert!(error(|w| w.dns_domain = Some("a,b".into())).contains("dns name"));
        assert!(error(|w| w.dns = vec!["1.1.1.1#53".into()]).contains("dns server"));
        assert!(error(|w| w.gateway = Some("x".into())).contains("gateway"));
        assert!(error(|w| w.mtu = Some(7)).contains("mtu"));
        let route = HostRoute { prefix: "10.0.0.0/8,x".into(), nexthop: "10.4.0.1".into() };
        assert!(error(|w| w.host_routes = vec![route]).contains("route"));
    }

    #[test]
    fn an_address_outside_its_network_or_of_the_server_is_refused() {
        assert!(error(|w| w.ip = "10.5.0.9".into()).contains("10.4.0.0/16"));
        assert!(error(|w| w.ip = "10.4.0.1".into()).contains("not free"));
        assert!(error(|w| w.ip_version = Some(6)).contains("ip version"));
    }

    #[test]
    fn a_gateway_is_told_only_on_the_default_network() {
        let mut with_gateway = Wanted { gateway: Some("10.4.0.254".into()), ..wanted() };
        assert_eq!(Lease::check(&with_gateway, network()).unwrap().told_gateway(), None);
        with_gateway.vm_multi_gateway = true;
        assert!(Lease::check(&with_gateway, network()).unwrap().told_gateway().is_some());
        with_gateway = Wanted { vm_multi_gateway: false, is_default_l3_network: true, ..with_gateway };
        assert!(Lease::check(&with_gateway, network()).unwrap().told_gateway().is_some());
    }
}
