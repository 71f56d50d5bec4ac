use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::{Any, Id, Result};

use super::store;

pub(super) const EDGES: &[Edge] =
    &[Edge { parent: "Account", child: "DiskOffering", action: Action::Delete, find: store::OF_ACCOUNT }];

pub(super) struct DiskOfferingKind;

#[boxed]
impl Kind for DiskOfferingKind {
    fn name(&self) -> &'static str {
        "DiskOffering"
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await
    }
}
