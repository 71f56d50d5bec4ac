//! IP ranges: which addresses a network has.
//!
//! All ranges of one network lie in one CIDR behind one gateway, and no two ranges of an L2 network
//! overlap: its guests would meet on the wire. Of what is [`reserved`] in them nothing is given out.

mod api;
mod cascade;
mod limits;
mod reserved;
mod store;

use engine::db::{Tx, Value};
use engine::module::Module;
use engine::query::Relation;
use engine::{Id, Result, Stamp, inventory};

use super::{L3Network, L3NetworkInventory};

pub(super) use limits::Limits;
pub(super) use reserved::{ReservedIpRangeInventory, of_all as reserved_of_all};
pub use store::Span;
pub(super) use store::{open_spans, spans_of};

/// Marks ids of IP ranges.
#[derive(Debug)]
pub enum IpRange {}

inventory! {
    /// An IP range as the API shows it.
    IpRangeInventory in "ip_range" seen Owned("uuid") {
        uuid: Id<IpRange>,
        l3_network_uuid: Id<L3Network>,
        name: String,
        description: Option<String>,
        start_ip: String,
        end_ip: String,
        netmask: String,
        gateway: String,
        network_cidr: String,
        ip_version: i64,
        prefix_len: i64,
        ip_range_type: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<L3NetworkInventory>("l3Network", "l3_network_uuid").back("ipRanges"),
    ]
}

/// The ranges of each of `networks`.
pub(super) async fn of_all(tx: &mut Tx, networks: Vec<Value>) -> Result<Vec<IpRangeInventory>> {
    store::of_all(tx, networks).await
}

pub(super) fn add_to(module: Module) -> Module {
    module
        .query::<IpRangeInventory>("QueryIpRange", "/l3-networks/ip-ranges")
        .api::<api::AddIpRange>()
        .api::<api::AddIpRangeByNetworkCidr>()
        .related::<ReservedIpRangeInventory>()
        .api::<reserved::AddReservedIpRange>()
        .api::<reserved::DeleteReservedIpRange>()
        .api::<api::UpdateIpRange>()
        .api::<api::DeleteIpRange>()
        .cascade(&cascade::IpRangeKind, cascade::EDGES)
}
