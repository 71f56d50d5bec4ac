use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde_json::{Value, json};

use super::host_hook::{Wish, everywhere};
use super::{L2Network, L2NetworkInventory, attach, store};

pub(super) const EDGES: &[Edge] = &[
    Edge { parent: "Zone", child: "L2Network", action: Action::Delete, find: store::IN_ZONE },
    Edge { parent: "Account", child: "L2Network", action: Action::Delete, find: store::OF_ACCOUNT },
];

pub(super) const ATTACHMENT: &str = "L2NetworkClusterRef";

pub(super) struct L2NetworkKind;

/// A network's place in a cluster. VMs that run with it there are stopped before it goes.
pub(super) struct AttachmentKind;

/// The network of an attachment, then those that are where it is.
async fn all(tx: &mut Tx, there: &store::Attachment) -> Result<Vec<Id<L2Network>>> {
    let l2: L2NetworkInventory = find(tx, there.l2).await?;
    let along = l2.driver()?.along(tx, &l2).await?;
    Ok([l2.uuid].into_iter().chain(along.into_iter().map(|one| one.uuid)).collect())
}

#[boxed]
impl Kind for AttachmentKind {
    fn name(&self) -> &'static str {
        ATTACHMENT
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        let Some(there) = store::attachment(tx, id.cast()).await? else { return Ok(()) };
        for l2 in all(tx, &there).await? {
            if !store::change(tx, l2, there.cluster, "Attached", "Detaching").await? {
                let details = "the network is being attached, or detached already: wait for that";
                return Err(codes::STATE.because(details));
            }
        }
        Ok(())
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        let Some(there) = store::attachment(tx, id.cast()).await? else { return Ok(()) };
        for l2 in all(tx, &there).await? {
            store::change(tx, l2, there.cluster, "Detaching", "Attached").await?;
        }
        Ok(())
    }

    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let mut tx = cx.read().await?;
        let Some(there) = store::attachment(&mut tx, id.cast()).await? else { return Ok(()) };
        let all = all(&mut tx, &there).await?;
        drop(tx);
        for l2 in all.into_iter().rev() {
            attach::bring_about(cx, l2, there.cluster, Wish::Removed).await?;
        }
        Ok(())
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        let Some(there) = store::attachment(tx, id.cast()).await? else { return Ok(()) };
        for l2 in all(tx, &there).await? {
            store::leave(tx, l2, there.cluster).await?;
            tx.emit("/l2/detached", l2.cast(), json!({ "clusterUuid": there.cluster })).await?;
        }
        Ok(())
    }

    async fn answer(&self, tx: &mut Tx, shown: Option<Id<Any>>) -> Result<Value> {
        match shown {
            Some(l2) => show::<L2NetworkInventory>(tx, l2).await,
            None => Ok(json!({})),
        }
    }
}

#[boxed]
impl Kind for L2NetworkKind {
    fn name(&self) -> &'static str {
        "L2Network"
    }

    async fn blockers(&self, tx: &mut Tx, _how: How, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, String)>> {
        let mut blocked = Vec::new();
        for id in ids {
            let l2: L2NetworkInventory = find(tx, *id).await?;
            let along = l2.driver()?.along(tx, &l2).await?;
            if let Some(one) = along.iter().find(|one| !ids.contains(&one.uuid.cast())) {
                let count = along.len();
                let why = format!("it has {count} networks, such as \"{}\": delete them first", one.name);
                blocked.push((*id, why));
            }
        }
        Ok(blocked)
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::mark_deleting(tx, id.cast(), true).await
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::mark_deleting(tx, id.cast(), false).await
    }

    /// A host that is not connected keeps its bridge; its inventory tells that it is nobody's.
    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let mut tx = cx.read().await?;
        let l2: L2NetworkInventory = find(&mut tx, id).await?;
        let hosts = store::hosts_of(&mut tx, l2.uuid).await?;
        drop(tx);
        everywhere(cx, &l2, &hosts, Wish::Removed).await
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await?;
        tx.emit("/l2/deleted", id, json!({})).await
    }
}
