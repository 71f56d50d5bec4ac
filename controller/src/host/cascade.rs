use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result};
use serde_json::json;

use super::{CONNECTING, HostInventory, store};

pub(super) const EDGES: &[Edge] =
    &[Edge { parent: "Cluster", child: "Host", action: Action::Delete, find: store::IN_CLUSTER }];

pub(super) struct HostKind;

#[boxed]
impl Kind for HostKind {
    fn name(&self) -> &'static str {
        "Host"
    }

    /// A host that does not answer cannot be cleaned; what it still has is told when it comes back.
    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let host: HostInventory = find(&mut cx.read().await?, id).await?;
        match host.is_connected() {
            true => CONNECTING.undo(cx, &host).await,
            false => Ok(()),
        }
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await?;
        tx.emit("/host/deleted", id, json!({})).await
    }
}
