//! Which addresses a URL import may reach: public ones, and those that the configuration names.
//!
//! The judgement is made on the address that is then connected to, after name resolution, so that a name
//! that resolves differently the second time gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Name, Resolve, Resolving};
use url::{Host, Url};

/// The judge; also the resolver of the client that it guards.
#[derive(Clone, Debug)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
}

/// A host that was refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0} is not a public address")]
pub struct Forbidden(pub String);

impl Guard {
    pub fn new(allowed: &[IpNet]) -> Self {
        Guard { allowed: allowed.into() }
    }

    pub fn permits(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        public(ip) || self.allowed.iter().any(|net| net.contains(&ip))
    }

    /// Judges a host that is written as an address; names are judged when they are resolved.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::from(ip),
            Some(Host::Ipv6(ip)) => IpAddr::from(ip),
            _ => return Ok(()),
        };
        if self.permits(ip) { Ok(()) } else { Err(Forbidden(ip.to_string())) }
    }

    fn choose(&self, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Forbidden> {
        let good: Vec<_> = found.iter().copied().filter(|found| self.permits(found.ip())).collect();
        match (good.is_empty(), found.first()) {
            (true, Some(first)) => Err(Forbidden(format!("{name} ({})", first.ip()))),
            _ => Ok(good),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let good = guard.choose(name.as_str(), found)?;
            Ok(Box::new(good.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

impl Forbidden {
    /// The refusal within what the client made of it.
    pub fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Forbidden> {
        std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
    }
}

/// Neither of this machine, nor of its networks, nor of a cloud's inside, nor reserved.
fn public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => public_v4(ip),
        IpAddr::V6(ip) => public_v6(ip),
    }
}

/// IANA's registry of special purposes, and 100.64/10 where some clouds keep their metadata.
fn public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || matches!((a, b, c), (0 | 224.., ..) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99))
        || matches!((a, b), (198, 18 | 19));
    !special
}

/// Global unicast only; an address that carries an IPv4 address is as public as that one.
fn public_v6(ip: Ipv6Addr) -> bool {
    let carried = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => carried(high, low),
        [0x2002, high, low, ..] => carried(high, low),
        // 2001::/23: protocols (Teredo, ORCHID, benchmarks); two prefixes of documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "public addresses and {:?}", self.allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        let allowed: Vec<IpNet> = allowed.iter().map(|net| net.parse().unwrap()).collect();
        Guard::new(&allowed)
    }

    #[test]
    fn what_is_not_public_is_refused() {
        for ip in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "203.0.113.7",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
        ] {
            assert!(!guard(&[]).permits(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn what_is_public_is_permitted() {
        for ip in
            ["1.1.1.1", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::"]
        {
            assert!(guard(&[]).permits(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_network_that_is_allowed_is_permitted_in_every_spelling() {
        let guard = guard(&["127.0.0.0/8", "fd00::/8"]);
        for ip in ["127.0.0.1", "::ffff:127.1.2.3", "fd00::1"] {
            assert!(guard.permits(ip.parse().unwrap()), "{ip}");
        }
        assert!(!guard.permits("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_address_in_a_url_is_judged_however_it_is_written() {
        for host in
            ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1"]
        {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert!(guard(&[]).check(&url).is_err(), "{host}");
        }
        assert!(guard(&[]).check(&Url::parse("http://9.9.9.9/").unwrap()).is_ok());
    }

    #[test]
    fn of_a_names_addresses_only_the_good_are_used() {
        let found = |ips: &[&str]| ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
        let chosen = guard(&[]).choose("x", found(&["10.0.0.1", "1.1.1.1"])).unwrap();
        assert_eq!(chosen, [SocketAddr::from(([1, 1, 1, 1], 0))]);
        assert!(guard(&[]).choose("x", found(&["10.0.0.1", "::1"])).is_err());
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_when_it_is_resolved() {
        let refused = guard(&[]).resolve("localhost".parse().unwrap()).await.err().expect("refused");
        assert!(Forbidden::within(&*refused).is_some());
        let mut found =
            guard(&["127.0.0.0/8", "::1/128"]).resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(found.next().is_some());
    }
}
