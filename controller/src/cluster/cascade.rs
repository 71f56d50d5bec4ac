use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::{Any, Id, Result};

use super::store;

pub(super) const EDGES: &[Edge] =
    &[Edge { parent: "Zone", child: "Cluster", action: Action::Delete, find: store::IN_ZONE }];

pub(super) struct ClusterKind;

#[boxed]
impl Kind for ClusterKind {
    fn name(&self) -> &'static str {
        "Cluster"
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await
    }
}
