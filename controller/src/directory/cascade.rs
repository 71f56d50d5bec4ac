use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::{Any, Id, Result};

use super::store;

pub(super) const EDGES: &[Edge] = &[
    Edge { parent: "Account", child: "Directory", action: Action::Delete, find: store::OF_ACCOUNT },
    Edge { parent: "Zone", child: "Directory", action: Action::Delete, find: store::IN_ZONE },
];

pub(super) struct DirectoryKind;

#[boxed]
impl Kind for DirectoryKind {
    fn name(&self) -> &'static str {
        "Directory"
    }

    /// With all below it.
    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await
    }
}
