//! A cluster: hosts of one kind that share storage and networks.

mod api;
mod cascade;
mod store;

use engine::inventory;
use engine::module::Module;
use engine::{Id, Stamp};

use crate::zone::Zone;
use crate::zone::ZoneInventory;
use engine::query::Relation;

/// Marks ids of clusters.
#[derive(Debug)]
pub enum Cluster {}

inventory! {
    /// A cluster as the API shows it.
    ClusterInventory in "cluster" seen Everyone {
        uuid: Id<Cluster>,
        name: String,
        description: Option<String>,
        state: String,
        hypervisor_type: String,
        zone_uuid: Id<Zone>,
        r#type: String,
        architecture: Option<String>,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid").back("cluster"),
    ]
}

pub use store::LADDER;

pub fn module() -> Module {
    Module::new("cluster")
        .query::<ClusterInventory>("QueryCluster", "/clusters")
        .api::<api::CreateCluster>()
        .api::<api::UpdateCluster>()
        .api::<api::ChangeClusterState>()
        .api::<api::DeleteCluster>()
        .cascade(&cascade::ClusterKind, cascade::EDGES)
        .admin()
}
