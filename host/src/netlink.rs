//! Links, addresses and routes of one network namespace, by netlink.
//!
//! A [`Netlink`] belongs to the namespace in which it was opened, whatever its threads do later. Names are
//! checked here ([`check_name`]), so that a long one is refused and never cut. What is made with a mark (the
//! interface alias) gets it before it gets its name: no crash leaves it unmarked under a name in use.
//!
//! What is asked for may be there already: setting what is set and deleting what is gone succeed, except
//! where a function says otherwise.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{
    BridgeStpState, InfoBridge, InfoData, InfoKind, InfoVlan, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

mod fdb;
mod tagged;

pub use fdb::FLOOD;
pub use tagged::Tunnel;

/// A conversation with the kernel about one network namespace; cheap to clone.
#[derive(Clone)]
pub struct Netlink {
    handle: Handle,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub kind: Kind,
    /// Where Cumulet's mark stands.
    pub alias: Option<String>,
    pub mtu: u32,
    pub mac: Vec<u8>,
    /// The index of the bridge that it is a port of.
    pub master: Option<u32>,
    /// The index of the interface that it lies on (VLAN, macvlan).
    pub parent: Option<u32>,
    pub up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bridge,
    /// A tap or tun device.
    Tun,
    Veth,
    Bond,
    Vlan {
        id: u16,
    },
    Vxlan {
        vni: u32,
        local: Option<IpAddr>,
        port: u16,
    },
    /// A physical interface, or a kind that nothing here cares for.
    Other,
}

/// An address as one interface has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub prefix: u8,
    /// Of the kernel's own making (IPv6 link-local) or good on this machine only.
    pub local: bool,
    /// Learnt (DHCP, SLAAC) rather than configured.
    pub dynamic: bool,
}

/// A route through one interface that somebody configured; the kernel's own are not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route(RouteMessage);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("interface name {0:?} is not usable: it must have 1 to 15 characters, no blank, no slash")]
    Name(String),
    #[error("cannot open a netlink socket: {0}")]
    Open(#[source] io::Error),
    #[error("cannot {doing}: {source}")]
    Kernel { doing: String, source: io::Error },
}

type Result<T> = std::result::Result<T, Error>;

