//! A network's port: a pair of interfaces, one end on the bridge, the other in the namespace with the
//! server's address. Both ends carry the network's uuid as their alias.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use host::netlink::{Kind, Link, Netlink};
use host::netns::{self, Namespace};
use ipnet::Ipv4Net;
use wire::Fault;

use crate::dhcp::name::{Name, OUTER};
use crate::sys::offload;

/// VMs' taps are called so.
const VM: &str = "vnic";

/// Makes the namespace and the port in it, or completes what a crash left of them.
pub async fn ensure(name: &Name, server: Ipv4Net) -> Result<Namespace, Fault> {
    let host = Netlink::open()?;
    let bridge = bridge(&host, name).await?;
    let namespace = netns::create(&name.to_string()).await?;
    let inside = namespace.netlink().await?;
    let outer = pair(name, &host, &inside, &namespace).await?;
    host.enslave(&outer, &bridge).await?;
    host.set_up(&outer).await?;
    configure(name, server, &namespace, &inside).await?;
    Ok(namespace)
}

/// Takes the port away; the other end goes with it.
pub async fn remove(name: &Name) -> Result<(), Fault> {
    let host = Netlink::open()?;
    for end in [name.outer(), name.inner()] {
        if let Some(link) = host.find(&end).await? {
            check_mark(&link, name)?;
            host.delete(&link).await?;
        }
    }
    Ok(())
}

/// Leads what the server asks of other networks to `gateway`.
pub async fn route(namespace: &Namespace, gateway: Option<Ipv4Addr>) -> Result<(), Fault> {
    if let Some(gateway) = gateway {
        namespace.netlink().await?.set_default_route(gateway).await?;
    }
    Ok(())
}

/// The bridge's ports that lead to other machines: all that is neither a VM's tap nor one of ours.
pub async fn uplinks(name: &Name) -> Result<Vec<String>, Fault> {
    let host = Netlink::open()?;
    let bridge = bridge(&host, name).await?;
    let local =
        |link: &Link| link.kind == Kind::Tun || link.name.starts_with(VM) || link.name.starts_with(OUTER);
    let ports = host.links().await?.into_iter().filter(|link| link.master == Some(bridge.index));
    Ok(ports.filter(|link| !local(link)).map(|link| link.name).collect())
}

/// The ports' ends on this host's bridges, with their marks.
pub async fn all() -> Result<Vec<(String, Option<String>)>, Fault> {
    let links = Netlink::open()?.links().await?;
    let ours = links.into_iter().filter(|link| link.kind == Kind::Veth && link.name.starts_with(OUTER));
    Ok(ours.map(|link| (link.name, link.alias)).collect())
}

async fn bridge(host: &Netlink, name: &Name) -> Result<Link, Fault> {
    let found = host.find(name.bridge()).await?.filter(|link| link.kind == Kind::Bridge);
    let missing =
        || format!("bridge {:?} is not on this host: create the l2 network's bridge first", name.bridge());
    found.ok_or_else(|| Fault::new(missing()))
}

/// Both ends in their places. An outer end whose inner one is in neither (somebody deleted the namespace
/// while a process kept it) is made anew.
async fn pair(name: &Name, host: &Netlink, inside: &Netlink, namespace: &Namespace) -> Result<Link, Fault> {
    let placed = inside.find(&name.inner()).await?.is_some();
    if let Some(outer) = host.find(&name.outer()).await? {
        check_mark(&outer, name)?;
        if !placed && host.find(&name.inner()).await?.is_none() {
            host.delete(&outer).await?;
        }
    }
    if host.find(&name.outer()).await?.is_none() {
        host.add_veth(&name.outer(), &name.inner()).await?;
    }
    let outer = expect(host, &name.outer()).await?;
    host.set_alias(&outer, name.l3()).await?;
    if let Some(inner) = host.find(&name.inner()).await? {
        host.move_into(&inner, namespace.file().as_fd()).await?;
    }
    Ok(outer)
}

async fn configure(
    name: &Name,
    server: Ipv4Net,
    namespace: &Namespace,
    inside: &Netlink,
) -> Result<(), Fault> {
    let inner = expect(inside, &name.inner()).await?;
    inside.set_alias(&inner, name.l3()).await?;
    inside.set_up(&expect(inside, "lo").await?).await?;
    inside.set_up(&inner).await?;
    address(inside, &inner, server).await?;
    let interface = name.inner();
    namespace.within(move || settle(&interface)).await?;
    Ok(())
}

/// The server's address and no other IPv4 address.
async fn address(inside: &Netlink, inner: &Link, server: Ipv4Net) -> Result<(), Fault> {
    let wanted = (IpAddr::V4(server.addr()), server.prefix_len());
    for held in inside.addresses(inner).await?.into_iter().filter(|held| held.ip.is_ipv4()) {
        if (held.ip, held.prefix) != wanted {
            inside.delete_address(inner, held.ip, held.prefix).await?;
        }
    }
    inside.add_address(inner, wanted.0, wanted.1).await?;
    Ok(())
}

/// Checksums are complete when they leave (DHCP clients on raw sockets drop unfinished ones), and nothing
/// is forwarded through the namespace: it inherits that from the host.
fn settle(interface: &str) -> io::Result<()> {
    offload::finish_checksums(interface)?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0")
}

async fn expect(net: &Netlink, name: &str) -> Result<Link, Fault> {
    net.find(name).await?.ok_or_else(|| Fault::new(format!("interface {name:?} vanished while in use")))
}

/// An unmarked end is what a crash left between making and marking it.
fn check_mark(link: &Link, name: &Name) -> Result<(), Fault> {
    match link.alias.as_deref() {
        Some(other) if other != name.l3() => Err(Fault::new(format!(
            "interface {:?} belongs to {other:?}, not to l3 network {:?}: remove it by hand if nobody needs it",
            link.name,
            name.l3()
        ))),
        _ => Ok(()),
    }
}
