//! Evidence by power: the machine's controller answers that it is switched off, after it was told to if need be.

mod order;
mod redfish;

use std::time::Duration;

use engine::api::{Api, Job, Route, Settled};
use engine::boxed;
use engine::cascade::DeleteMode;
use engine::driver::Family;
use engine::flow::Cx;
use engine::inventory::{find, show};
use engine::{Engine, Id, Result, api, codes};
use tokio::time::{Instant, sleep};

pub(super) use order::{GetHostPowerStatus, PowerOnHost, PowerResetHost, ShutdownHost, Switch};

use super::evidence::{Case, Evidence, Proof, Sight};
use super::store;
use crate::host::{Host, HostInventory};
use crate::validate;

/// How long a machine may take to be off once it was told to.
const OFF: Duration = Duration::from_secs(40);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// By what a machine is switched off.
#[derive(Clone, engine::db::Row)]
pub struct Control {
    pub kind: String,
    pub url: String,
    pub username: String,
    pub password: String,
    /// What its certificate is checked by, PEM.
    pub authority: Option<String>,
}

/// What a machine can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    On,
    /// At once, whatever it does.
    Off,
    /// In good order.
    ShutDown,
}

/// One kind of control.
#[boxed]
pub trait Power: Sync {
    /// Whether the machine is switched off for certain: one that is on its way is not.
    async fn is_off(&self, control: &Control) -> Result<bool>;

    /// Tells the machine. It may be so already.
    async fn tell(&self, control: &Control, order: Order) -> Result<()>;
}

/// All of them; a new one is a file and a line here.
pub static POWERS: Family<dyn Power> = Family::new("power control", &[("Redfish", &redfish::Redfish)]);

pub(super) struct Off;

#[boxed]
impl Evidence for Off {
    /// A machine is switched off for VMs that shall run elsewhere, and not when it is more likely that we see
    /// nobody than that it is down.
    async fn look(&self, engine: &Engine, case: &Case) -> Result<Sight> {
        let mut tx = engine.db().read().await?;
        let unknown = |why: &str| Ok(Sight::Unknown(why.to_owned()));
        let Some(control) = store::power(&mut tx, case.host.uuid).await? else {
            return unknown("nobody has said by what it is switched off");
        };
        if !store::has_level(&mut tx, case.host.uuid).await? {
            return unknown("it is not switched off for VMs without an ha level");
        }
        if !store::others_live(&mut tx, case.host.uuid).await? {
            return unknown("no other host of its zone answers either");
        }
        drop(tx);
        // Whether it answers: what it says is asked again.
        POWERS.get(&control.kind)?.is_off(&control).await.map(|_| Sight::Down(Vec::new()))
    }

    async fn settle(&self, cx: &Cx, host: &HostInventory, _proof: &Proof) -> Result<()> {
        let control = store::power(&mut cx.read().await?, host.uuid).await?;
        let control = control.ok_or_else(|| {
            codes::STATE
                .because(format!("nobody says any more by what host \"{}\" is switched off", host.name))
        })?;
        let power = POWERS.get(&control.kind)?;
        if power.is_off(&control).await? {
            return Ok(());
        }
        power.tell(&control, Order::Off).await?;
        until(true, &control, &host.name, OFF).await
    }

    fn is_total(&self) -> bool {
        true
    }
}

/// Until the machine is off, or is not.
async fn until(off: bool, control: &Control, host: &str, patience: Duration) -> Result<()> {
    let (power, began) = (POWERS.get(&control.kind)?, Instant::now());
    while power.is_off(control).await? != off {
        if began.elapsed() > patience {
            let (told, still) = if off { ("off", "on") } else { ("on", "off") };
            let details = format!("host \"{host}\" was told to switch {told}, and is still {still}");
            return Err(codes::TIMEOUT.because(details));
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

api! {
    /// By what a host is switched off before its VMs start elsewhere, when its leases say nothing. For `Redfish`
    /// the `url` is the system's: `https://bmc.example.org/redfish/v1/Systems/1`. The password is never shown.
    SetHostPower: PUT "/hosts/{uuid}/actions" "setHostPower" secret ["password"] {
        uuid: Id<Host>,
        r#type: String,
        url: String,
        username: String,
        password: String,
        authority: Option<String>,
    }
}

impl Api for SetHostPower {
    const ROUTE: Route = SetHostPower::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        POWERS.get(&self.r#type)?;
        validate::name("username", &self.username)?;
        let url = url::Url::parse(&self.url).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        if url.is_none() {
            let details = format!("\"url\" must be of http or https, not \"{}\"", self.url);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        job.write(move |tx| {
            Box::pin(async move {
                find::<HostInventory>(tx, self.uuid).await?;
                let Self { uuid, r#type: kind, url, username, password, authority } = self;
                store::set_power(tx, uuid, &Control { kind, url, username, password, authority }).await?;
                show::<HostInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    DeleteHostPower: DELETE "/hosts/{uuid}/power" {
        uuid: Id<Host>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteHostPower {
    const ROUTE: Route = DeleteHostPower::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<HostInventory>(tx, self.uuid).await?;
                store::no_power(tx, self.uuid).await?;
                show::<HostInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}
