//! Adding a host, and connecting one again.

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::driver::Facts;
use super::{CONNECTING, Host, HostInventory, store};
use crate::cluster::{Cluster, ClusterInventory};

/// Adds a host: enter → connect → know → what belongs on it → connected.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Add {
    pub uuid: Id<Host>,
    pub name: String,
    pub description: Option<String>,
    pub cluster: Id<Cluster>,
    pub management_ip: String,
    pub username: String,
    pub ssh_port: i64,
    pub facts: Facts,
}

impl Add {
    async fn enter(&mut self, tx: &mut Tx) -> Result<()> {
        let cluster: ClusterInventory = find(tx, self.cluster).await?;
        store::insert(tx, self, &cluster).await?;
        store::identify(tx, self.uuid).await
    }

    async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        store::delete(tx, self.uuid).await
    }

    async fn connect(&mut self, cx: &Cx) -> Result<()> {
        self.facts = connect(cx, self.uuid).await?;
        Ok(())
    }

    async fn know(&mut self, tx: &mut Tx) -> Result<()> {
        store::know(tx, self.uuid, &self.facts).await
    }

    async fn connected(&mut self, tx: &mut Tx) -> Result<()> {
        set_status(tx, self.uuid, "Connected").await
    }
}

impl Flow for Add {
    const NAME: &'static str = "host.add";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("add host \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("enter", Self::enter, Self::forget)
            .act("connect", Self::connect)
            .limit(CONNECT_LIMIT)
            .record("know", Self::know)
            .point(&CONNECTING, |add, cx| Box::pin(host(cx, add.uuid)))
            .limit(CONNECT_LIMIT)
            .record("connected", Self::connected)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<HostInventory>(tx, self.uuid).await
    }
}

/// A host that does not answer for so long is not there.
const CONNECT_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// Connects a host again: after it was lost, and when an operator wants it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reconnect {
    pub uuid: Id<Host>,
    pub name: String,
    pub facts: Facts,
    /// The state that it has from then on, when it gets another.
    #[serde(default)]
    pub state: Option<String>,
}

impl Reconnect {
    async fn connecting(&mut self, tx: &mut Tx) -> Result<()> {
        store::identify(tx, self.uuid).await?;
        set_status(tx, self.uuid, "Connecting").await
    }

    async fn lost(&mut self, tx: &mut Tx) -> Result<()> {
        set_status(tx, self.uuid, "Disconnected").await
    }

    async fn connect(&mut self, cx: &Cx) -> Result<()> {
        self.facts = connect(cx, self.uuid).await?;
        CONNECTING.run(cx, &host(cx, self.uuid).await?).await
    }

    async fn connected(&mut self, tx: &mut Tx) -> Result<()> {
        store::know(tx, self.uuid, &self.facts).await?;
        if let Some(state) = &self.state {
            store::set_state(tx, self.uuid, state).await?;
        }
        set_status(tx, self.uuid, "Connected").await
    }
}

impl Flow for Reconnect {
    const NAME: &'static str = "host.reconnect";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("reconnect host \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("connecting", Self::connecting, Self::lost)
            .act("connect", Self::connect)
            .limit(CONNECT_LIMIT)
            .record("connected", Self::connected)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<HostInventory>(tx, self.uuid).await
    }
}

async fn connect(cx: &Cx, uuid: Id<Host>) -> Result<Facts> {
    let host = host(cx, uuid).await?;
    host.hypervisor()?.connect(cx, &host).await
}

async fn host(cx: &Cx, uuid: Id<Host>) -> Result<HostInventory> {
    find(&mut cx.read().await?, uuid).await
}

/// Changes the status and says so.
pub(super) async fn set_status(tx: &mut Tx, uuid: Id<Host>, status: &str) -> Result<()> {
    if store::set_status(tx, uuid, status).await? {
        tx.emit("/host/status/changed", uuid.cast(), json!({ "status": status })).await?;
    }
    Ok(())
}
