//! How much of its host a VM gets beside others, by its priority: Normal, as every VM without one, or High.

mod store;

use std::collections::BTreeMap;

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{Inventory, find, show};
use engine::module::Module;
use engine::tag::{self, Hold, SystemTag};
use engine::{Any, Id, Result, Stamp, api, codes, inventory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::calls::tuning::Priority;

use super::change::put_back;
use super::{VmInstance, VmInstanceInventory, life, store as vms};
use crate::host::{Host, HostInventory};
use crate::validate::within;

/// Marks ids of priorities.
#[derive(Debug)]
pub enum VmPriorityConfig {}

inventory! {
    /// What a priority means, as the API shows it.
    VmPriorityConfigInventory in "vm_priority_config" seen Everyone {
        uuid: Id<VmPriorityConfig>,
        account_uuid: Id<Any>,
        level: String,
        cpu_shares: i64,
        oom_score_adj: i64,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

/// A VM's priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Level {
    Normal,
    High,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Normal => "Normal",
            Level::High => "High",
        }
    }
}

pub(super) const PRIORITY: SystemTag = SystemTag {
    resource: VmInstanceInventory::KIND,
    pattern: "vmPriority::{priority}",
    help: "Normal or High: how much of its host the VM gets beside others; from the next start on",
    hold: Hold::Free,
    once: &[],
    check: |tokens| match tokens.get("priority") {
        "Normal" | "High" => Ok(()),
        other => {
            Err(codes::INVALID_ARGUMENT.because(format!("a priority is Normal or High, not \"{other}\"")))
        }
    },
};

/// The priority that is said of the VM.
async fn said(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Option<String>> {
    let tokens = tag::tokens(tx, &PRIORITY, vm.cast()).await?;
    Ok(tokens.first().map(|tokens| tokens.get("priority").to_owned()))
}

async fn meaning(tx: &mut Tx, level: &str) -> Result<VmPriorityConfigInventory> {
    let found = store::of_level(tx, level).await?;
    found.ok_or_else(|| codes::INTERNAL.because(format!("nobody knows what priority {level} means")))
}

impl VmPriorityConfigInventory {
    fn of(&self, vm: Id<Any>) -> Priority {
        Priority {
            vm_uuid: vm.to_string(),
            cpu_shares: self.cpu_shares.unsigned_abs(),
            oom_score_adj: i32::try_from(self.oom_score_adj).unwrap_or(0),
        }
    }
}

/// What a start tells the host of it: nothing of a VM that nothing is said of.
pub(super) async fn told(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Option<Priority>> {
    match said(tx, vm).await? {
        None => Ok(None),
        Some(level) => Ok(Some(meaning(tx, &level).await?.of(vm.cast()))),
    }
}

/// look → set, when it runs → say
#[derive(Debug, Serialize, Deserialize)]
struct Set {
    vm: Id<VmInstance>,
    name: String,
    level: Level,
    running: bool,
}

impl Set {
    async fn look(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.vm).await?;
        vms::on_usable_host(tx, &vm).await?;
        self.running = vm.state == "Running";
        Ok(())
    }

    async fn set(&mut self, cx: &Cx) -> Result<()> {
        self.set_to(cx, self.level.word()).await
    }

    async fn set_back(&mut self, cx: &Cx) -> Result<()> {
        let before = said(&mut cx.read().await?, self.vm).await?;
        let level = before.as_deref().unwrap_or(Level::Normal.word());
        put_back(self.vm, self.set_to(cx, level).await)
    }

    async fn set_to(&self, cx: &Cx, level: &str) -> Result<()> {
        let host = life::host_of(cx, self.vm).await?;
        let priority = meaning(&mut cx.read().await?, level).await?.of(self.vm.cast());
        host.hypervisor()?.set_priority(cx, &host, vec![priority]).await
    }

    async fn say(&mut self, tx: &mut Tx) -> Result<()> {
        let text = PRIORITY.text(&[self.level.word()]);
        tag::replace(tx, &PRIORITY, self.vm.cast(), Some(&text)).await
    }
}

impl Flow for Set {
    const NAME: &'static str = "vm.set_priority";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("set the priority of vm \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("look", Self::look)
            .act_undo("set", Self::set, Self::set_back)
            .unless(|set| !set.running)
            .record("say", Self::say)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.vm).await
    }
}

api! {
    UpdateVmPriority: PUT "/vm-instances/{uuid}/actions" "updateVmPriority" {
        uuid: Id<VmInstance>,
        priority: Level,
    }
}

