use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::{Any, Id, Result};

use super::store;

pub(super) const EDGES: &[Edge] =
    &[Edge { parent: "Account", child: "InstanceOffering", action: Action::Delete, find: store::OF_ACCOUNT }];

pub(super) struct InstanceOfferingKind;

#[boxed]
impl Kind for InstanceOfferingKind {
    fn name(&self) -> &'static str {
        "InstanceOffering"
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await
    }
}
