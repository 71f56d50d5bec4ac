//! What an operator has a machine do: by its own controller, or by the agent on it.

use std::time::Duration;

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, api, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::calls::machine;

use super::super::store;
use super::{Control, OFF, Order, POWERS, until};
use crate::host::{Host, HostInventory, kvm};

/// A system that ends in good order takes its time.
const GOOD_ORDER: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(600);

/// Who tells the machine: itself, or its controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Auto,
    Agent,
    Ipmi,
}

/// What a machine shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Wish {
    On,
    Reset,
    ShutDown,
    /// Whatever runs on it.
    Off,
}

/// By the agent, or down and up again by its controller. What a machine was told is not taken back.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::ha) struct Switch {
    host: Id<Host>,
    name: String,
    wish: Wish,
    method: Method,
    /// Nobody waits until it has come to that.
    early: bool,
    by_agent: bool,
}

impl Switch {
    async fn begin(&mut self, tx: &mut Tx) -> Result<()> {
        let host: HostInventory = find(tx, self.host).await?;
        if matches!(self.wish, Wish::Reset | Wish::ShutDown) && host.state != "Maintenance" {
            let details = format!(
                "host \"{}\" is {}: put it in maintenance first, so that its VMs leave it",
                host.name, host.state
            );
            return Err(codes::STATE.because(details));
        }
        let has_control = store::power(tx, host.uuid).await?.is_some();
        self.by_agent = match (self.method, self.wish) {
            (Method::Agent, Wish::On | Wish::Off) => {
                let details =
                    format!("the agent of host \"{}\" cannot do that: it is a part of it", host.name);
                return Err(codes::INVALID_ARGUMENT.because(details));
            }
            (Method::Agent, _) => true,
            (Method::Auto, Wish::ShutDown) => host.is_connected() || !has_control,
            (Method::Auto, Wish::Reset) => !has_control,
            _ => false,
        };
        match self.by_agent || has_control {
            true => Ok(()),
            false => Err(nobody(&host)),
        }
    }

    async fn told_by_agent(&mut self, cx: &Cx) -> Result<()> {
        let host: HostInventory = find(&mut cx.read().await?, self.host).await?;
        let agent = kvm::agent(cx.engine(), &host);
        let told = match self.wish {
            Wish::Reset => cx.call(&agent, &machine::Reboot {}).await,
            _ => cx.call(&agent, &machine::Shutdown {}).await,
        };
        told.map(|_| ())
    }

    fn goes_down(&self) -> bool {
        !self.by_agent && self.wish != Wish::On
    }

    fn comes_up(&self) -> bool {
        !self.by_agent && matches!(self.wish, Wish::On | Wish::Reset)
    }

    async fn down(&mut self, cx: &Cx) -> Result<()> {
        let (order, patience) = match self.wish {
            Wish::ShutDown => (Order::ShutDown, GOOD_ORDER),
            _ => (Order::Off, OFF),
        };
        let control = control(cx, self.host).await?;
        let power = POWERS.get(&control.kind)?;
        if power.is_off(&control).await? {
            return Ok(());
        }
        power.tell(&control, order).await?;
        match self.early && !self.comes_up() {
            true => Ok(()),
            false => until(true, &control, &self.name, patience).await,
        }
    }

    async fn up(&mut self, cx: &Cx) -> Result<()> {
        let control = control(cx, self.host).await?;
        POWERS.get(&control.kind)?.tell(&control, Order::On).await?;
        match self.early {
            true => Ok(()),
            false => until(false, &control, &self.name, OFF).await,
        }
    }
}

async fn control(cx: &Cx, host: Id<Host>) -> Result<Control> {
    let mut tx = cx.read().await?;
    let host: HostInventory = find(&mut tx, host).await?;
    store::power(&mut tx, host.uuid).await?.ok_or_else(|| nobody(&host))
}

fn nobody(host: &HostInventory) -> engine::ErrorCode {
    let details =
        format!("nobody has said by what host \"{}\" is switched on and off: setHostPower does", host.name);
    codes::STATE.because(details)
}

impl Flow for Switch {
    const NAME: &'static str = "host.switch";

    fn resource(&self) -> Id<Any> {
        self.host.cast()
    }

