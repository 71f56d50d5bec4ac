use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::{Any, Id, Result};
use serde_json::json;

use super::{Lies, VolumeInventory, store};

/// Data volumes go with what they lie on; root volumes go with their VM.
pub(super) const EDGES: &[Edge] = &[
    Edge { parent: "PrimaryStorage", child: "Volume", action: Action::Delete, find: store::DATA_ON_STORAGE },
    Edge { parent: "Host", child: "Volume", action: Action::Delete, find: store::DATA_ON_HOST },
    Edge { parent: "Account", child: "Volume", action: Action::Delete, find: store::OF_ACCOUNT },
];

pub(super) struct VolumeKind;

#[boxed]
impl Kind for VolumeKind {
    fn name(&self) -> &'static str {
        "Volume"
    }

    async fn blockers(&self, tx: &mut Tx, how: How, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, String)>> {
        if how.enforces() {
            return Ok(Vec::new());
        }
        store::out_of_reach(tx, ids).await
    }

    async fn sizes(&self, tx: &mut Tx, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, i64)>> {
        store::sizes(tx, ids).await
    }

    async fn begin(&self, tx: &mut Tx, how: How, id: Id<Any>) -> Result<()> {
        let volume: VolumeInventory = engine::inventory::find(tx, id).await?;
        if volume.primary_storage_uuid.is_some() {
            match store::in_hand(tx, volume.uuid).await {
                Err(error) if how.enforces() => {
                    tracing::warn!(volume = %id, %error, "is deleted all the same")
                }
                taken => drop(taken?),
            }
        }
        store::going(tx, id.cast()).await
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::staying(tx, id.cast()).await
    }

    async fn act(&self, cx: &Cx, how: How, id: Id<Any>) -> Result<()> {
        let mut tx = cx.read().await?;
        let volume: VolumeInventory = engine::inventory::find(&mut tx, id).await?;
        if volume.primary_storage_uuid.is_none() {
            return Ok(());
        }
        if how.enforces() && !store::out_of_reach(&mut tx, &[id]).await?.is_empty() {
            tracing::warn!(volume = %id, "its host does not answer: its file is found when it comes back");
            return Ok(());
        }
        let lies = Lies::of(&mut tx, id.cast()).await?;
        drop(tx);
        lies.remove(cx).await
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await?;
        tx.emit("/volume/deleted", id, json!({ "recoverable": false })).await
    }
}
