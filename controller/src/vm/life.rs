//! Starting, stopping, rebooting, pausing and resuming a VM.

use std::time::Duration;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cd_rom::{self, Needed};
use super::points::{
    AFTER_REBOOT, AFTER_START, AFTER_STOP, BEFORE_REBOOT, BEFORE_START, BEFORE_STOP, OnHost, on_host,
};
use super::{VmInstance, VmInstanceInventory, boot, create, store};
use crate::host::driver::StopMode;
use crate::host::{self, Host, HostInventory};

/// The host that a VM is on.
pub(super) async fn host_of(cx: &Cx, vm: Id<VmInstance>) -> Result<HostInventory> {
    let mut tx = cx.read().await?;
    let vm: VmInstanceInventory = find(&mut tx, vm).await?;
    find(&mut tx, place_of(&vm)?).await
}

pub(super) fn place_of(vm: &VmInstanceInventory) -> Result<Id<Host>> {
    vm.host_uuid.ok_or_else(|| codes::STATE.because(format!("vm \"{}\" is on no host", vm.name)))
}

/// The VM, when `what` can come to it and leave it.
pub(super) async fn steady(tx: &mut Tx, vm: Id<VmInstance>, what: &str) -> Result<VmInstanceInventory> {
    let vm: VmInstanceInventory = find(tx, vm).await?;
    store::on_usable_host(tx, &vm).await?;
    match vm.state.as_str() {
        "Running" | "Stopped" => Ok(vm),
        state => {
            let details =
                format!("vm \"{}\" is {state}: {what} come and go when it is Running or Stopped", vm.name);
            Err(codes::STATE.because(details))
        }
    }
}

/// Starts a stopped VM.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub uuid: Id<VmInstance>,
    pub name: String,
    pub host: Option<Id<Host>>,
    /// Those that are to be fetched.
    #[serde(default)]
    pub isos: Vec<Needed>,
}

impl Start {
    async fn starting(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        store::change_state(tx, &vm, &["Stopped"], "Starting").await?;
        self.isos = cd_rom::of_vm_needed(tx, &vm).await?;
        create::claim_again(tx, &vm, self.host).await
    }

    async fn fetch(&mut self, cx: &Cx) -> Result<()> {
        cd_rom::fetch(cx, &mut self.isos).await
    }

    async fn fetched(&mut self, tx: &mut Tx) -> Result<()> {
        cd_rom::fetched(tx, &self.isos).await
    }

    async fn stopped(&mut self, tx: &mut Tx) -> Result<()> {
        store::stopped(tx, self.uuid).await
    }

    async fn network(&mut self, cx: &Cx) -> Result<()> {
        boot::serve(cx, &host_of(cx, self.uuid).await?, self.uuid).await
    }

    async fn unserve(&mut self, cx: &Cx) -> Result<()> {
        boot::unserve(cx, &host_of(cx, self.uuid).await?, self.uuid).await
    }

    async fn start(&mut self, cx: &Cx) -> Result<()> {
        boot::start(cx, &host_of(cx, self.uuid).await?, self.uuid).await
    }

    async fn destroy(&mut self, cx: &Cx) -> Result<()> {
        let host = host_of(cx, self.uuid).await?;
        host.hypervisor()?.destroy_vm(cx, &host, &self.uuid.to_string()).await
    }

    async fn running(&mut self, tx: &mut Tx) -> Result<()> {
        store::set_state(tx, self.uuid, "Running").await
    }
}

impl Flow for Start {
    const NAME: &'static str = "vm.start";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("start vm \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("starting", Self::starting, Self::stopped)
            .act("isos", Self::fetch)
            .limit(Duration::from_secs(3600))
            .unless(|start| start.isos.is_empty())
            .record("fetched", Self::fetched)
            .point(&BEFORE_START, |start, cx| Box::pin(on_host(cx, start.uuid)))
            .act_undo("network", Self::network, Self::unserve)
            .act_undo("start", Self::start, Self::destroy)
            .point(&AFTER_START, |start, cx| Box::pin(on_host(cx, start.uuid)))
            .record("running", Self::running)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.uuid).await
    }
}

/// Stops a VM. Nobody can say that a guest which was asked to shut down still runs: what fails is tried
/// again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stop {
    pub uuid: Id<VmInstance>,
    pub name: String,
    pub mode: StopMode,
}

impl Stop {
    async fn stopping(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        store::on_usable_host(tx, &vm).await?;
        store::change_state(tx, &vm, &["Running", "Paused", "Unknown"], "Stopping").await
    }

