use async_trait::async_trait;
use engine::cascade::{Action, Edge, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result};
use serde_json::json;

use super::{VmInstanceInventory, life, remove, store};
use crate::host::driver::StopMode;

/// A host that goes stops its VMs, but takes those with it whose disks lie on it alone; a storage that goes
/// takes its VMs with it; a network or an address range stops the VMs that use it.
pub(super) const EDGES: &[Edge] = &[
    Edge { parent: "Host", child: "VmInstance", action: Action::Stop, find: store::ON_HOST },
    Edge { parent: "Host", child: "VmInstance", action: Action::Delete, find: store::DISK_ON_HOST },
    Edge { parent: "PrimaryStorage", child: "VmInstance", action: Action::Delete, find: store::ON_STORAGE },
    Edge { parent: "Account", child: "VmInstance", action: Action::Delete, find: store::OF_ACCOUNT },
    Edge { parent: "VmNic", child: "VmInstance", action: Action::Stop, find: store::OF_NIC },
];

pub(super) struct VmInstanceKind;

#[async_trait]
impl Kind for VmInstanceKind {
    fn name(&self) -> &'static str {
        "VmInstance"
    }

    async fn begin(&self, tx: &mut Tx, action: Action, id: Id<Any>) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, id).await?;
        store::on_usable_host(tx, &vm).await?;
        let (meanwhile, from): (_, &[&str]) = match action {
            Action::Stop if vm.host_uuid.is_none() => return Ok(()),
            Action::Stop => ("Stopping", &["Running", "Paused", "Unknown", "Crashed", "NoState"]),
            Action::Delete if vm.state == "Destroyed" => ("Expunging", &["Destroyed"]),
            Action::Delete => ("Destroying", remove::DESTROYABLE),
        };
        store::change_state(tx, &vm, from, meanwhile).await
    }

    async fn revert(&self, tx: &mut Tx, _action: Action, id: Id<Any>) -> Result<()> {
        store::back(tx, id.cast()).await
    }

    async fn act(&self, cx: &Cx, action: Action, id: Id<Any>) -> Result<()> {
        if action == Action::Delete {
            remove::take_off(cx, id.cast()).await?;
            return remove::delete_disk(cx, id.cast()).await;
        }
        let vm: VmInstanceInventory = find(&mut cx.read().await?, id).await?;
        match vm.host_uuid {
            Some(_) => life::wind_down(cx, vm.uuid, StopMode::Cold).await,
            None => Ok(()),
        }
    }

    async fn record(&self, tx: &mut Tx, action: Action, id: Id<Any>) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, id).await?;
        match action {
            Action::Stop if vm.host_uuid.is_none() => Ok(()),
            Action::Stop => store::stopped(tx, vm.uuid).await,
            Action::Delete => {
                store::expunge(tx, vm.uuid).await?;
                tx.emit("/vm/expunged", id, json!({ "name": vm.name })).await
            }
        }
    }
}
