//! Creating a VXLAN: it comes to all clusters that have its pool.

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{L2VxlanNetworkInventory, L2VxlanNetworkPoolInventory, NETWORK, store};
use crate::cluster::Cluster;
use crate::l2::attach::{self, HOST_LIMIT, bring_about};
use crate::l2::host_hook::Wish;
use crate::l2::{self, L2Network, NewL2};

/// enter → realize on every connected host of the pool's clusters → attached
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Create {
    pub uuid: Id<L2Network>,
    pub pool: Id<L2Network>,
    /// The number that is wished.
    pub vni: Option<i64>,
    pub name: String,
    pub description: Option<String>,
    pub physical_interface: String,
    pub clusters: Vec<Id<Cluster>>,
}

impl Create {
    async fn enter(&mut self, tx: &mut Tx) -> Result<()> {
        let pool: L2VxlanNetworkPoolInventory = find(tx, self.pool).await?;
        l2::usable(tx, pool.uuid).await?;
        let vni = self.number(tx, &pool).await?;
        let new = NewL2 {
            uuid: self.uuid,
            name: &self.name,
            description: self.description.as_deref(),
            zone: pool.zone_uuid,
            physical_interface: &self.physical_interface,
            r#type: NETWORK,
            virtual_network_id: vni,
        };
        l2::insert(tx, new).await?;
        if !store::claim(tx, self.uuid, pool.uuid, vni).await? {
            return Err(not_to_be_had(vni, &pool));
        }
        self.clusters = store::clusters(tx, pool.uuid).await?;
        let l2 = find(tx, self.uuid).await?;
        for cluster in &self.clusters {
            let cluster = find(tx, *cluster).await?;
            attach::check(tx, &l2, &cluster).await?;
            l2::store::enter(tx, l2.uuid, cluster.uuid, None).await?;
        }
        Ok(())
    }

    async fn number(&self, tx: &mut Tx, pool: &L2VxlanNetworkPoolInventory) -> Result<i64> {
        match self.vni {
            Some(vni) => Ok(vni),
            None => store::free(tx, pool.uuid).await?.ok_or_else(|| {
                let details = format!("pool \"{}\" has no number left: add a range (vni-ranges)", pool.name);
                codes::OPERATION.because(details)
            }),
        }
    }

    async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        l2::store::delete(tx, self.uuid).await
    }

    async fn realize(&mut self, cx: &Cx) -> Result<()> {
        for cluster in &self.clusters {
            bring_about(cx, self.uuid, *cluster, Wish::Realized).await?;
        }
        Ok(())
    }

    async fn remove(&mut self, cx: &Cx) -> Result<()> {
        for cluster in &self.clusters {
            bring_about(cx, self.uuid, *cluster, Wish::Removed).await?;
        }
        Ok(())
    }

    async fn attached(&mut self, tx: &mut Tx) -> Result<()> {
        for cluster in &self.clusters {
            l2::store::change(tx, self.uuid, *cluster, "Attaching", "Attached").await?;
            tx.emit("/l2/attached", self.uuid.cast(), json!({ "clusterUuid": cluster })).await?;
        }
        Ok(())
    }
}

fn not_to_be_had(vni: i64, pool: &L2VxlanNetworkPoolInventory) -> engine::ErrorCode {
    codes::INVALID_ARGUMENT.because(format!(
        "number {vni} is taken in pool \"{}\", or in none of its ranges: leave \"vni\" out for one that is free",
        pool.name
    ))
}

impl Flow for Create {
    const NAME: &'static str = "vxlan.create";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("create vxlan network \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("enter", Self::enter, Self::forget)
            .act_undo("realize", Self::realize, Self::remove)
            .limit(HOST_LIMIT)
            .record("attached", Self::attached)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<L2VxlanNetworkInventory>(tx, self.uuid).await
    }
}