    async fn stop(&mut self, cx: &Cx) -> Result<()> {
        wind_down(cx, self.uuid, self.mode).await
    }

    async fn stopped(&mut self, tx: &mut Tx) -> Result<()> {
        store::stopped(tx, self.uuid).await
    }
}

/// Stops the VM on its host and its networks' services for it.
pub(super) async fn wind_down(cx: &Cx, vm: Id<VmInstance>, mode: StopMode) -> Result<()> {
    let on = OnHost { runs: false, ..on_host(cx, vm).await? };
    BEFORE_STOP.run(cx, &on).await?;
    on.host.hypervisor()?.stop_vm(cx, &on.host, &vm.to_string(), mode).await?;
    boot::unserve(cx, &on.host, vm).await?;
    AFTER_STOP.run(cx, &on).await
}

impl Flow for Stop {
    const NAME: &'static str = "vm.stop";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("stop vm \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("stopping", Self::stopping)
            .act("stop", Self::stop)
            .onward()
            .record("stopped", Self::stopped)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.uuid).await
    }
}

/// What can be done to a VM on its host without moving anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum How {
    Reboot,
    Pause,
    Resume,
}

impl How {
    /// The states it may be in, the one meanwhile, the one after.
    fn states(self) -> (&'static [&'static str], &'static str, &'static str) {
        match self {
            How::Reboot => (&["Running"], "Rebooting", "Running"),
            How::Pause => (&["Running"], "Pausing", "Paused"),
            How::Resume => (&["Paused"], "Resuming", "Running"),
        }
    }
}

/// Reboots, pauses or resumes a VM.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Turn {
    pub uuid: Id<VmInstance>,
    pub name: String,
    pub how: How,
}

impl Turn {
    async fn begin(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        store::on_usable_host(tx, &vm).await?;
        let (from, meanwhile, _) = self.how.states();
        store::change_state(tx, &vm, from, meanwhile).await
    }

    async fn back(&mut self, tx: &mut Tx) -> Result<()> {
        store::back(tx, self.uuid).await
    }

    async fn act(&mut self, cx: &Cx) -> Result<()> {
        let (host, vm) = (host_of(cx, self.uuid).await?, self.uuid.to_string());
        let hypervisor = host.hypervisor()?;
        match self.how {
            How::Reboot => reboot(cx, self.uuid).await,
            How::Pause => hypervisor.pause_vm(cx, &host, &vm).await,
            How::Resume => hypervisor.resume_vm(cx, &host, &vm).await,
        }
    }

    /// The opposite, also when the first has not happened: what comes late is refused after it. A guest that
    /// was to be rebooted runs.
    async fn turn_back(&mut self, cx: &Cx) -> Result<()> {
        let (host, vm) = (host_of(cx, self.uuid).await?, self.uuid.to_string());
        let hypervisor = host.hypervisor()?;
        match self.how {
            How::Reboot => {
                let on = on_host(cx, self.uuid).await?;
                AFTER_REBOOT.undo(cx, &on).await?;
                hypervisor.resume_vm(cx, &host, &vm).await?;
                BEFORE_REBOOT.undo(cx, &on).await
            }
            How::Pause => hypervisor.resume_vm(cx, &host, &vm).await,
            How::Resume => hypervisor.pause_vm(cx, &host, &vm).await,
        }
    }

    async fn done(&mut self, tx: &mut Tx) -> Result<()> {
        let (.., after) = self.how.states();
        store::set_state(tx, self.uuid, after).await
    }
}

impl Flow for Turn {
    const NAME: &'static str = "vm.turn";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("{} vm \"{}\"", format!("{:?}", self.how).to_lowercase(), self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("begin", Self::begin, Self::back)
            .act_undo("act", Self::act, Self::turn_back)
            .record("done", Self::done)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.uuid).await
    }
}

async fn reboot(cx: &Cx, vm: Id<VmInstance>) -> Result<()> {
    let on = on_host(cx, vm).await?;
    BEFORE_REBOOT.run(cx, &on).await?;
    let order = boot::order(&mut cx.read().await?, vm).await?;
    on.host.hypervisor()?.reboot_vm(cx, &on.host, &vm.to_string(), order).await?;
    AFTER_REBOOT.run(cx, &on).await
}

/// Checks that the host a start is wanted on can take it.
pub(super) async fn check_host(tx: &mut Tx, wanted: Option<Id<Host>>) -> Result<()> {
    match wanted {
        Some(host) => host::usable(tx, host).await.map(|_| ()),
        None => Ok(()),
    }
}