impl Api for UpdateVmPriority {
    const ROUTE: Route = UpdateVmPriority::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let vm: VmInstanceInventory = find(&mut job.engine().db().read().await?, self.uuid).await?;
        job.flow(Set { vm: vm.uuid, name: vm.name, level: self.priority, running: false }).await
    }
}

/// Changes what a priority means, then tells the hosts of the VMs that have it.
#[derive(Debug, Serialize, Deserialize)]
struct Redefine {
    config: Id<VmPriorityConfig>,
    level: String,
    cpu_shares: i64,
    oom_score_adj: i64,
    before: (i64, i64),
}

impl Redefine {
    async fn define(&mut self, tx: &mut Tx) -> Result<()> {
        let config: VmPriorityConfigInventory = find(tx, self.config).await?;
        self.before = (config.cpu_shares, config.oom_score_adj);
        store::update(tx, self.config, self.cpu_shares, self.oom_score_adj).await
    }

    async fn undefine(&mut self, tx: &mut Tx) -> Result<()> {
        store::update(tx, self.config, self.before.0, self.before.1).await
    }

    async fn tell(&mut self, cx: &Cx) -> Result<()> {
        self.tell_as(cx, (self.cpu_shares, self.oom_score_adj)).await
    }

    async fn tell_back(&mut self, cx: &Cx) -> Result<()> {
        self.tell_as(cx, self.before).await
    }

    async fn tell_as(&self, cx: &Cx, (cpu_shares, oom_score_adj): (i64, i64)) -> Result<()> {
        let mut tx = cx.read().await?;
        let config: VmPriorityConfigInventory = find(&mut tx, self.config).await?;
        let config = VmPriorityConfigInventory { cpu_shares, oom_score_adj, ..config };
        let tag = PRIORITY.text(&[&self.level]);
        let mut hosts = BTreeMap::<Id<Host>, Vec<Priority>>::new();
        for (host, vm) in store::running(&mut tx, &tag).await? {
            hosts.entry(host).or_default().push(config.of(vm));
        }
        drop(tx);
        for (host, priorities) in hosts {
            let host: HostInventory = find(&mut cx.read().await?, host).await?;
            match host.hypervisor()?.set_priority(cx, &host, priorities).await {
                // One of them was stopped meanwhile: all hear of it when they start next.
                Err(error) if error.is(codes::OPERATION) => {
                    tracing::warn!(host = host.name, %error, "a priority is not what it was redefined as");
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

impl Flow for Redefine {
    const NAME: &'static str = "vm.redefine_priority";

    fn resource(&self) -> Id<Any> {
        self.config.cast()
    }

    fn title(&self) -> String {
        format!("redefine the priority {}", self.level)
    }

    fn steps() -> Steps<Self> {
        Steps::new().record_undo("define", Self::define, Self::undefine).act_undo(
            "tell",
            Self::tell,
            Self::tell_back,
        )
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmPriorityConfigInventory>(tx, self.config).await
    }
}

api! {
    /// VMs that run and have the priority hear of it; those whose hosts do not answer when they start next.
    UpdatePriorityConfig: PUT "/vm-priority-config/{uuid}/actions" "updatePriorityConfig" only admin {
        uuid: Id<VmPriorityConfig>,
        cpu_shares: Option<i64>,
        oom_score_adj: Option<i64>,
    }
}

impl Api for UpdatePriorityConfig {
    const ROUTE: Route = UpdatePriorityConfig::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let config: VmPriorityConfigInventory = find(&mut job.engine().db().read().await?, self.uuid).await?;
        let cpu_shares = self.cpu_shares.unwrap_or(config.cpu_shares);
        let oom_score_adj = self.oom_score_adj.unwrap_or(config.oom_score_adj);
        within("cpuShares", cpu_shares, 2..=262_144)?;
        within("oomScoreAdj", oom_score_adj, -1000..=1000)?;
        let before = (config.cpu_shares, config.oom_score_adj);
        let (config, level) = (config.uuid, config.level);
        job.flow(Redefine { config, level, cpu_shares, oom_score_adj, before }).await
    }
}

pub(super) fn add_to(module: Module) -> Module {
    module
        .query::<VmPriorityConfigInventory>("QueryVmPriorityConfig", "/vm-priority-config")
        .api::<UpdateVmPriority>()
        .api::<UpdatePriorityConfig>()
        .flow::<Set>()
        .flow::<Redefine>()
        .tags(&[PRIORITY])
}
