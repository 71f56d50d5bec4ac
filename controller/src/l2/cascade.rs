use async_trait::async_trait;
use engine::cascade::{Action, Edge, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result};
use serde_json::json;

use super::host_hook::{Wish, everywhere};
use super::{L2NetworkInventory, store};

pub(super) const EDGES: &[Edge] = &[
    Edge { parent: "Zone", child: "L2Network", action: Action::Delete, find: store::IN_ZONE },
    Edge { parent: "Account", child: "L2Network", action: Action::Delete, find: store::OF_ACCOUNT },
];

pub(super) struct L2NetworkKind;

#[async_trait]
impl Kind for L2NetworkKind {
    fn name(&self) -> &'static str {
        "L2Network"
    }

    async fn begin(&self, tx: &mut Tx, _action: Action, id: Id<Any>) -> Result<()> {
        store::mark_deleting(tx, id.cast(), true).await
    }

    async fn revert(&self, tx: &mut Tx, _action: Action, id: Id<Any>) -> Result<()> {
        store::mark_deleting(tx, id.cast(), false).await
    }

    /// A host that is not connected keeps its bridge; its inventory tells that it is nobody's.
    async fn act(&self, cx: &Cx, _action: Action, id: Id<Any>) -> Result<()> {
        let mut tx = cx.read().await?;
        let l2: L2NetworkInventory = find(&mut tx, id).await?;
        let hosts = store::hosts_of(&mut tx, l2.uuid).await?;
        drop(tx);
        everywhere(cx, &l2, &hosts, Wish::Removed).await
    }

    async fn record(&self, tx: &mut Tx, _action: Action, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await?;
        tx.emit("/l2/deleted", id, json!({})).await
    }
}
