//! Taking a host out of use: it gets no more VMs, those that it has leave it, and then nobody asks after it.

use std::time::Duration;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Host, HostInventory, MAINTAINING, store};

/// A host may have many VMs, and they may have large disks.
const EVACUATION: Duration = Duration::from_secs(86_400);

/// begin → evacuate → maintained. VMs that have left do not come back: what fails is tried again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Maintain {
    pub uuid: Id<Host>,
    pub name: String,
}

impl Maintain {
    async fn begin(&mut self, tx: &mut Tx) -> Result<()> {
        let host: HostInventory = super::usable(tx, self.uuid).await?;
        if !["Enabled", "Disabled", "PreMaintenance"].contains(&host.state.as_str()) {
            return Err(codes::STATE.because(format!("host \"{}\" is in {} already", host.name, host.state)));
        }
        store::set_state(tx, self.uuid, "PreMaintenance").await
    }

    async fn evacuate(&mut self, cx: &Cx) -> Result<()> {
        let host: HostInventory = find(&mut cx.read().await?, self.uuid).await?;
        MAINTAINING.run(cx, &host).await
    }

    async fn maintained(&mut self, tx: &mut Tx) -> Result<()> {
        store::set_state(tx, self.uuid, "Maintenance").await
    }
}

impl Flow for Maintain {
    const NAME: &'static str = "host.maintain";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("maintain host \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("begin", Self::begin)
            .act("evacuate", Self::evacuate)
            .limit(EVACUATION)
            .onward()
            .record("maintained", Self::maintained)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<HostInventory>(tx, self.uuid).await
    }
}
