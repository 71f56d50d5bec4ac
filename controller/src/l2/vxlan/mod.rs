//! VXLANs: networks of their own over one IP network between hosts, told apart by numbers (VNI).
//!
//! ```text
//!  pool ── ranges of numbers ──▶ networks, each with a number of its own
//!    └─── attached to a cluster, with the IP network of its tunnels ──▶ an end (VTEP) on each of its hosts
//! ```
//!
//! A pool has no bridge. Where it is its networks are, each a bridge `br_vx_<number>` on a tunnel from the host's
//! end to the ends of all others. A host's end is written down before the others hear of it, and who makes a
//! tunnel looks for ends again afterwards: whichever is first, each hears of the other.

mod api;
mod create;
mod network;
mod pool;
mod range;
mod store;
mod vtep;

use std::collections::BTreeMap;

use engine::db::Tx;
use engine::inventory::{Members, Shown, attach, attach_shown, page_uuids};
use engine::module::Module;
use engine::query::Relation;
use engine::tag::{Hold, SystemTag, Wanted};
use engine::{Id, Result, Stamp, codes, inventory};

use super::{ATTACHED, L2Network, L2NetworkInventory};
use crate::cluster::{Cluster, ClusterInventory};
use crate::host::{Host, HostInventory};
use crate::zone::{Zone, ZoneInventory};

pub(super) use network::VxlanNetwork;
pub(super) use pool::VxlanPool;

pub(super) const POOL: &str = "VxlanNetworkPool";
pub(super) const NETWORK: &str = "VxlanNetwork";
/// What a frame can carry; 0 and the last are kept by the standard and by hardware.
pub(super) const VNIS: std::ops::RangeInclusive<i64> = 1..=16_777_214;

/// Marks ids of ranges of numbers.
#[derive(Debug)]
pub enum VniRange {}
/// Marks ids of tunnel ends.
#[derive(Debug)]
pub enum Vtep {}

inventory! {
    /// A VXLAN as the API shows it.
    L2VxlanNetworkInventory in "l2_vxlan_network" seen Owned("uuid") {
        uuid: Id<L2Network>,
        vni: i64,
        pool_uuid: Id<L2Network>,
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
        Relation::one::<L2VxlanNetworkPoolInventory>("pool", "pool_uuid").back("vxlanNetwork"),
        Relation::linked::<ClusterInventory>("cluster", ATTACHED).shows("attachedClusterUuids", "uuid"),
    ]
}

impl L2VxlanNetworkInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        L2NetworkInventory::fill_page(tx, page).await
    }
}

inventory! {
    /// A pool of VXLANs as the API shows it.
    L2VxlanNetworkPoolInventory in "l2_vxlan_network_pool" seen Owned("uuid") {
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
    } fill {
        attached_cluster_uuids: Vec<Id<Cluster>>,
        attached_vtep_refs: Vec<Shown<VtepInventory>>,
        attached_vxlan_network_refs: Vec<Shown<L2VxlanNetworkInventory>>,
        attached_vni_ranges: Vec<Shown<VniRangeInventory>>,
        attached_cidrs: BTreeMap<String, String>,
    } => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid"),
        Relation::linked::<ClusterInventory>("cluster", ATTACHED).shows("attachedClusterUuids", "uuid"),
    ]
}

impl L2VxlanNetworkPoolInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        L2NetworkInventory::fill_page(tx, page).await?;
        let pools = page_uuids(page);
        let of = |pool: Id<L2Network>| pool.to_string();
        let ends = store::vteps(tx, pools.clone()).await?;
        attach(page, "attachedVtepRefs", ends.into_iter().map(|one| (of(one.pool_uuid), one)))?;
        let networks = store::networks(tx, pools.clone()).await?;
        attach_shown(tx, page, "attachedVxlanNetworkRefs", &networks, |one| of(one.pool_uuid)).await?;
        let ranges = store::ranges(tx, pools.clone()).await?;
        attach(page, "attachedVniRanges", ranges.into_iter().map(|one| (of(one.l2_network_uuid), one)))?;
        let cidrs = store::cidrs(tx, pools).await?;
        for members in page {
            let pool = members.read::<Id<L2Network>>("uuid");
            let own = cidrs.iter().filter(|one| Some(one.pool) == pool);
            let own: BTreeMap<_, _> = own.map(|one| (one.cluster.to_string(), &one.cidr)).collect();
            members.insert("attachedCidrs", &own)?;
        }
        Ok(())
    }
}

inventory! {
    /// A range of numbers as the API shows it, both ends included.
    VniRangeInventory in "vni_range" seen Owned("l2_network_uuid") {
        uuid: Id<VniRange>,
        name: String,
        description: Option<String>,
        start_vni: i64,
        end_vni: i64,
        l2_network_uuid: Id<L2Network>,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<L2VxlanNetworkPoolInventory>("l2Network", "l2_network_uuid").back("attachedVniRanges"),
    ]
}

inventory! {
    /// Where the tunnels of a pool end on a host, as the API shows it.
    VtepInventory in "vtep" seen Owned("pool_uuid") {
        uuid: Id<Vtep>,
        host_uuid: Id<Host>,
        pool_uuid: Id<L2Network>,
        vtep_ip: String,
        port: i64,
        r#type: String,
        physical_interface: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<HostInventory>("host", "host_uuid"),
        Relation::one::<L2VxlanNetworkPoolInventory>("pool", "pool_uuid").back("attachedVtepRefs"),
    ]
}

/// Comes with the attachment of a pool, which keeps it.
pub(super) const CIDR: SystemTag = SystemTag {
    resource: "L2Network",
    pattern: "l2NetworkUuid::{l2NetworkUuid}::clusterUuid::{clusterUuid}::cidr::{cidr}",
    help: "the IP network that the tunnels of a VXLAN pool go through in a cluster: 10.10.0.0/16; with its attachment",
    hold: Hold::Kept,
    once: &[],
    check: |tokens| pool::cidr(tokens.get("cidr")).map(|_| ()),
};

/// The IP network that came with the attachment of a pool to a cluster.
pub(super) fn tunnels(tags: &Wanted, l2: Id<L2Network>, cluster: Id<Cluster>) -> Result<Option<String>> {
    let Some(tokens) = tags.tokens(&CIDR).into_iter().next() else { return Ok(None) };
    for (token, is) in [("l2NetworkUuid", l2.to_string()), ("clusterUuid", cluster.to_string())] {
        if tokens.get(token) != is {
            let details =
                format!("the system tag's {token} must be the call's, {is}, not {}", tokens.get(token));
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
    }
    pool::cidr(tokens.get("cidr")).map(Some)
}

pub fn module() -> Module {
    Module::new("vxlan network")
        .category("l2Network")
        .query::<L2VxlanNetworkInventory>("QueryL2VxlanNetwork", "/l2-networks/vxlan")
        .query::<L2VxlanNetworkPoolInventory>("QueryL2VxlanNetworkPool", "/l2-networks/vxlan-pool")
        .query::<VniRangeInventory>("QueryVniRange", "/l2-networks/vxlan-pool/vni-range")
        .query::<VtepInventory>("QueryVtep", "/l2-networks/vteps")
        .api::<api::CreateL2VxlanNetworkPool>()
        .api::<api::CreateL2VxlanNetwork>()
        .api::<range::CreateVniRange>()
        .api::<range::UpdateVniRange>()
        .api::<range::DeleteVniRange>()
        .flow::<create::Create>()
        .cascade(&range::VniRangeKind, &[])
        .tags(&[CIDR])
        .admin()
}
