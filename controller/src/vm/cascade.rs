use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result};
use serde_json::json;

use super::{VmInstanceInventory, life, remove, store};
use crate::host::driver::StopMode;

/// A host that goes stops its VMs, but takes those with it whose disks lie on it alone; a storage that goes
/// takes its VMs with it, and stops those that have a data volume there; a network, an address range, a network or storage that is taken from a cluster
/// stop the VMs that use it.
pub(super) const EDGES: &[Edge] = &[
    Edge { parent: "Host", child: "VmInstance", action: Action::Stop, find: store::ON_HOST },
    Edge { parent: "Host", child: "VmInstance", action: Action::Delete, find: store::DISK_ON_HOST },
    Edge { parent: "PrimaryStorage", child: "VmInstance", action: Action::Delete, find: store::ON_STORAGE },
    Edge { parent: "Volume", child: "VmInstance", action: Action::Stop, find: store::WITH_VOLUME },
    Edge { parent: "Account", child: "VmInstance", action: Action::Delete, find: store::OF_ACCOUNT },
    Edge { parent: "VmNic", child: "VmInstance", action: Action::Stop, find: store::OF_NIC },
    Edge {
        parent: "L2NetworkClusterRef",
        child: "VmInstance",
        action: Action::Stop,
        find: store::ON_ATTACHED_L2,
    },
    Edge {
        parent: "PrimaryStorageClusterRef",
        child: "VmInstance",
        action: Action::Stop,
        find: store::ON_ATTACHED_STORAGE,
    },
];

pub(super) struct VmInstanceKind;

#[boxed]
impl Kind for VmInstanceKind {
    fn name(&self) -> &'static str {
        "VmInstance"
    }

    async fn blockers(&self, tx: &mut Tx, how: How, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, String)>> {
        if how.enforces() {
            return Ok(Vec::new());
        }
        store::out_of_reach(tx, ids, how.deletes()).await
    }

    async fn sizes(&self, tx: &mut Tx, ids: &[Id<Any>]) -> Result<Vec<(Id<Any>, i64)>> {
        store::sizes(tx, ids).await
    }

    async fn begin(&self, tx: &mut Tx, how: How, id: Id<Any>) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, id).await?;
        if !how.enforces() {
            store::on_usable_host(tx, &vm).await?;
        }
        if how.deletes() {
            remove::take_in_hand(tx, &vm, how.enforces()).await?;
        }
        let (meanwhile, from): (_, &[&str]) = match how.action {
            Action::Stop if vm.host_uuid.is_none() => return Ok(()),
            Action::Stop => ("Stopping", &["Running", "Paused", "Unknown", "Crashed", "NoState"]),
            Action::Delete if vm.state == "Destroyed" => ("Expunging", &["Destroyed"]),
            Action::Delete => ("Destroying", remove::DESTROYABLE),
        };
        store::change_state(tx, &vm, from, meanwhile).await
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::back(tx, id.cast()).await
    }

    async fn act(&self, cx: &Cx, how: How, id: Id<Any>) -> Result<()> {
        if how.enforces() && out_of_reach(cx, how, id).await? {
            tracing::warn!(vm = %id, "its host does not answer: what it has there is found when it comes back");
            return Ok(());
        }
        if how.deletes() {
            remove::take_off(cx, id.cast()).await?;
            return remove::delete_disk(cx, id.cast()).await;
        }
        let vm: VmInstanceInventory = find(&mut cx.read().await?, id).await?;
        match vm.host_uuid {
            Some(_) => life::wind_down(cx, vm.uuid, StopMode::Cold).await,
            None => Ok(()),
        }
    }

    async fn record(&self, tx: &mut Tx, how: How, id: Id<Any>) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, id).await?;
        match how.action {
            Action::Stop if vm.host_uuid.is_none() => Ok(()),
            Action::Stop => store::stopped(tx, vm.uuid).await,
            Action::Delete => {
                store::expunge(tx, vm.uuid).await?;
                tx.emit("/vm/expunged", id, json!({ "name": vm.name })).await
            }
        }
    }
}

async fn out_of_reach(cx: &Cx, how: How, vm: Id<Any>) -> Result<bool> {
    let found = store::out_of_reach(&mut cx.read().await?, &[vm], how.deletes()).await?;
    Ok(!found.is_empty())
}
