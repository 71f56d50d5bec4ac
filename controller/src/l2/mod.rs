//! An L2 network: a broadcast domain, on each host of its clusters a bridge that VMs plug into.
//!
//! ```text
//!            attach                     detach
//!  (none) ──▶ Attaching ──▶ Attached ──▶ Detaching ──▶ (none)        one row per cluster
//! ```
//!
//! The row is there before the first bridge is made and after the last one is gone, so a host that
//! connects meanwhile gets its bridge or is left without it as everybody else. What is done to the
//! bridges of a host is done in the host's turn, never beside its own connecting or leaving.

mod api;
mod attach;
mod candidates;
mod cascade;
mod driver;
pub mod host_hook;
mod no_vlan;
mod store;
#[cfg(test)]
mod tests;
mod vlan;
pub mod vxlan;

use engine::db::Tx;
use engine::flow::Cx;
use engine::hook::{Hook, Point};
use engine::inventory::{Members, attach, find, page_uuids};
use engine::module::Module;
use engine::{Id, Result, Stamp, codes, inventory};

use crate::cluster::Cluster;
use crate::cluster::ClusterInventory;
use crate::host::{self, HostInventory};
use crate::zone::Zone;
use crate::zone::ZoneInventory;
use engine::query::{Link, Relation};

pub use driver::{L2_NETWORKS, L2Driver};
pub use no_vlan::interface_of;
pub use store::{NewL2, insert};

/// Marks ids of L2 networks.
#[derive(Debug)]
pub enum L2Network {}

const ATTACHED: Link = Link { table: "l2_network_attached", here: "l2_network_uuid", there: "cluster_uuid" };

inventory! {
    /// An L2 network as the API shows it.
    L2NetworkInventory in "l2_network" seen Owned("uuid") {
        uuid: Id<L2Network>,
        name: String,
        description: Option<String>,
        zone_uuid: Id<Zone>,
        physical_interface: String,
        r#type: String,
        v_switch_type: String,
        virtual_network_id: i64,
        isolated: bool,
        pvlan: Option<String>,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { attached_cluster_uuids: Vec<Id<Cluster>> } => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid").back("l2Network"),
        Relation::linked::<ClusterInventory>("cluster", ATTACHED)
            .back("l2Network")
            .shows("attachedClusterUuids", "uuid"),
    ]
}

inventory! {
    /// An L2 network that is a VLAN, as the API shows it.
    L2VlanNetworkInventory in "l2_vlan_network" seen Owned("uuid") {
        uuid: Id<L2Network>,
        vlan: i64,
        name: String,
        description: Option<String>,
        zone_uuid: Id<Zone>,
        physical_interface: String,
        r#type: String,
        v_switch_type: String,
        virtual_network_id: i64,
        isolated: bool,
        pvlan: Option<String>,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { attached_cluster_uuids: Vec<Id<Cluster>> } => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid"),
        Relation::linked::<ClusterInventory>("cluster", ATTACHED).shows("attachedClusterUuids", "uuid"),
    ]
}

impl L2VlanNetworkInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        L2NetworkInventory::fill_page(tx, page).await
    }
}

impl L2NetworkInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let clusters = store::clusters(tx, page_uuids(page)).await?;
        attach(page, "attachedClusterUuids", clusters)
    }

    pub fn driver(&self) -> Result<&'static dyn L2Driver> {
        L2_NETWORKS.get(&self.r#type)
    }
}

/// A network that is being attached to a cluster.
#[derive(Clone, Debug)]
pub struct Attaching {
    pub l2: L2NetworkInventory,
    pub cluster: ClusterInventory,
}

pub static BEFORE_ATTACH: Point<dyn Hook<Attaching>> =
    Point::step("before l2 attach", "a network is to be made on the hosts of a cluster");
pub static AFTER_ATTACH: Point<dyn Hook<Attaching>> =
    Point::step("after l2 attach", "it is made on all of them, and counts as attached next");

/// How a VM is plugged into an L2 network, the same on every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub bridge_name: String,
    pub physical_interface: String,
    pub l2_network_uuid: Id<L2Network>,
    /// In bytes, when the L3 network says so.
    pub mtu: Option<u32>,
}

pub async fn attachment(tx: &mut Tx, l2: Id<L2Network>) -> Result<Attachment> {
    let l2: L2NetworkInventory = find(tx, l2).await?;
    Ok(Attachment {
        bridge_name: l2.driver()?.bridge_name(&l2),
        physical_interface: l2.physical_interface,
        l2_network_uuid: l2.uuid,
        mtu: None,
    })
}

