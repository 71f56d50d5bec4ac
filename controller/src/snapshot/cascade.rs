use std::collections::HashMap;

use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::{Any, Id, Result};

use super::branch::{Branch, take_away};
use super::store;
use crate::volume;

/// A volume takes its snapshots along, a VM those of its root volume; a snapshot those that stand on it.
pub(super) const SNAPSHOT_EDGES: &[Edge] = &[
    Edge { parent: "Volume", child: super::KIND, action: Action::Delete, find: store::OF_VOLUME },
    Edge { parent: "VmInstance", child: super::KIND, action: Action::Delete, find: store::OF_ROOT },
    Edge { parent: GROUP, child: super::KIND, action: Action::Delete, find: store::OF_GROUP },
    Edge { parent: super::KIND, child: super::KIND, action: Action::Delete, find: store::ABOVE },
];
pub(super) const GROUP_EDGES: &[Edge] =
    &[Edge { parent: "VmInstance", child: GROUP, action: Action::Delete, find: store::GROUPS_OF }];

const GROUP: &str = "VolumeSnapshotGroup";

pub(super) struct SnapshotKind;

#[boxed]
impl Kind for SnapshotKind {
    fn name(&self) -> &'static str {
        super::KIND
    }

    fn goes_along(&self) -> bool {
        true
    }

    async fn blockers(&self, tx: &mut Tx, how: How, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, String)>> {
        match how.enforces() {
            true => Ok(Vec::new()),
            false => unreachable(tx, ids).await,
        }
    }

    async fn sizes(&self, tx: &mut Tx, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, i64)>> {
        store::sizes(tx, ids).await
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        match Branch::of(tx, id.cast()).await? {
            Some(branch) => branch.mark(tx).await,
            None => Ok(()),
        }
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        match Branch::of(tx, id.cast()).await? {
            Some(branch) => branch.unmark(tx).await,
            None => Ok(()),
        }
    }

    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        take_away(cx, id.cast()).await
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        match Branch::of(tx, id.cast()).await? {
            Some(branch) => branch.forget(tx).await,
            None => Ok(()),
        }
    }
}

/// Goes with the snapshots that are left of it.
pub(super) struct GroupKind;

#[boxed]
impl Kind for GroupKind {
    fn name(&self) -> &'static str {
        GROUP
    }

    fn goes_along(&self) -> bool {
        true
    }

    async fn begin(&self, tx: &mut Tx, how: How, id: Id<Any>) -> Result<()> {
        for snapshot in store::left_of(tx, id.cast()).await? {
            SnapshotKind.begin(tx, how, snapshot.cast()).await?;
        }
        Ok(())
    }

    async fn revert(&self, tx: &mut Tx, how: How, id: Id<Any>) -> Result<()> {
        for snapshot in store::left_of(tx, id.cast()).await? {
            SnapshotKind.revert(tx, how, snapshot.cast()).await?;
        }
        Ok(())
    }

    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let left = store::left_of(&mut cx.read().await?, id.cast()).await?;
        for snapshot in left {
            take_away(cx, snapshot).await?;
        }
        Ok(())
    }

    async fn record(&self, tx: &mut Tx, how: How, id: Id<Any>) -> Result<()> {
        for snapshot in store::left_of(tx, id.cast()).await? {
            SnapshotKind.record(tx, how, snapshot.cast()).await?;
        }
        store::delete_group(tx, id.cast()).await
    }
}

async fn unreachable(tx: &mut Tx, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, String)>> {
    let volumes = store::volumes_of(tx, ids).await?;
    let asked: Vec<Id<Any>> = volumes.iter().map(|(_, volume)| *volume).collect();
    let reasons: HashMap<Id<Any>, String> = volume::out_of_reach(tx, &asked).await?.into_iter().collect();
    let told = |(id, volume)| reasons.get(&volume).map(|reason| (id, reason.clone()));
    Ok(volumes.into_iter().filter_map(told).collect())
}
