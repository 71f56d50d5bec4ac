//! Forwarding tables: which hardware address is found where.

use std::net::IpAddr;

use futures::{StreamExt, TryStreamExt};
use nix::errno::Errno;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Link, Netlink, Result, failed, unless};

/// Stands for all that no entry is found for: it goes to every destination of this one.
pub const FLOOD: [u8; 6] = [0; 6];

impl Netlink {
    /// What is for `mac` goes to `remote` too (a tunnel's other end), or stays with `link` itself.
    pub async fn add_fdb(&self, link: &Link, mac: &[u8], remote: Option<IpAddr>) -> Result<()> {
        let entry = RouteNetlinkMessage::NewNeighbour(entry(link, mac, remote));
        let mut message = NetlinkMessage::from(entry);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND;
        let doing = || format!("add {} to the forwarding table of {}", told(mac, remote), link.name);
        unless(Errno::EEXIST as i32, self.ask(message).await, doing)
    }

    pub async fn delete_fdb(&self, link: &Link, mac: &[u8], remote: Option<IpAddr>) -> Result<()> {
        let deleted = self.handle.neighbours().del(entry(link, mac, remote)).execute().await;
        let doing = || format!("take {} from the forwarding table of {}", told(mac, remote), link.name);
        unless(Errno::ENOENT as i32, deleted, doing)
    }

    /// Where what is for `mac` goes from the tunnel `link`.
    pub async fn fdb(&self, link: &Link, mac: &[u8]) -> Result<Vec<IpAddr>> {
        let question = self.handle.neighbours().get().set_address_family(AddressFamily::Bridge);
        let entries = question.execute().try_collect::<Vec<_>>().await;
        let entries =
            entries.map_err(|e| failed(format!("read the forwarding table of {}", link.name), e))?;
        let own = entries.iter().filter(|entry| entry.header.ifindex == link.index && is_for(entry, mac));
        Ok(own.filter_map(remote_of).collect())
    }

    async fn ask(
        &self,
        message: NetlinkMessage<RouteNetlinkMessage>,
    ) -> std::result::Result<(), rtnetlink::Error> {
        let mut answers = self.handle.clone().request(message)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload {
                return Err(rtnetlink::Error::NetlinkError(error));
            }
        }
        Ok(())
    }
}

fn entry(link: &Link, mac: &[u8], remote: Option<IpAddr>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = link.index;
    message.header.state =
        NeighbourState::Other(u16::from(NeighbourState::Permanent) | u16::from(NeighbourState::Noarp));
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    message.attributes.extend(remote.map(|ip| {
        NeighbourAttribute::Destination(match ip {
            IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
            IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
        })
    }));
    message
}

fn is_for(entry: &NeighbourMessage, mac: &[u8]) -> bool {
    entry.attributes.iter().any(|a| matches!(a, NeighbourAttribute::LinkLayerAddress(found) if found == mac))
}

/// An entry of a bridge's family does not say of which family its address is: its length does.
fn remote_of(entry: &NeighbourMessage) -> Option<IpAddr> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            _ => None,
        },
        _ => None,
    })
}

fn told(mac: &[u8], remote: Option<IpAddr>) -> String {
    let mac = mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    remote.map_or(mac.clone(), |ip| format!("{mac} at {ip}"))
}
