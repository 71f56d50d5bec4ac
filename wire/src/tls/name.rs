//! Names of machines and controllers, and the addresses in them.
//!
//! The first label is the address itself (`10-0-0-1`; for IPv6 all eight groups in full), so resolving asks
//! nobody and cannot be lied to; what follows is what the peer's certificate must prove.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::MachineId;

const MACHINES: &str = ".machine.cumulet";
const CONTROLLERS: &str = ".controller.cumulet";

/// The host name of a machine at `address`.
pub fn of_machine(machine: MachineId, address: IpAddr) -> String {
    format!("{}.{machine}{MACHINES}", label(address))
}

/// The host name of a controller at `address`.
pub fn of_controller(address: IpAddr) -> String {
    format!("{}{CONTROLLERS}", label(address))
}

/// The names that a machine's certificate proves.
pub(super) fn proven_by_machine(machine: MachineId) -> [String; 2] {
    [format!("{machine}{MACHINES}"), format!("*.{machine}{MACHINES}")]
}

/// The names that a controller's certificate proves.
pub(super) fn proven_by_controller() -> [String; 2] {
    [CONTROLLERS[1..].to_owned(), format!("*{CONTROLLERS}")]
}

/// Whose name that is.
pub fn machine(host: &str) -> Option<MachineId> {
    let (_, machine) = host.strip_suffix(MACHINES)?.split_once('.')?;
    machine.parse().ok()
}

/// The address in a name of ours.
pub fn address(host: &str) -> Option<IpAddr> {
    let label = match host.strip_suffix(CONTROLLERS) {
        Some(label) => label,
        None => host.strip_suffix(MACHINES)?.split_once('.')?.0,
    };
    let groups = label.bytes().filter(|b| *b == b'-').count() + 1;
    match groups {
        4 => label.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::from),
        8 => label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => None,
    }
}

/// A controller's URL that names its address, as one that names the controller.
///
/// # Errors
/// When it is no https URL, or its host is neither an address nor a name of ours.
pub fn to_controller(url: &str) -> Result<Url, String> {
    let bad = |why: &str| format!("controller {url:?} {why}: use one as https://10.0.0.1:8081");
    let mut url = Url::parse(url).map_err(|error| bad(&format!("is no URL ({error})")))?;
    if url.scheme() != "https" {
        return Err(bad("is not https"));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    if address(&host).is_none() {
        let address: IpAddr = host.parse().map_err(|_| bad("does not name an IP address"))?;
        url.set_host(Some(&of_controller(address))).map_err(|_| bad("cannot be used"))?;
    }
    Ok(url)
}

fn label(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:04x}")).join("-"),
    }
}

/// Reads addresses out of our names and asks the system for all others.
#[derive(Debug)]
pub struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move { Ok(addresses(&host).await?) })
    }
}

async fn addresses(host: &str) -> io::Result<Addrs> {
    if let Some(address) = address(host) {
        return Ok(Box::new(std::iter::once(SocketAddr::new(address, 0))));
    }
    let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
    Ok(Box::new(found.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_carries_machine_and_address() {
        let one = MachineId::random();
        for text in ["10.0.0.1", "::1", "fd00::a:b", "255.255.255.255", "::"] {
            let ip: IpAddr = text.parse().unwrap();
            let name = of_machine(one, ip);
            assert_eq!((machine(&name), address(&name)), (Some(one), Some(ip)), "{name}");
            assert_eq!(address(&of_controller(ip)), Some(ip));
            let url = Url::parse(&format!("https://{name}:7070/a")).unwrap();
            assert_eq!(url.host_str(), Some(&*name), "no URL parser changes it");
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        for host in [
            "10-0-0-1.example.org",
            "x.machine.cumulet",
            "10-0-0.controller.cumulet",
            "a-b-c-d.controller.cumulet",
            "10.0.0.1",
        ] {
            assert_eq!((machine(host), address(host)), (None, None), "{host}");
        }
        let two = format!("10-0-0-1.evil.{}.machine.cumulet", MachineId::random());
        assert_eq!(machine(&two), None);
    }

    #[test]
    fn a_controller_is_named_by_its_address() {
        let url = to_controller("https://10.0.0.9:8081").unwrap();
        assert_eq!(url.as_str(), "https://10-0-0-9.controller.cumulet:8081/");
        assert_eq!(to_controller(url.as_str()).unwrap(), url);
        let six = to_controller("https://[::1]:1/x").unwrap();
        assert_eq!(address(six.host_str().unwrap()), Some("::1".parse().unwrap()));
        for bad in ["http://10.0.0.9:8081", "10.0.0.9", "https://example.org:8081"] {
            assert!(to_controller(bad).is_err(), "{bad}");
        }
    }
}
