use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{find, present, show};
use engine::{Id, Result, Stamp, api, codes};
use serde_json::json;

use super::repair::{Case, Repair};
use super::{Finding, FindingInventory, SETTLE, pass, store};
use crate::host::{self, Host};

api! {
    /// Looks now, at one host or everywhere: answers what stands and what has changed, and where nobody
    /// could look.
    RunSweep: PUT "/sweep/actions" "runSweep" {
        host_uuid: Option<Id<Host>>,
    }
}

impl Api for RunSweep {
    const ROUTE: Route = RunSweep::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let (engine, begun) = (job.engine().clone(), Stamp::now());
        if let Some(host) = self.host_uuid {
            host::usable(&mut engine.db().read().await?, host).await?;
        }
        let skipped =
            pass::run(&engine, |place| self.host_uuid.is_none_or(|host| place.uuid() == host.cast())).await?;
        job.write(move |tx| {
            Box::pin(async move {
                let told = store::told(tx, self.host_uuid, begun).await?;
                Ok(json!({ "inventories": present(tx, &told).await?, "skipped": skipped }))
            })
        })
        .await
    }
}

api! {
    RepairFinding: PUT "/sweep/findings/{uuid}/actions" "repairFinding" {
        uuid: Id<Finding>,
    }
}

impl Api for RepairFinding {
    const ROUTE: Route = RepairFinding::ROUTE;

    /// What is only suspected is not repaired, whoever asks: a command may be making it right now.
    async fn run(self, job: Job) -> Result<Settled> {
        let finding: FindingInventory = find(&mut job.engine().db().read().await?, self.uuid).await?;
        let wait = job.engine().setting(&SETTLE).as_secs();
        let refusal = match finding.state.as_str() {
            "Open" | "Ignored" => return job.flow(Repair::new(Case::of(finding)?)).await,
            "Suspected" => format!(
                "{} \"{}\" is only suspected: sweep again {wait} s after it was first seen",
                finding.kind, finding.name
            ),
            state => format!("{} \"{}\" is {state}: there is nothing to repair", finding.kind, finding.name),
        };
        Err(codes::STATE.because(refusal))
    }
}

api! {
    /// It is neither repaired nor told any more, until a repair is asked for.
    IgnoreFinding: PUT "/sweep/findings/{uuid}/actions" "ignoreFinding" {
        uuid: Id<Finding>,
    }
}

impl Api for IgnoreFinding {
    const ROUTE: Route = IgnoreFinding::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let finding: FindingInventory = find(tx, self.uuid).await?;
                if !store::ignore(tx, self.uuid).await? {
                    let (kind, name, state) = (finding.kind, finding.name, finding.state);
                    let details = format!("{kind} \"{name}\" is {state}: there is nothing to ignore");
                    return Err(codes::STATE.because(details));
                }
                show::<FindingInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}
