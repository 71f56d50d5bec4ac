use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::{Any, Id, Result};

use super::store;

pub(super) const EDGES: &[Edge] =
    &[Edge { parent: "Account", child: "LongJob", action: Action::Delete, find: store::OF_ACCOUNT }];

pub(super) struct LongJobKind;

#[boxed]
impl Kind for LongJobKind {
    fn name(&self) -> &'static str {
        "LongJob"
    }

    async fn blockers(&self, tx: &mut Tx, _how: How, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, String)>> {
        let open = store::open(tx, ids).await?;
        let told = open
            .into_iter()
            .map(|(id, name)| (id, format!("long job \"{name}\" is at work: cancel it first")));
        Ok(told.collect())
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await
    }
}
