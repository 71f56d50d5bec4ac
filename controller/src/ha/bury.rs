//! A VM of a host that was given up: it is known to be dead, or nobody knows.

use engine::db::Tx;
use engine::flow::{Flow, Steps};
use engine::inventory::find;
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::evidence::EVIDENCE;
use super::store::{self, Unfenced};
use crate::host::Host;
use crate::vm::{VmInstance, VmInstanceInventory, fallen};

/// It owns the VM, so nothing else is done to it meanwhile.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bury {
    pub vm: Id<VmInstance>,
    pub name: String,
    pub host: Id<Host>,
}

impl Bury {
    /// What has left the host, or is there since it was connected again, is none of ours.
    async fn judge(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = match find(tx, self.vm).await {
            Err(error) if error.is(codes::NOT_FOUND) => return Ok(()),
            found => found?,
        };
        if vm.host_uuid != Some(self.host) || !store::is_given_up(tx, self.host).await? {
            return Ok(());
        }
        match self.doubt(tx, &vm).await? {
            None => {
                fallen::lost(tx, self.vm).await?;
                tx.emit("/ha/vm/lost", self.vm.cast(), json!({ "hostUuid": self.host })).await
            }
            Some(_) if vm.state == "Unknown" => Ok(()),
            Some(reason) => {
                fallen::unknown(tx, self.vm, &reason).await?;
                let told = json!({ "hostUuid": self.host, "reason": reason });
                tx.emit("/ha/vm/left", self.vm.cast(), told).await
            }
        }
    }

    /// Why it might still run, or could not run elsewhere.
    async fn doubt(&self, tx: &mut Tx, vm: &VmInstanceInventory) -> Result<Option<String>> {
        if vm.state == "Migrating" || store::moves(tx, self.vm).await? {
            return Ok(Some("it was moving, and may run on the host that it moved to: look there".into()));
        }
        let by = store::evidence(tx, self.host).await?.unwrap_or_default();
        if EVIDENCE.get(&by)?.is_total() {
            return Ok(None);
        }
        let unfenced = store::unfenced(tx, self.vm, self.host).await?;
        Ok(unfenced.first().map(|Unfenced { name, local }| match local {
            true => {
                format!("its volume \"{name}\" lies on the host that was given up: it waits for that host")
            }
            false => format!("the host was not fenced on the storage of its volume \"{name}\""),
        }))
    }
}

impl Flow for Bury {
    const NAME: &'static str = "ha.bury";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("write off vm \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new().record("judge", Self::judge)
    }
}
