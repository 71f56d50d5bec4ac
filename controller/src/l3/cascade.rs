use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result};
use futures::future::try_join_all;
use serde_json::json;

use super::{L3NetworkInventory, service, store};

pub(super) const EDGES: &[Edge] = &[
    Edge { parent: "L2Network", child: "L3Network", action: Action::Delete, find: store::ON_L2 },
    Edge { parent: "Account", child: "L3Network", action: Action::Delete, find: store::OF_ACCOUNT },
];

pub(super) struct L3NetworkKind;

#[boxed]
impl Kind for L3NetworkKind {
    fn name(&self) -> &'static str {
        "L3Network"
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::mark_deleting(tx, id.cast(), true).await
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::mark_deleting(tx, id.cast(), false).await
    }

    /// A host that is not connected keeps its servers; its inventory tells that they are nobody's.
    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let mut tx = cx.read().await?;
        let l3: L3NetworkInventory = find(&mut tx, id).await?;
        let hosts = store::hosts(&mut tx, l3.uuid).await?;
        drop(tx);
        let connected = hosts.iter().filter(|host| host.is_connected());
        try_join_all(connected.map(|host| service::leave(cx, host, &l3))).await.map(|_| ())
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await?;
        tx.emit("/l3/deleted", id, json!({})).await
    }
}
