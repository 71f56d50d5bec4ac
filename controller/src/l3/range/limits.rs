//! What makes a range sound.

use std::net::Ipv4Addr;

use engine::{ErrorCode, Result, codes};
use ipnet::Ipv4Net;

/// A longer prefix leaves no room for a gateway and a guest.
const LONGEST_PREFIX: u8 = 30;

/// A checked range: start ≤ end within the network, the gateway in the network but not in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::l3) struct Limits {
    pub start: Ipv4Addr,
    pub end: Ipv4Addr,
    pub gateway: Ipv4Addr,
    /// Its address is the network's own.
    pub network: Ipv4Net,
}

impl Limits {
    /// The gateway is the network's first address unless another is named.
    pub(super) fn of_addresses(
        start: &str,
        end: &str,
        netmask: &str,
        gateway: Option<&str>,
    ) -> Result<Limits> {
        let (start, end) = (address("startIp", start)?, address("endIp", end)?);
        let mask = address("netmask", netmask)?;
        let network = Ipv4Net::with_netmask(start, mask)
            .map_err(|_| invalid(format!("\"netmask\" {mask} is not a netmask such as 255.255.255.0")))?
            .trunc();
        let gateway = match gateway {
            Some(text) => address("gateway", text)?,
            None => first(network),
        };
        Limits { start, end, gateway, network }.checked()
    }

    /// All addresses of the network but its gateway, which is the first or the last of them.
    pub(super) fn of_cidr(cidr: &str, gateway: Option<&str>) -> Result<Limits> {
        let network: Ipv4Net = cidr
            .parse()
            .map_err(|_| invalid(format!("\"networkCidr\" must be like 192.168.1.0/24, not \"{cidr}\"")))?;
        if network.trunc() != network {
            return Err(invalid(format!(
                "\"networkCidr\" {network} names a host: write {}",
                network.trunc()
            )));
        }
        check_network(network)?;
        let (first, last) = (first(network), last(network));
        let gateway = gateway.map_or(Ok(first), |text| address("gateway", text))?;
        let (start, end) = match gateway {
            gateway if gateway == first => (next(first, 1), last),
            gateway if gateway == last => (first, next(last, -1)),
            _ => {
                return Err(invalid(format!(
                    "\"gateway\" {gateway} must be {first} or {last} to leave one range: \
                     otherwise add the ranges by their addresses"
                )));
            }
        };
        Limits { start, end, gateway, network }.checked()
    }

    fn checked(self) -> Result<Limits> {
        let Limits { start, end, gateway, network } = self;
        check_network(network)?;
        if start > end {
            return Err(invalid(format!("\"startIp\" {start} lies behind \"endIp\" {end}")));
        }
        for (field, ip) in [("startIp", start), ("endIp", end), ("gateway", gateway)] {
            if !network.contains(&ip) {
                return Err(invalid(format!("\"{field}\" {ip} does not lie in the network {network}")));
            }
            if ip == network.network() || ip == network.broadcast() {
                return Err(invalid(format!(
                    "\"{field}\" {ip} is the network or broadcast address of {network}"
                )));
            }
        }
        if (start..=end).contains(&gateway) {
            return Err(invalid(format!("\"gateway\" {gateway} lies in the range {start} to {end}")));
        }
        Ok(self)
    }
}

fn check_network(network: Ipv4Net) -> Result<()> {
    if !(1..=LONGEST_PREFIX).contains(&network.prefix_len()) {
        return Err(invalid(format!("the network {network} has a prefix that is not 1 to {LONGEST_PREFIX}")));
    }
    let special = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];
    let special = special.map(|net| net.parse::<Ipv4Net>().expect("written properly"));
    match special.iter().find(|net| net.contains(&network) || network.contains(*net)) {
        None => Ok(()),
        Some(net) => Err(invalid(format!("the network {network} overlaps {net}, which no guest may use"))),
    }
}

fn first(network: Ipv4Net) -> Ipv4Addr {
    next(network.network(), 1)
}

fn last(network: Ipv4Net) -> Ipv4Addr {
    next(network.broadcast(), -1)
}

fn next(ip: Ipv4Addr, by: i32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(ip).saturating_add_signed(by))
}

