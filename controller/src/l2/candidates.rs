//! What could still be attached to what.

use engine::api::{Ask, Asked, Route};
use engine::inventory::{find, present};
use engine::{Id, Result, api};
use serde_json::{Value, json};

use super::{L2Network, L2NetworkInventory, store};
use crate::cluster::{Cluster, ClusterInventory};
use crate::validate;

/// So many are told at once, unless fewer are asked for.
const MOST: i64 = 1000;

fn page(start: Option<i64>, limit: Option<i64>) -> Result<(i64, i64)> {
    let (start, limit) = (start.unwrap_or(0), limit.unwrap_or(MOST));
    validate::within("start", start, 0..=i64::MAX)?;
    validate::within("limit", limit, 0..=MOST)?;
    Ok((start, limit))
}

api! {
    /// The clusters of the network's zone that have it not.
    GetCandidateClustersForAttachingL2Network: GET "/l2-networks/{l2NetworkUuid}/cluster-candidates" only admin {
        l2_network_uuid: Id<L2Network>,
        #[serde(default, deserialize_with = "validate::list")]
        cluster_types: Vec<String>,
        #[serde(default, deserialize_with = "validate::plain")]
        limit: Option<i64>,
        #[serde(default, deserialize_with = "validate::plain")]
        start: Option<i64>,
    }
}

impl Ask for GetCandidateClustersForAttachingL2Network {
    const ROUTE: Route = GetCandidateClustersForAttachingL2Network::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let page = page(self.start, self.limit)?;
        let mut tx = asked.engine.db().read().await?;
        let network: L2NetworkInventory = find(&mut tx, self.l2_network_uuid).await?;
        let mut found: Vec<ClusterInventory> =
            store::clusters_without(&mut tx, network.uuid, network.zone_uuid, page).await?;
        found.retain(|cluster| self.cluster_types.is_empty() || self.cluster_types.contains(&cluster.r#type));
        Ok(json!({ "inventories": present(&mut tx, &found).await? }))
    }
}

api! {
    /// The networks of the cluster's zone that it has not.
    GetCandidateL2NetworksForAttachingCluster: GET "/cluster/{clusterUuid}/l2-candidates" only admin {
        cluster_uuid: Id<Cluster>,
        #[serde(default, deserialize_with = "validate::plain")]
        limit: Option<i64>,
        #[serde(default, deserialize_with = "validate::plain")]
        start: Option<i64>,
    }
}

impl Ask for GetCandidateL2NetworksForAttachingCluster {
    const ROUTE: Route = GetCandidateL2NetworksForAttachingCluster::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let page = page(self.start, self.limit)?;
        let mut tx = asked.engine.db().read().await?;
        let cluster: ClusterInventory = find(&mut tx, self.cluster_uuid).await?;
        let found: Vec<L2NetworkInventory> =
            store::networks_without(&mut tx, cluster.uuid, cluster.zone_uuid, page).await?;
        Ok(json!({ "inventories": present(&mut tx, &found).await? }))
    }
}
