//! Interfaces that tag what passes through them: VLANs and VXLAN tunnels.

use std::net::IpAddr;

use rtnetlink::packet_route::link::InfoVxlan;
use rtnetlink::{LinkMessageBuilder, LinkVlan, LinkVxlan};

use super::{Kind, Link, Netlink, Result};

/// One end of a VXLAN that knows the others by its forwarding table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub vni: u32,
    /// Whose address its packets come from.
    pub local: IpAddr,
    /// The UDP port, here and there.
    pub port: u16,
}

impl Netlink {
    /// Makes a VLAN of `parent` that is down, marked with `alias`. Fails when an interface of that name
    /// exists, or the VLAN under another name.
    pub async fn add_vlan(&self, name: &str, alias: &str, parent: &Link, id: u16) -> Result<Link> {
        let vlan = |unnamed: &str| LinkVlan::new(unnamed, parent.index, id).build();
        self.add_marked("vlan", name, alias, vlan).await
    }

    /// Makes a tunnel that is down, marked with `alias`. Fails when an interface of that name exists, or the
    /// same tunnel under another name.
    pub async fn add_vxlan(&self, name: &str, alias: &str, tunnel: &Tunnel) -> Result<Link> {
        let local = match tunnel.local {
            IpAddr::V4(ip) => InfoVxlan::Local(ip),
            IpAddr::V6(ip) => InfoVxlan::Local6(ip),
        };
        let vxlan = |unnamed: &str| {
            LinkMessageBuilder::<LinkVxlan>::new(unnamed)
                .id(tunnel.vni)
                .append_info_data(local)
                .append_info_data(InfoVxlan::Port(tunnel.port))
                .append_info_data(InfoVxlan::Learning(true))
                .build()
        };
        self.add_marked("vxlan", name, alias, vxlan).await
    }

    /// The VLAN `id` of `parent`, whatever it is called.
    pub async fn find_vlan(&self, parent: &Link, id: u16) -> Result<Option<Link>> {
        let on = |link: &Link| link.parent == Some(parent.index) && link.kind == Kind::Vlan { id };
        Ok(self.links().await?.into_iter().find(on))
    }
}

impl Link {
    /// The tunnel that it is an end of.
    pub fn tunnel(&self) -> Option<Tunnel> {
        match self.kind {
            Kind::Vxlan { vni, local: Some(local), port } => Some(Tunnel { vni, local, port }),
            _ => None,
        }
    }
}
