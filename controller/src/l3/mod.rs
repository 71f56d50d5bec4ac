//! An L3 network: addresses, and the services (DHCP, DNS) that tell VMs about them.
//!
//! * [`range`]: which addresses there are; all ranges of a network lie in one CIDR.
//! * [`address`]: which are in use. The row of an address is the truth, its uniqueness the guard.
//! * [`service`]: who serves the network on a host. What a host has of a network is in the database
//!   before the host hears of it.
//!
//! A network or range that is being deleted gives out nothing any more.

pub mod address;
mod api;
mod cascade;
mod change;
pub mod host_hook;
pub mod range;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
mod told;

use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::{Members, Shown, attach, attach_shown, find, page_uuids};
use engine::module::Module;
use engine::{Id, Result, Stamp, inventory};

use crate::host::{self, HostInventory};
use crate::l2::L2NetworkInventory;
use crate::l2::{self, Attachment, L2Network};
use crate::zone::Zone;
use crate::zone::ZoneInventory;
use engine::query::Relation;

pub use address::{Address, allocate, drop_aside, put_back, release, set_aside};
use service::NetworkServiceL3NetworkRefInventory;
pub use service::{HOSTNAME, Lease, called, evict, serve, unserve};

/// Marks ids of L3 networks.
#[derive(Debug)]
pub enum L3Network {}

inventory! {
    /// A DNS server that guests of the network are told.
    L3NetworkDns in "l3_network_dns" {
        l3_network_uuid: Id<L3Network>,
        dns: String,
        create_date: Stamp,
    }
}

inventory! {
    /// A way to other networks that guests are told.
    L3NetworkHostRouteInventory in "l3_network_host_route" {
        id: i64,
        l3_network_uuid: Id<L3Network>,
        prefix: String,
        nexthop: String,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

inventory! {
    /// An L3 network as the API shows it.
    L3NetworkInventory in "l3_network" seen Owned("uuid") {
        uuid: Id<L3Network>,
        name: String,
        description: Option<String>,
        r#type: String,
        zone_uuid: Id<Zone>,
        l2_network_uuid: Id<L2Network>,
        state: String,
        dns_domain: Option<String>,
        system: bool,
        category: String,
        ip_version: i64,
        #[serde(rename = "enableIPAM")]
        enable_ipam: bool,
        isolated: bool,
        mtu: Option<i64>,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill {
        dns: Vec<String>,
        ip_ranges: Vec<Shown<range::IpRangeInventory>>,
        network_services: Vec<Shown<NetworkServiceL3NetworkRefInventory>>,
        host_route: Vec<Shown<L3NetworkHostRouteInventory>>,
        reserved_ip_ranges: Vec<Shown<range::ReservedIpRangeInventory>>,
    } => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid").back("l3Network"),
        Relation::one::<L2NetworkInventory>("l2Network", "l2_network_uuid").back("l3Network"),
        Relation::many::<L3NetworkDns>("dnsServers", "l3_network_uuid").shows("dns", "dns"),
        Relation::many::<L3NetworkHostRouteInventory>("hostRoute", "l3_network_uuid"),
        Relation::many::<NetworkServiceL3NetworkRefInventory>("networkServices", "l3_network_uuid").back("l3Network"),
    ]
}

impl L3NetworkInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let dns = store::dns_of_all(tx, page_uuids(page)).await?;
        attach(page, "dns", dns)?;
        let ranges = range::of_all(tx, page_uuids(page)).await?;
        attach_shown(tx, page, "ipRanges", &ranges, |one| one.l3_network_uuid.to_string()).await?;
        let services = service::of_all(tx, page_uuids(page)).await?;
        attach(page, "networkServices", services)?;
        let routes = store::routes_of_all(tx, page_uuids(page)).await?;
        attach_shown(tx, page, "hostRoute", &routes, |one| one.l3_network_uuid.to_string()).await?;
        let reserved = range::reserved_of_all(tx, page_uuids(page)).await?;
        attach_shown(tx, page, "reservedIpRanges", &reserved, |one| one.l3_network_uuid.to_string()).await
    }
}

/// The network's services on the host know exactly the guests that the rows place there.
pub async fn rebuild(cx: &Cx, host: &HostInventory, l3: Id<L3Network>) -> Result<()> {
    let network = find(&mut cx.read().await?, l3).await?;
    service::rebuild(cx, host, &network).await
}

/// How VMs are plugged into the network, the same on every host.
pub async fn attachment(tx: &mut Tx, l3: Id<L3Network>) -> Result<Attachment> {
    let network: L3NetworkInventory = find(tx, l3).await?;
    let mtu = network.mtu.and_then(|mtu| u32::try_from(mtu).ok());
    Ok(Attachment { mtu, ..l2::attachment(tx, network.l2_network_uuid).await? })
}

/// Where guests of a network learn their addresses.
pub struct Guidance {
    /// From a server of the network.
    pub dhcp: bool,
    pub dns: Vec<String>,
}

pub async fn guidance(tx: &mut Tx, l3: Id<L3Network>) -> Result<Guidance> {
    let dhcp = service::assigned(tx, l3).await?.iter().any(|assigned| assigned.service == "DHCP");
    let dns = store::dns(tx, l3).await?.into_iter().map(|(server, _)| server).collect();
    Ok(Guidance { dhcp, dns })
}

const EVENTS: &[(&str, &str)] = &[("/l3/deleted", "it is gone")];

pub fn module() -> Module {
    let module = Module::new("l3 network")
        .category("l3Network")
        .query::<L3NetworkInventory>("QueryL3Network", "/l3-networks")
        .related::<L3NetworkDns>()
        .related::<L3NetworkHostRouteInventory>()
        .ask::<api::GetL3NetworkTypes>()
        .api::<api::CreateL3Network>()
        .api::<api::UpdateL3Network>()
        .api::<api::ChangeL3NetworkState>()
        .api::<api::DeleteL3Network>()
        .api::<api::AddDnsToL3Network>()
        .api::<api::RemoveDnsFromL3Network>()
        .api::<told::AddHostRouteToL3Network>()
        .api::<told::RemoveHostRouteFromL3Network>()
        .ask::<told::GetL3NetworkMtu>()
        .api::<told::SetL3NetworkMtu>()
        .api::<told::ChangeL3NetworkDhcpIpAddress>()
        .hook(&host::CONNECTING, "l3 networks", &host_hook::L3Networks)
        .after("primary storages")
        .flow::<change::Change>()
        .cascade(&cascade::L3NetworkKind, cascade::EDGES);
    #[cfg(test)]
    let module = module.flow::<tests::Serve>();
    service::add_to(address::add_to(range::add_to(module))).events(EVENTS)
}