/// Takes a bridge of `l2` off a host that should not have it. When the network is not known any more, or has
/// become another VLAN since, its interface is known by the bridge's name, if at all.
pub async fn evict(cx: &Cx, host: &HostInventory, l2: Id<L2Network>, bridge: &str) -> Result<()> {
    match find::<L2NetworkInventory>(&mut cx.read().await?, l2).await {
        Ok(known) if known.driver()?.bridge_name(&known) == bridge => {
            host_hook::evict(cx, host, &known).await
        }
        Err(error) if !error.is(codes::NOT_FOUND) => Err(error),
        _ => evict_unknown(cx, host, l2, bridge).await,
    }
}

async fn evict_unknown(cx: &Cx, host: &HostInventory, l2: Id<L2Network>, bridge: &str) -> Result<()> {
    let mut refused = codes::OPERATION.because(format!("whose bridge \"{bridge}\" is cannot be told"));
    // The plainest names last: others may look like them.
    for (_, driver) in L2_NETWORKS.all().into_iter().rev() {
        match driver.evict(cx, host, l2, bridge).await {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => refused = error,
            None => {}
        }
    }
    Err(refused)
}

/// The clusters on whose hosts VMs can use it.
pub async fn clusters_of(tx: &mut Tx, l2: Id<L2Network>) -> Result<Vec<Id<Cluster>>> {
    store::clusters_of(tx, l2).await
}

/// Its bridges on all connected hosts take the frames that its L3 networks ask for.
pub async fn refresh(cx: &Cx, l2: Id<L2Network>) -> Result<()> {
    let mut tx = cx.read().await?;
    let (l2, hosts) = (find(&mut tx, l2).await?, store::hosts_of(&mut tx, l2).await?);
    drop(tx);
    host_hook::everywhere(cx, &l2, &hosts, host_hook::Wish::Realized).await
}

/// The L2 network, unless it is being deleted.
pub async fn usable(tx: &mut Tx, l2: Id<L2Network>) -> Result<L2NetworkInventory> {
    let network = find(tx, l2).await?;
    store::refuse_deleting(tx, &network).await?;
    Ok(network)
}

/// The L2 network, when it can be used and VMs can be plugged into it.
pub async fn pluggable(tx: &mut Tx, l2: Id<L2Network>) -> Result<L2NetworkInventory> {
    let network = usable(tx, l2).await?;
    match network.driver()?.is_plugged_into() {
        true => Ok(network),
        false => Err(codes::INVALID_ARGUMENT.because(format!(
            "l2 network \"{}\" is a {}, which only carries others: name one of these",
            network.name, network.r#type
        ))),
    }
}

const EVENTS: &[(&str, &str)] = &[
    ("/l2/attached", "a cluster has it: clusterUuid"),
    ("/l2/detached", "a cluster has it no longer: clusterUuid"),
    ("/l2/deleted", "it is gone"),
];

pub fn module() -> Module {
    Module::new("l2 network")
        .category("l2Network")
        .query::<L2NetworkInventory>("QueryL2Network", "/l2-networks")
        .query::<L2VlanNetworkInventory>("QueryL2VlanNetwork", "/l2-networks/vlan")
        .ask::<candidates::GetCandidateClustersForAttachingL2Network>()
        .ask::<candidates::GetCandidateL2NetworksForAttachingCluster>()
        .ask::<api::GetL2NetworkTypes>()
        .ask::<api::GetVSwitchTypes>()
        .api::<api::CreateL2NoVlanNetwork>()
        .api::<api::CreateL2VlanNetwork>()
        .api::<api::ChangeL2NetworkVlanId>()
        .api::<api::UpdateL2Network>()
        .api::<api::DeleteL2Network>()
        .api::<api::AttachL2NetworkToCluster>()
        .api::<api::DetachL2NetworkFromCluster>()
        .flow::<attach::Attach>()
        .family(&L2_NETWORKS)
        .point(&BEFORE_ATTACH)
        .point(&AFTER_ATTACH)
        .hook(&host::CONNECTING, "l2 networks", &host_hook::L2Networks)
        .cascade(&cascade::L2NetworkKind, cascade::EDGES)
        .cascade(&cascade::AttachmentKind, &[])
        .events(EVENTS)
        .admin()
}