/// What the kernel takes for an interface's name (`IFNAMSIZ`), less what confuses people and programs.
pub fn check_name(name: &str) -> Result<()> {
    let sound = (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'));
    if sound { Ok(()) } else { Err(Error::Name(name.to_owned())) }
}

impl Netlink {
    /// In the namespace of the calling thread.
    pub fn open() -> Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Open)?;
        tokio::spawn(connection);
        Ok(Netlink { handle })
    }

    /// In the namespace that `enter` brings a fresh thread into (`setns`, `unshare`); no other thread moves.
    pub async fn open_within(enter: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _runtime = runtime.enter();
            let _ = tell.send(enter().map_err(Error::Open).and_then(|()| Netlink::open()));
        });
        told.await.unwrap_or_else(|_| Err(Error::Open(io::Error::other("its thread died"))))
    }

    pub async fn find(&self, name: &str) -> Result<Option<Link>> {
        check_name(name)?;
        let mut found = self.handle.link().get().match_name(name).execute();
        match found.try_next().await {
            Ok(message) => Ok(message.map(Link::from)),
            Err(error) if errno(&error) == Some(libc_errno::ENODEV) => Ok(None),
            Err(error) => Err(failed(format!("look for interface {name}"), error)),
        }
    }

    pub async fn links(&self) -> Result<Vec<Link>> {
        let messages = self.handle.link().get().execute().try_collect::<Vec<_>>().await;
        let messages = messages.map_err(|e| failed("list the interfaces", e))?;
        Ok(messages.into_iter().map(Link::from).collect())
    }

    /// Makes a bridge that is down, without spanning tree and forwarding delay, marked with `alias`.
    /// Fails when an interface of that name exists.
    pub async fn add_bridge(&self, name: &str, alias: &str) -> Result<Link> {
        let bridge = |unnamed: &str| {
            LinkMessageBuilder::<LinkBridge>::new(unnamed)
                .append_info_data(InfoBridge::StpState(BridgeStpState::Disabled))
                .append_info_data(InfoBridge::ForwardDelay(0))
                .build()
        };
        self.add_marked("bridge", name, alias, bridge).await
    }

    /// Makes a pair of connected interfaces, both down. Fails when either exists.
    pub async fn add_veth(&self, name: &str, peer: &str) -> Result<()> {
        check_name(name)?;
        check_name(peer)?;
        let added = self.handle.link().add(LinkVeth::new(name, peer).build()).execute().await;
        added.map_err(|e| failed(format!("add the pair {name}, {peer}"), e))
    }

    pub async fn delete(&self, link: &Link) -> Result<()> {
        let deleted = self.handle.link().del(link.index).execute().await;
        unless(libc_errno::ENODEV, deleted, || format!("delete interface {}", link.name))
    }

    pub async fn set_up(&self, link: &Link) -> Result<()> {
        self.set(link, "bring up", LinkMessageBuilder::up).await
    }

    pub async fn set_down(&self, link: &Link) -> Result<()> {
        self.set(link, "bring down", LinkMessageBuilder::down).await
    }

    pub async fn set_alias(&self, link: &Link, alias: &str) -> Result<()> {
        self.set(link, "mark", |set| set.alias(alias)).await
    }

    pub async fn set_mtu(&self, link: &Link, mtu: u32) -> Result<()> {
        self.set(link, "set the mtu of", |set| set.mtu(mtu)).await
    }

    pub async fn set_mac(&self, link: &Link, mac: &[u8]) -> Result<()> {
        self.set(link, "set the mac of", |set| set.address(mac.to_vec())).await
    }

    /// Makes `port` a port of `bridge`.
    pub async fn enslave(&self, port: &Link, bridge: &Link) -> Result<()> {
        self.set(port, "enslave", |set| set.controller(bridge.index)).await
    }

    /// Takes `port` out of the bridge that it is in.
    pub async fn release(&self, port: &Link) -> Result<()> {
        self.set(port, "release", LinkMessageBuilder::nocontroller).await
    }

    /// Moves `link` into the network namespace that `namespace` is an open handle of; there it is down.
    pub async fn move_into(&self, link: &Link, namespace: BorrowedFd<'_>) -> Result<()> {
        self.set(link, "move to another namespace", |set| set.setns_by_fd(namespace.as_raw_fd())).await
    }

    pub async fn addresses(&self, link: &Link) -> Result<Vec<Address>> {
        let found = self.handle.address().get().set_link_index_filter(link.index).execute();
        let found = found.try_collect::<Vec<_>>().await;
        let found = found.map_err(|e| failed(format!("list the addresses of {}", link.name), e))?;
        Ok(found.iter().filter_map(Address::read).collect())
    }

    /// The addresses of all interfaces.
    pub async fn all_addresses(&self) -> Result<Vec<Address>> {
        let found = self.handle.address().get().execute().try_collect::<Vec<_>>().await;
        let found = found.map_err(|e| failed("list the addresses", e))?;
        Ok(found.iter().filter_map(Address::read).collect())
    }

    pub async fn add_address(&self, link: &Link, ip: IpAddr, prefix: u8) -> Result<()> {
        let mut add = self.handle.address().add(link.index, ip, prefix).replace();
        if ip.is_ipv6() {
            // It may still be on the interface that it moves away from: do not ask the network.
            add.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        add.execute().await.map_err(|e| failed(format!("add {ip}/{prefix} to {}", link.name), e))
    }

    pub async fn delete_address(&self, link: &Link, ip: IpAddr, prefix: u8) -> Result<()> {
        let mut request = self.handle.address().add(link.index, ip, prefix);
        let message = std::mem::take(request.message_mut());
        let deleted = self.handle.address().del(message).execute().await;
        unless(libc_errno::EADDRNOTAVAIL, deleted, || format!("take {ip}/{prefix} from {}", link.name))
    }

    /// The routes through `link`, those without a gateway first.
    pub async fn routes(&self, link: &Link) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            let mut answers = self.handle.route().get(question).execute();
            while let Some(answer) = answers.next().await {
                let answer = answer.map_err(|e| failed("list the routes", e))?;
                routes.extend(Route::configured(answer, link.index));
            }
        }
        routes.sort_by_key(Route::has_gateway);
        Ok(routes)
    }

    /// Adds `route`, but through `link`; takes the place of the same route through another interface.
    pub async fn route_through(&self, link: &Link, route: &Route) -> Result<()> {
        let message = route.through(link.index);
        let added = self.handle.route().add(message).replace().execute().await;
        added.map_err(|e| failed(format!("lead {} through {}", route.destination(), link.name), e))
    }

    /// Leads what has no other route to `gateway`; takes the place of an earlier such route.
    pub async fn set_default_route(&self, gateway: Ipv4Addr) -> Result<()> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
        let set = self.handle.route().add(route).replace().execute().await;
        set.map_err(|e| failed(format!("lead the default route to {gateway}"), e))
    }

    /// Makes an interface that is down, marked with `alias`. Fails when an interface of that name exists.
    async fn add_marked(
        &self,
        what: &str,
        name: &str,
        alias: &str,
        build: impl FnOnce(&str) -> LinkMessage,
    ) -> Result<Link> {
        check_name(name)?;
        let unnamed = provisional_name(name);
        if let Some(leftover) = self.find(&unnamed).await? {
            self.delete(&leftover).await?;
        }
        let added = self.handle.link().add(build(&unnamed)).execute().await;
        added.map_err(|e| failed(format!("add {what} {name}"), e))?;
        let named = self.mark_and_name(what, &unnamed, name, alias).await;
        if let (Err(_), Ok(Some(unnamed))) = (&named, self.find(&unnamed).await) {
            self.delete(&unnamed).await?;
        }
        named
    }

    async fn mark_and_name(&self, what: &str, unnamed: &str, name: &str, alias: &str) -> Result<Link> {
        let made = self.expect(unnamed).await?;
        // The kernel renames no interface that is up; some bring a new bridge up at once.
        self.set_down(&made).await?;
        self.set_alias(&made, alias).await?;
        self.set(&made, &format!("name {what} {name}, until now"), |set| set.name(name)).await?;
        self.expect(name).await
    }

    async fn expect(&self, name: &str) -> Result<Link> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "it is not there");
        let found = self.find(name).await?;
        found.ok_or_else(|| Error::Kernel { doing: format!("use interface {name}"), source: gone() })
    }

    async fn set(
        &self,
        link: &Link,
        doing: &str,
        change: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<()> {
        let message = change(LinkUnspec::new_with_index(link.index)).build();
        let done = self.handle.link().set(message).execute().await;
        done.map_err(|e| failed(format!("{doing} {}", link.name), e))
    }
}

