use engine::boxed;
use engine::cascade::{How, Kind};
use engine::db::Tx;
use engine::{Any, Id, Result};

use super::store;

pub(super) struct ZoneKind;

#[boxed]
impl Kind for ZoneKind {
    fn name(&self) -> &'static str {
        "Zone"
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await
    }
}
