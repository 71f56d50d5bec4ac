use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::{Any, Id, Result};

use super::store;

/// A network or range that goes takes its NICs with it; their VMs are stopped before (see the VM's edges).
pub(super) const EDGES: &[Edge] = &[
    Edge { parent: "L3Network", child: "VmNic", action: Action::Delete, find: store::ON_L3 },
    Edge { parent: "IpRange", child: "VmNic", action: Action::Delete, find: store::IN_RANGE },
];

pub(super) struct VmNicKind;

#[boxed]
impl Kind for VmNicKind {
    fn name(&self) -> &'static str {
        "VmNic"
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::remove(tx, id.cast()).await
    }
}