impl Link {
    /// The alias, when it is a resource's uuid: 32 hex digits.
    pub fn mark(&self) -> Option<&str> {
        let uuid = |alias: &&str| alias.len() == 32 && alias.bytes().all(|b| b.is_ascii_hexdigit());
        self.alias.as_deref().filter(uuid)
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Link {
            index: message.header.index,
            name: String::new(),
            kind: Kind::Other,
            alias: None,
            mtu: 0,
            mac: Vec::new(),
            master: None,
            parent: None,
            up: message.header.flags.contains(LinkFlags::Up),
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Address(mac) => link.mac = mac,
                LinkAttribute::Controller(index) => link.master = Some(index).filter(|&index| index != 0),
                LinkAttribute::Link(index) => link.parent = Some(index).filter(|&index| index != 0),
                LinkAttribute::LinkInfo(infos) => link.kind = Kind::of(&infos),
                _ => {}
            }
        }
        // What a veth names is its other end, which may be in another namespace.
        link.parent = link.parent.filter(|_| link.kind != Kind::Veth);
        link
    }
}

impl Kind {
    fn of(infos: &[LinkInfo]) -> Self {
        let kind = infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind),
            _ => None,
        });
        match kind {
            Some(InfoKind::Bridge) => Kind::Bridge,
            Some(InfoKind::Tun) => Kind::Tun,
            Some(InfoKind::Veth) => Kind::Veth,
            Some(InfoKind::Bond) => Kind::Bond,
            Some(InfoKind::Vlan | InfoKind::Vxlan) => Kind::tagged(infos),
            _ => Kind::Other,
        }
    }

    fn tagged(infos: &[LinkInfo]) -> Self {
        let data = infos.iter().find_map(|info| match info {
            LinkInfo::Data(data) => Some(data),
            _ => None,
        });
        match data {
            Some(InfoData::Vlan(vlan)) => Kind::vlan(vlan),
            Some(InfoData::Vxlan(vxlan)) => Kind::vxlan(vxlan),
            _ => Kind::Other,
        }
    }

    fn vlan(infos: &[InfoVlan]) -> Self {
        let id = infos.iter().find_map(|info| match info {
            InfoVlan::Id(id) => Some(*id),
            _ => None,
        });
        id.map_or(Kind::Other, |id| Kind::Vlan { id })
    }

    fn vxlan(infos: &[InfoVxlan]) -> Self {
        let (mut vni, mut local, mut port) = (0, None, 0);
        for info in infos {
            match info {
                InfoVxlan::Id(id) => vni = *id,
                InfoVxlan::Local(ip) => local = Some(IpAddr::V4(*ip)),
                InfoVxlan::Local6(ip) => local = Some(IpAddr::V6(*ip)),
                InfoVxlan::Port(number) => port = *number,
                _ => {}
            }
        }
        Kind::Vxlan { vni, local, port }
    }
}

