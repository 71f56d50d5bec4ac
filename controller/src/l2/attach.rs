//! Attaching an L2 network to a cluster, and detaching it.

use engine::cascade::Root;
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cascade::ATTACHMENT;
use super::host_hook::{Wish, everywhere};
use super::{AFTER_ATTACH, Attaching, BEFORE_ATTACH, L2Network, L2NetworkInventory, store, usable};
use crate::cluster::{Cluster, ClusterInventory};

/// A host that does not answer for so long is not there.
pub(super) const HOST_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// enter → realize on every connected host → attached
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attach {
    pub l2: Id<L2Network>,
    pub cluster: Id<Cluster>,
    /// What its tunnels go through.
    #[serde(default)]
    pub cidr: Option<String>,
    /// Networks that come with it.
    #[serde(default)]
    pub along: Vec<Id<L2Network>>,
}

impl Attach {
    async fn enter(&mut self, tx: &mut Tx) -> Result<()> {
        let l2 = usable(tx, self.l2).await?;
        refuse_carried(&l2)?;
        l2.driver()?.must_be_attachable(&l2, self.cidr.as_deref())?;
        let cluster: ClusterInventory = find(tx, self.cluster).await?;
        check(tx, &l2, &cluster).await?;
        if !store::enter(tx, self.l2, self.cluster, self.cidr.as_deref()).await? {
            return Err(codes::INVALID_ARGUMENT.because(format!(
                "l2 network \"{}\" is attached to cluster \"{}\" already",
                l2.name, cluster.name
            )));
        }
        for carried in l2.driver()?.along(tx, &l2).await? {
            check(tx, &carried, &cluster).await?;
            store::enter(tx, carried.uuid, self.cluster, None).await?;
            self.along.push(carried.uuid);
        }
        Ok(())
    }

    /// It, then what comes with it.
    fn all(&self) -> impl DoubleEndedIterator<Item = Id<L2Network>> + Send {
        [self.l2].into_iter().chain(self.along.clone())
    }

    async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        for l2 in self.all() {
            store::leave(tx, l2, self.cluster).await?;
        }
        Ok(())
    }

    async fn told(&self, cx: &Cx) -> Result<Attaching> {
        let mut tx = cx.read().await?;
        Ok(Attaching { l2: find(&mut tx, self.l2).await?, cluster: find(&mut tx, self.cluster).await? })
    }

    async fn realize(&mut self, cx: &Cx) -> Result<()> {
        for l2 in self.all() {
            bring_about(cx, l2, self.cluster, Wish::Realized).await?;
        }
        Ok(())
    }

    async fn remove(&mut self, cx: &Cx) -> Result<()> {
        for l2 in self.all().rev() {
            bring_about(cx, l2, self.cluster, Wish::Removed).await?;
        }
        Ok(())
    }

    async fn attached(&mut self, tx: &mut Tx) -> Result<()> {
        for l2 in self.all() {
            store::change(tx, l2, self.cluster, "Attaching", "Attached").await?;
            tx.emit("/l2/attached", l2.cast(), json!({ "clusterUuid": self.cluster })).await?;
        }
        Ok(())
    }
}

/// Zones are crossed by no network, and no two networks of a cluster share a bridge.
pub(super) async fn check(tx: &mut Tx, l2: &L2NetworkInventory, cluster: &ClusterInventory) -> Result<()> {
    if l2.zone_uuid != cluster.zone_uuid {
        let details =
            format!("l2 network \"{}\" and cluster \"{}\" lie in different zones", l2.name, cluster.name);
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    let bridge = l2.driver()?.bridge_name(l2);
    for other in store::in_cluster(tx, cluster.uuid).await? {
        if other.uuid != l2.uuid && other.driver()?.bridge_name(&other) == bridge {
            let details = format!(
                "l2 network \"{}\" uses {} in cluster \"{}\" already: detach it first, or use another",
                other.name,
                place_of(&other),
                cluster.name
            );
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
    }
    Ok(())
}

fn place_of(l2: &L2NetworkInventory) -> String {
    match l2.virtual_network_id {
        0 => format!("interface \"{}\"", l2.physical_interface),
        id => format!("{id} of interface \"{}\"", l2.physical_interface),
    }
}

pub(super) async fn bring_about(cx: &Cx, l2: Id<L2Network>, cluster: Id<Cluster>, wish: Wish) -> Result<()> {
    let mut tx = cx.read().await?;
    let l2: L2NetworkInventory = find(&mut tx, l2).await?;
    let hosts = store::hosts(&mut tx, cluster).await?;
    drop(tx);
    everywhere(cx, &l2, &hosts, wish).await
}

impl Flow for Attach {
    const NAME: &'static str = "l2.attach";

    fn resource(&self) -> Id<Any> {
        self.l2.cast()
    }

    fn title(&self) -> String {
        format!("attach l2 network {} to cluster {}", self.l2, self.cluster)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("enter", Self::enter, Self::forget)
            .point(&BEFORE_ATTACH, |attach, cx| Box::pin(attach.told(cx)))
            .act_undo("realize", Self::realize, Self::remove)
            .limit(HOST_LIMIT)
            .point(&AFTER_ATTACH, |attach, cx| Box::pin(attach.told(cx)))
            .record("attached", Self::attached)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<L2NetworkInventory>(tx, self.l2).await
    }
}

fn refuse_carried(l2: &L2NetworkInventory) -> Result<()> {
    match l2.driver()?.is_carried() {
        false => Ok(()),
        true => Err(codes::INVALID_ARGUMENT.because(format!(
            "l2 network \"{}\" is wherever its pool is: attach that one, or detach it",
            l2.name
        ))),
    }
}

/// What detaching deletes: the VMs that use it there are stopped before.
pub(super) async fn attachment(tx: &mut Tx, l2: Id<L2Network>, cluster: Id<Cluster>) -> Result<Root> {
    let (l2, cluster): (L2NetworkInventory, ClusterInventory) =
        (find(tx, l2).await?, find(tx, cluster).await?);
    refuse_carried(&l2)?;
    let name = format!("{} of {}", l2.name, cluster.name);
    match store::attachment_of(tx, l2.uuid, cluster.uuid).await? {
        Some(there) => Ok(Root::new(ATTACHMENT, there.uuid.cast(), &name).showing(l2.uuid.cast())),
        None => Err(codes::INVALID_ARGUMENT
            .because(format!("l2 network \"{}\" is not attached to cluster \"{}\"", l2.name, cluster.name))),
    }
}
