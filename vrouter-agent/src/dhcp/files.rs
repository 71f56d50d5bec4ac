//! What dnsmasq reads. `dnsmasq.conf` it reads when it starts; the directories of lines beside it as well,
//! and later each file that is added to them. So a line that is new is dropped in as a file, and a line
//! that must go means a restart. Never SIGHUP: dnsmasq up to 2.90 then frees the tags of `set:` wrongly
//! and dies.
//!
//! Nobody but the MAC addresses in `hosts.d` is answered, and each always with its own address. The lease
//! file is dnsmasq's memory of who took what; it decides nothing, and every start begins with none.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::lease::Lease;
use super::network::{Network, remove_if_there, replace};

pub const CONF: &str = "dnsmasq.conf";
pub const PID: &str = "pid";
const LEASES: &str = "leases";
/// A guest asks again at half of it.
const LEASE_TIME: &str = "24h";
/// dnsmasq reads its files with its own rights.
const READABLE: u32 = 0o644;

/// Everything that dnsmasq is told, as lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Files {
    conf: String,
    /// Which MAC address gets which address.
    hosts: BTreeSet<String>,
    /// What those with a tag are told besides.
    options: BTreeSet<String>,
    /// Addresses and their names.
    names: BTreeSet<String>,
}

/// How a running server gets from what it has read to what it should serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    Add,
    Restart,
}

impl Files {
    /// What serves `network`. dnsmasq runs as `user` and sees its directory at `seen_at`.
    pub fn of(network: &Network, user: &str, seen_at: &Path) -> Self {
        let server = network.server.addr();
        let mut files = Files {
            conf: conf(network, user, seen_at),
            hosts: BTreeSet::new(),
            options: BTreeSet::new(),
            names: BTreeSet::new(),
        };
        for lease in network.leases.values() {
            let options = options(lease, server);
            let tag = tag(&options);
            let label = lease.label().map(|label| format!(",{label}")).unwrap_or_default();
            files.hosts.insert(format!("{},id:*,set:{tag},{}{label},{LEASE_TIME}", lease.mac, lease.ip));
            files.options.extend(options.into_iter().map(|option| format!("tag:{tag},option:{option}")));
            if lease.hostname.is_some() {
                files.names.insert(format!("{} {}", lease.ip, lease.names().join(" ")));
            }
        }
        files
    }

    /// Compares with what is in `dir`, which is what the server there has read.
    pub fn step(&self, dir: &Path) -> io::Result<Step> {
        let mut step = Step::Nothing;
        if fs::read(dir.join(CONF)).ok().as_deref() != Some(self.conf.as_bytes()) {
            return Ok(Step::Restart);
        }
        for (name, lines) in self.lines() {
            let there = read(&dir.join(name))?;
            if !there.is_subset(lines) {
                return Ok(Step::Restart);
            }
            if there.len() < lines.len() {
                step = Step::Add;
            }
        }
        Ok(step)
    }

    /// Drops in what is missing. Options come before the hosts that are told them.
    pub fn add(&self, dir: &Path) -> io::Result<()> {
        for (name, lines) in self.lines() {
            let there = read(&dir.join(name))?;
            let missing: BTreeSet<_> = lines.difference(&there).cloned().collect();
            if !missing.is_empty() {
                drop_in(&dir.join(name), &missing)?;
            }
        }
        Ok(())
    }

    /// Writes everything anew; only while no server reads it. The configuration comes last: it is there
    /// only when all else is.
    pub fn rewrite(&self, dir: &Path) -> io::Result<()> {
        for stale in [CONF, LEASES, PID] {
            remove_if_there(fs::remove_file(dir.join(stale)))?;
        }
        for (name, lines) in self.lines() {
            remove_if_there(fs::remove_dir_all(dir.join(name)))?;
            fs::create_dir(dir.join(name))?;
            drop_in(&dir.join(name), lines)?;
        }
        replace(&dir.join(CONF), self.conf.as_bytes(), READABLE)
    }

    fn lines(&self) -> [(&'static str, &BTreeSet<String>); 3] {
        [("options.d", &self.options), ("names.d", &self.names), ("hosts.d", &self.hosts)]
    }
}

fn read(dir: &Path) -> io::Result<BTreeSet<String>> {
    let mut lines = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        lines.extend(fs::read_to_string(entry?.path())?.lines().map(str::to_owned));
    }
    Ok(lines)
}

