use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde_json::{Value, json};

use super::host_hook::{Wish, everywhere};
use super::{L2NetworkInventory, attach, store};

pub(super) const EDGES: &[Edge] = &[
    Edge { parent: "Zone", child: "L2Network", action: Action::Delete, find: store::IN_ZONE },
    Edge { parent: "Account", child: "L2Network", action: Action::Delete, find: store::OF_ACCOUNT },
];

pub(super) const ATTACHMENT: &str = "L2NetworkClusterRef";

pub(super) struct L2NetworkKind;

/// A network's place in a cluster. VMs that run with it there are stopped before it goes.
pub(super) struct AttachmentKind;

#[boxed]
impl Kind for AttachmentKind {
    fn name(&self) -> &'static str {
        ATTACHMENT
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        let Some(there) = store::attachment(tx, id.cast()).await? else { return Ok(()) };
        match store::change(tx, there.l2, there.cluster, "Attached", "Detaching").await? {
            true => Ok(()),
            false => {
                Err(codes::STATE.because("the network is being attached, or detached already: wait for that"))
            }
        }
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        let Some(there) = store::attachment(tx, id.cast()).await? else { return Ok(()) };
        store::change(tx, there.l2, there.cluster, "Detaching", "Attached").await.map(|_| ())
    }

    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let attachment = store::attachment(&mut cx.read().await?, id.cast()).await?;
        match attachment {
            Some(there) => attach::bring_about(cx, there.l2, there.cluster, Wish::Removed).await,
            None => Ok(()),
        }
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        let Some(there) = store::attachment(tx, id.cast()).await? else { return Ok(()) };
        store::leave(tx, there.l2, there.cluster).await?;
        tx.emit("/l2/detached", there.l2.cast(), json!({ "clusterUuid": there.cluster })).await
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
