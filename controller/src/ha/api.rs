use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::inventory::find;
use engine::{Id, Result, Stamp, api, codes};
use schemars::JsonSchema;
use serde::Serialize;

use super::evidence::{self, Case, Verdict};
use super::give_up::GiveUp;
use super::{NO_EVIDENCE, store};
use crate::host::{Host, HostInventory};
use crate::primary_storage::PrimaryStorage;
use crate::vm::VmInstance;

api! {
    /// What is known of a host's end, and what would be needed to know it: its leases, by what it is switched
    /// off, its VMs by the records, and those that wait for being started again.
    GetHostFencing: GET "/hosts/{uuid}/fencing" {
        uuid: Id<Host>,
    }
}

/// How giving a host up stands.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FencingTold {
    /// `None`: it never came to that.
    state: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fenced_date: Option<Stamp>,
    leases: Vec<LeaseTold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    power: Option<PowerTold>,
    vms: Vec<VmTold>,
    restarts: Vec<RestartTold>,
}

/// A lease that a host renews as long as it lives.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "HostLease")]
struct LeaseTold {
    primary_storage_uuid: Id<PrimaryStorage>,
    name: String,
    /// After so many seconds without a renewal the host kills its VMs there.
    seconds: i64,
    strategy: String,
}

/// By what a host is switched off.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HostPower")]
struct PowerTold {
    r#type: String,
    url: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "VmOfFencedHost")]
struct VmTold {
    uuid: Id<VmInstance>,
    name: String,
    state: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "VmRestart")]
struct RestartTold {
    uuid: Id<VmInstance>,
    name: String,
    attempts: i64,
    due: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Ask for GetHostFencing {
    const ROUTE: Route = GetHostFencing::ROUTE;
    type Reply = FencingTold;

    async fn answer(self, asked: Asked) -> Result<FencingTold> {
        let mut tx = asked.engine.db().read().await?;
        let host: HostInventory = find(&mut tx, self.uuid).await?;
        let stands = store::stands(&mut tx, host.uuid).await?;
        let (state, reason, evidence, fenced_date) = match stands {
            Some(one) => (one.state, one.reason, one.evidence, one.fenced_date),
            None => ("None".into(), String::new(), None, None),
        };
        let leases = store::leases(&mut tx, host.uuid).await?.into_iter().map(|lease| LeaseTold {
            primary_storage_uuid: lease.storage,
            name: lease.name,
            seconds: lease.seconds,
            strategy: lease.strategy,
        });
        let power = store::power(&mut tx, host.uuid).await?;
        let power = power.map(|control| PowerTold { r#type: control.kind, url: control.url });
        let vms = store::left(&mut tx, host.uuid).await?.into_iter();
        let vms = vms.map(|vm| VmTold { uuid: vm.uuid, name: vm.name, state: vm.state }).collect();
        let restarts = store::restarts(&mut tx, host.uuid).await?.into_iter().map(|vm| RestartTold {
            uuid: vm.uuid,
            name: vm.name,
            attempts: vm.attempts,
            due: vm.due,
            error: vm.error,
        });
        let (leases, restarts) = (leases.collect(), restarts.collect());
        Ok(FencingTold { state, reason, evidence, fenced_date, leases, power, vms, restarts })
    }
}

api! {
    /// Looks at a host that is Disconnected now, and gives it up when there is evidence that it is down; what
    /// happens by itself, but at once, and with an answer.
    GiveUpHost: PUT "/hosts/{uuid}/actions" "giveUpHost" {
        uuid: Id<Host>,
    }
}

impl Api for GiveUpHost {
    const ROUTE: Route = GiveUpHost::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let engine = job.engine().clone();
        let case = Case::of(&mut engine.db().read().await?, self.uuid).await?;
        let host = case.host.clone();
        if host.status != "Disconnected" {
            let details = format!(
                "host \"{}\" is {}: one that is Disconnected can be given up",
                host.name, host.status
            );
            return Err(codes::STATE.because(details));
        }
        match evidence::look(&engine, &case).await {
            Verdict::Down(proof) => job.flow(GiveUp::new(&host, proof)).await,
            Verdict::Lives(how) => {
                Err(NO_EVIDENCE.because(format!("host \"{}\" is alive: {how}", host.name)))
            }
            Verdict::Unknown(why) => {
                let details = format!("nobody can tell whether host \"{}\" is down: {why}", host.name);
                Err(NO_EVIDENCE.because(details))
            }
        }
    }
}