/// dnsmasq sees the file when it is whole: it is moved in. It ignores names with dots and the like.
fn drop_in(dir: &Path, lines: &BTreeSet<String>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let outside = dir.parent().ok_or_else(|| io::Error::other("a directory without a parent"))?;
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let file = tempfile::Builder::new().prefix("lines-").tempfile_in(outside)?;
    fs::write(file.path(), text)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(READABLE))?;
    let target = dir.join(file.path().file_name().unwrap_or_default());
    file.persist(target)?;
    Ok(())
}

fn conf(network: &Network, user: &str, seen_at: &Path) -> String {
    let dir = seen_at.display();
    let (inner, net) = (network.name.inner(), network.server.network());
    let (netmask, servers) = (network.server.netmask(), servers(network));
    format!(
        "user={user}\n\
         pid-file={dir}/{PID}\n\
         interface={inner}\n\
         bind-interfaces\n\
         except-interface=lo\n\
         no-hosts\n\
         no-resolv\n\
         no-poll\n\
         domain-needed\n\
         quiet-dhcp\n\
         no-ping\n\
         dhcp-authoritative\n\
         dhcp-ignore=tag:!known\n\
         dhcp-ignore-names\n\
         dhcp-lease-max=1000000\n\
         dhcp-range={net},static,{netmask},{LEASE_TIME}\n\
         dhcp-option=option:router\n\
         dhcp-option=option:dns-server\n\
         dhcp-leasefile={dir}/{LEASES}\n\
         dhcp-hostsdir={dir}/hosts.d\n\
         dhcp-optsdir={dir}/options.d\n\
         hostsdir={dir}/names.d\n\
         {servers}"
    )
}

/// NICs that are told the same share a tag: thousands of them differ in a handful of ways.
fn tag(options: &[String]) -> String {
    let mut hasher = DefaultHasher::new();
    options.hash(&mut hasher);
    format!("t{:016x}", hasher.finish())
}

/// What one NIC is told besides its address.
fn options(lease: &Lease, server: Ipv4Addr) -> Vec<String> {
    let mut options = Vec::new();
    if let Some(gateway) = lease.told_gateway() {
        options.push(format!("router,{gateway}"));
    }
    if lease.is_default {
        options.push(format!("dns-server,{}", resolvers(lease, server)));
        options.extend(lease.domain.as_ref().map(|domain| format!("domain-name,{domain}")));
    }
    options.extend(lease.mtu.map(|mtu| format!("mtu,{mtu}")));
    if !lease.routes.is_empty() {
        options.push(format!("classless-static-route,{}", routes(lease)));
    }
    options
}

/// First ours, which knows the names in the network, then those that it asks itself.
fn resolvers(lease: &Lease, server: Ipv4Addr) -> String {
    let others = lease.dns.iter().filter(|dns| dns.is_ipv4() && **dns != IpAddr::V4(server));
    let all = std::iter::once(server.to_string()).chain(others.map(ToString::to_string));
    all.collect::<Vec<_>>().join(",")
}

/// A client that gets these ignores the router option (RFC 3442), so the default route is among them.
fn routes(lease: &Lease) -> String {
    let mut routes: Vec<_> = lease.routes.iter().map(|route| format!("{},{}", route.to, route.via)).collect();
    let has_default = lease.routes.iter().any(|route| route.to.prefix_len() == 0);
    routes
        .extend(lease.told_gateway().filter(|_| !has_default).map(|gateway| format!("0.0.0.0/0,{gateway}")));
    routes.join(",")
}