    fn title(&self) -> String {
        let what = match self.wish {
            Wish::On => "switch on",
            Wish::Reset => "reset",
            Wish::ShutDown => "shut down",
            Wish::Off => "switch off",
        };
        format!("{what} host \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("begin", Self::begin)
            .act("agent", Self::told_by_agent)
            .unless(|switch| !switch.by_agent)
            .act("down", Self::down)
            .limit(LIMIT)
            .unless(|switch| !switch.goes_down())
            .act("up", Self::up)
            .limit(LIMIT)
            .unless(|switch| !switch.comes_up())
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<HostInventory>(tx, self.host).await
    }
}

async fn switch(job: Job, host: Id<Host>, wish: Wish, method: Method, early: bool) -> Result<Settled> {
    let host: HostInventory = find(&mut job.engine().db().read().await?, host).await?;
    job.flow(Switch { host: host.uuid, name: host.name, wish, method, early, by_agent: false }).await
}

api! {
    /// By its controller (`setHostPower`).
    PowerOnHost: PUT "/hosts/power/{uuid}/actions" "powerOnHost" {
        uuid: Id<Host>,
        return_early: Option<bool>,
    }
}

impl Api for PowerOnHost {
    const ROUTE: Route = PowerOnHost::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        switch(job, self.uuid, Wish::On, Method::Auto, self.return_early == Some(true)).await
    }
}

api! {
    /// A host in maintenance: off and on again by its controller, or restarted by its agent (`AGENT`, and `AUTO`
    /// without a controller).
    PowerResetHost: PUT "/hosts/power/{uuid}/actions" "powerResetHost" {
        uuid: Id<Host>,
        return_early: Option<bool>,
        method: Option<Method>,
    }
}

impl Api for PowerResetHost {
    const ROUTE: Route = PowerResetHost::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let method = self.method.unwrap_or_default();
        switch(job, self.uuid, Wish::Reset, method, self.return_early == Some(true)).await
    }
}

api! {
    /// A host in maintenance, in good order: by its agent (`AGENT`, and `AUTO` while it is connected), or by its
    /// controller. With `force` its controller switches it off at once, whatever runs on it.
    ShutdownHost: PUT "/hosts/power/{uuid}/actions" "shutdownHost" {
        uuid: Id<Host>,
        return_early: Option<bool>,
        force: Option<bool>,
        method: Option<Method>,
    }
}

impl Api for ShutdownHost {
    const ROUTE: Route = ShutdownHost::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let wish = if self.force == Some(true) { Wish::Off } else { Wish::ShutDown };
        switch(job, self.uuid, wish, self.method.unwrap_or_default(), self.return_early == Some(true)).await
    }
}

api! {
    /// `POWER_ON`, `POWER_OFF`, or `POWER_UNKNOWN`, as its controller says; without one, or by `AGENT`, it is on
    /// while it is connected.
    GetHostPowerStatus: PUT "/hosts/power/{uuid}/actions" "getHostPowerStatus" {
        uuid: Id<Host>,
        method: Option<Method>,
    }
}

impl Api for GetHostPowerStatus {
    const ROUTE: Route = GetHostPowerStatus::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let host: HostInventory = find(&mut tx, self.uuid).await?;
        let control = store::power(&mut tx, host.uuid).await?;
        drop(tx);
        let told = match (self.method.unwrap_or_default(), control) {
            (Method::Ipmi, None) => return Err(nobody(&host)),
            (Method::Agent, _) | (_, None) => json!({ "ipmiPowerStatus": seen(&host) }),
            (_, Some(control)) => asked(&control).await?,
        };
        let mut inventory = told;
        inventory["uuid"] = json!(host.uuid);
        job.write(move |_| Box::pin(async move { Ok(json!({ "inventory": inventory })) })).await
    }
}

fn seen(host: &HostInventory) -> &'static str {
    if host.is_connected() { "POWER_ON" } else { "POWER_UNKNOWN" }
}

/// As the controller of the machine says.
async fn asked(control: &Control) -> Result<Value> {
    let status = match POWERS.get(&control.kind)?.is_off(control).await {
        Ok(true) => "POWER_OFF",
        Ok(false) => "POWER_ON",
        Err(error) => {
            tracing::warn!(%error, "whether a machine is on is not known");
            "POWER_UNKNOWN"
        }
    };
    let url = url::Url::parse(&control.url).ok();
    let address = url.as_ref().and_then(url::Url::host_str);
    let port = url.as_ref().and_then(url::Url::port_or_known_default);
    Ok(json!({ "ipmiAddress": address, "ipmiUsername": control.username, "ipmiPort": port,
        "ipmiPowerStatus": status }))
}
