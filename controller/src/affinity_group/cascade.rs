use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::{Any, Id, Result};

use super::store;

/// Its VMs stay, and are in it no more.
pub(super) const EDGES: &[Edge] = &[
    Edge { parent: "Zone", child: "AffinityGroup", action: Action::Delete, find: store::IN_ZONE },
    Edge { parent: "Account", child: "AffinityGroup", action: Action::Delete, find: store::OF_ACCOUNT },
];

pub(super) struct AffinityGroupKind;

#[boxed]
impl Kind for AffinityGroupKind {
    fn name(&self) -> &'static str {
        "AffinityGroup"
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await
    }
}