/// Whom other names are asked of. A server that is ourselves would ask in a circle.
fn servers(network: &Network) -> String {
    let all: BTreeSet<_> = network.leases.values().flat_map(|lease| &lease.dns).collect();
    let others = all.into_iter().filter(|dns| **dns != IpAddr::V4(network.server.addr()));
    others.fold(String::new(), |text, dns| text + &format!("server={dns}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::name::Name;
    use std::collections::BTreeMap;
    use wire::calls::dhcp::{HostRoute, Lease as Wanted};

    fn network(wanted: &[Wanted]) -> Network {
        let name = Name::parse("br0_0189aabbccdd7eeeafff112233445566").unwrap();
        let server = "10.4.0.1/24".parse().unwrap();
        let mut network = Network { name, server, leases: BTreeMap::new() };
        wanted.iter().for_each(|wanted| network.serve(Lease::check(wanted, server).unwrap()));
        network
    }

    fn wanted(n: u8) -> Wanted {
        Wanted { mac: format!("52:54:00:00:00:{n:02x}"), ip: format!("10.4.0.{n}"), ..Wanted::default() }
    }

    fn full() -> Wanted {
        Wanted {
            hostname: Some("web".into()),
            is_default_l3_network: true,
            gateway: Some("10.4.0.254".into()),
            dns_domain: Some("lab.internal".into()),
            dns: vec!["10.4.0.1".into(), "10.4.0.53".into(), "fd00::53".into()],
            mtu: Some(1450),
            host_routes: vec![HostRoute { prefix: "192.0.2.0/24".into(), nexthop: "10.4.0.7".into() }],
            ..wanted(9)
        }
    }

    fn files(wanted: &[Wanted]) -> Files {
        Files::of(&network(wanted), "dnsmasq", Path::new("/x"))
    }

    #[test]
    fn a_nic_is_told_everything_that_it_was_given() {
        let files = files(&[full()]);
        let host = files.hosts.first().unwrap();
        let tag = host.split(&[',', ':']).nth(9).unwrap();
        assert_eq!(*host, format!("52:54:00:00:00:09,id:*,set:{tag},10.4.0.9,web,24h"));
        let told: Vec<_> = files.options.iter().map(|line| line.split_once("option:").unwrap().1).collect();
        assert_eq!(
            told,
            [
                "classless-static-route,192.0.2.0/24,10.4.0.7,0.0.0.0/0,10.4.0.254",
                "dns-server,10.4.0.1,10.4.0.53",
                "domain-name,lab.internal",
                "mtu,1450",
                "router,10.4.0.254",
            ]
        );
        assert!(files.options.iter().all(|line| line.starts_with(&format!("tag:{tag},"))));
        assert_eq!(files.names.first().unwrap(), "10.4.0.9 web.lab.internal web");
        assert!(files.conf.ends_with("server=10.4.0.53\nserver=fd00::53\n"));
    }

    #[test]
    fn a_nic_on_a_second_network_gets_neither_gateway_nor_names() {
        let second = Wanted { is_default_l3_network: false, mtu: None, host_routes: vec![], ..full() };
        assert!(files(&[second]).options.is_empty());
    }

    #[test]
    fn nics_that_are_told_the_same_share_a_tag() {
        let same = Wanted { mac: wanted(8).mac, ip: wanted(8).ip, hostname: None, ..full() };
        assert_eq!(files(&[full(), same, wanted(10)]).options, files(&[full()]).options);
    }

    #[test]
    fn what_is_new_is_added_and_what_is_gone_needs_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let step = |wanted: &[Wanted]| files(wanted).step(dir.path()).unwrap();
        assert_eq!(step(&[wanted(8)]), Step::Restart);
        files(&[wanted(8)]).rewrite(dir.path()).unwrap();
        assert_eq!(step(&[wanted(8)]), Step::Nothing);
        let more = [wanted(8), wanted(9), wanted(10)];
        for count in 2..=3 {
            assert_eq!(step(&more[..count]), Step::Add);
            files(&more[..count]).add(dir.path()).unwrap();
            assert_eq!(step(&more[..count]), Step::Nothing);
        }
        assert_eq!(step(&more[1..]), Step::Restart);
        assert_eq!(step(&[wanted(8), wanted(9), full()]), Step::Restart, "another upstream server");
        files(&more[1..]).rewrite(dir.path()).unwrap();
        assert_eq!(step(&more[1..]), Step::Nothing);
    }

    #[test]
    fn the_configuration_is_for_its_network_alone() {
        let conf = files(&[]).conf;
        assert!(conf.contains("interface=dhi112233445566\n"));
        assert!(conf.contains("dhcp-range=10.4.0.0,static,255.255.255.0,24h\n"));
        assert!(conf.contains("dhcp-hostsdir=/x/hosts.d\n"));
    }
}
