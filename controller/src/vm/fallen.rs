//! VMs that stopped and were not asked to: why is written down with them, until they run again or somebody wants
//! them to be otherwise. Whether one is to be raised others decide.

use engine::db::Tx;
use engine::{Any, Engine, Id, Result};
use serde_json::json;

use super::life::Start;
use super::{VmInstance, store};
use crate::host::Host;

/// Why a VM stopped without being asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fall {
    /// Its host was given up, or has killed it because it had lost its storage.
    Host,
    /// Its guest shut down, or its hypervisor ended.
    Itself,
}

impl Fall {
    pub(super) fn word(self) -> &'static str {
        match self {
            Fall::Host => "Host",
            Fall::Itself => "Itself",
        }
    }
}

/// The VM is known not to run on its host any more. For a flow that owns it.
pub async fn lost(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    store::fell(tx, vm, Fall::Host).await
}

/// Whether the VM runs on its host is not known.
pub async fn unknown(tx: &mut Tx, vm: Id<VmInstance>, reason: &str) -> Result<()> {
    store::set_state(tx, vm, "Unknown").await?;
    tx.emit("/vm/unknown", vm.cast(), json!({ "reason": reason })).await
}

/// The host says that it has killed these VMs: when their records follow, it was the host's doing.
pub async fn felled(tx: &mut Tx, host: Id<Host>, vms: &[Id<Any>]) -> Result<()> {
    store::felled(tx, host, vms).await
}

/// Starts one that has fallen, wherever it can run.
pub async fn raise(engine: &Engine, uuid: Id<VmInstance>, name: String) -> Result<()> {
    engine.run(Start { uuid, name, host: None, isos: Vec::new() }).await.map(|_| ())
}