impl Address {
    fn read(message: &AddressMessage) -> Option<Self> {
        let mut ip = None;
        let mut lasting = true;
        for attribute in &message.attributes {
            match attribute {
                // On a point-to-point link `Address` is the peer; `Local` is always ours.
                AddressAttribute::Local(local) => ip = Some(*local),
                AddressAttribute::Address(address) => ip = ip.or(Some(*address)),
                AddressAttribute::Flags(flags) => lasting = flags.contains(AddressFlags::Permanent),
                _ => {}
            }
        }
        Some(Address {
            ip: ip?,
            prefix: message.header.prefix_len,
            local: message.header.scope != AddressScope::Universe,
            dynamic: !lasting,
        })
    }
}

impl Route {
    fn configured(message: RouteMessage, through: u32) -> Option<Self> {
        let header = &message.header;
        let own = !matches!(header.protocol, RouteProtocol::Kernel | RouteProtocol::Ra)
            && header.kind == RouteType::Unicast
            && message.attributes.contains(&RouteAttribute::Oif(through));
        own.then_some(Route(message))
    }

    fn has_gateway(&self) -> bool {
        let mut attributes = self.0.attributes.iter();
        attributes.any(|a| matches!(a, RouteAttribute::Gateway(_) | RouteAttribute::Via(_)))
    }

    fn destination(&self) -> String {
        let target = self.0.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some(ip.to_string()),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => Some(ip.to_string()),
            _ => None,
        });
        match target {
            Some(target) => format!("{target}/{}", self.0.header.destination_prefix_length),
            None => "the default route".to_owned(),
        }
    }

    fn through(&self, index: u32) -> RouteMessage {
        let mut message = self.0.clone();
        message.header.flags &= RouteFlags::Onlink;
        message.attributes.retain(|a| !matches!(a, RouteAttribute::CacheInfo(_) | RouteAttribute::Oif(_)));
        message.attributes.push(RouteAttribute::Oif(index));
        message
    }
}

/// Where an interface waits for its mark; the same name for every attempt, so that a leftover is found.
fn provisional_name(name: &str) -> String {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("cmlt~{hash:08x}")
}

fn failed(doing: impl Into<String>, error: rtnetlink::Error) -> Error {
    let source = match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    };
    Error::Kernel { doing: doing.into(), source }
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().raw_os_error(),
        _ => None,
    }
}

fn unless(
    expected: i32,
    outcome: std::result::Result<(), rtnetlink::Error>,
    doing: impl FnOnce() -> String,
) -> Result<()> {
    match outcome {
        Err(error) if errno(&error) != Some(expected) => Err(failed(doing(), error)),
        _ => Ok(()),
    }
}

/// The kernel's words for "not there".
mod libc_errno {
    pub(super) const ENODEV: i32 = nix::errno::Errno::ENODEV as i32;
    pub(super) const EADDRNOTAVAIL: i32 = nix::errno::Errno::EADDRNOTAVAIL as i32;
}

#[cfg(test)]
mod tests;