fn address(field: &str, text: &str) -> Result<Ipv4Addr> {
    text.parse().map_err(|_| invalid(format!("\"{field}\" must be an IPv4 address, not \"{text}\"")))
}

fn invalid(details: String) -> ErrorCode {
    codes::INVALID_ARGUMENT.because(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(outcome: Result<Limits>) -> String {
        match outcome {
            Ok(l) => format!("{}-{} via {} in {}", l.start, l.end, l.gateway, l.network),
            Err(error) => error.details().to_owned(),
        }
    }

    #[test]
    fn a_range_of_addresses_is_sound_or_told_why_not() {
        for (start, end, mask, gateway, expected) in [
            (
                "10.0.0.10",
                "10.0.0.20",
                "255.255.255.0",
                None,
                "10.0.0.10-10.0.0.20 via 10.0.0.1 in 10.0.0.0/24",
            ),
            ("10.0.0.10", "10.0.0.10", "255.255.255.0", Some("10.0.0.254"), "via 10.0.0.254"),
            ("10.0.0.20", "10.0.0.10", "255.255.255.0", None, "lies behind"),
            ("10.0.0.10", "10.0.1.20", "255.255.255.0", None, "\"endIp\" 10.0.1.20 does not lie in"),
            (
                "10.0.0.10",
                "10.0.0.20",
                "255.255.255.0",
                Some("10.0.1.1"),
                "\"gateway\" 10.0.1.1 does not lie in",
            ),
            ("10.0.0.10", "10.0.0.20", "255.255.255.0", Some("10.0.0.15"), "lies in the range"),
            ("10.0.0.1", "10.0.0.20", "255.255.255.0", None, "\"gateway\" 10.0.0.1 lies in the range"),
            ("10.0.0.0", "10.0.0.20", "255.255.255.0", Some("10.0.0.30"), "network or broadcast"),
            ("10.0.0.10", "10.0.0.255", "255.255.255.0", None, "network or broadcast"),
            ("10.0.0.10", "10.0.0.20", "255.255.255.0", Some("10.0.0.255"), "network or broadcast"),
            ("10.0.0.10", "10.0.0.20", "255.0.255.0", None, "not a netmask"),
            ("10.0.0.10", "10.0.0.20", "24", None, "\"netmask\" must be an IPv4 address"),
            ("10.0.0.10", "10.0.0.20", "255.255.255.254", None, "prefix that is not 1 to 30"),
            ("10.0.0.10", "10.0.0.20", "0.0.0.0", None, "prefix that is not 1 to 30"),
            ("127.0.0.10", "127.0.0.20", "255.255.255.0", None, "which no guest may use"),
            ("240.0.0.10", "240.0.0.20", "255.255.255.0", None, "which no guest may use"),
            ("10.0.0", "10.0.0.20", "255.255.255.0", None, "\"startIp\" must be an IPv4 address"),
            ("fd00::1", "10.0.0.20", "255.255.255.0", None, "\"startIp\" must be an IPv4 address"),
        ] {
            let told = told(Limits::of_addresses(start, end, mask, gateway));
            assert!(told.contains(expected), "{start}-{end}/{mask} via {gateway:?}: {told}");
        }
    }

    #[test]
    fn a_range_by_cidr_is_the_whole_network_without_its_gateway() {
        for (cidr, gateway, expected) in [
            ("10.0.0.0/24", None, "10.0.0.2-10.0.0.254 via 10.0.0.1 in 10.0.0.0/24"),
            ("10.0.0.0/24", Some("10.0.0.254"), "10.0.0.1-10.0.0.253 via 10.0.0.254"),
            ("10.0.0.0/30", None, "10.0.0.2-10.0.0.2 via 10.0.0.1"),
            ("10.0.0.0/24", Some("10.0.0.9"), "must be 10.0.0.1 or 10.0.0.254"),
            ("10.0.0.5/24", None, "write 10.0.0.0/24"),
            ("10.0.0.0/31", None, "prefix"),
            ("10.0.0.0/33", None, "must be like"),
            ("0.0.0.0/1", None, "which no guest may use"),
            ("10.0.0.0", None, "must be like"),
        ] {
            let told = told(Limits::of_cidr(cidr, gateway));
            assert!(told.contains(expected), "{cidr} via {gateway:?}: {told}");
        }
    }
}
