//! What operators may want of a flow: that it turns back, is tried again, or is given up.

use serde_json::{Value, json};

use super::{FlowView, LOOK_AGAIN, ended, store};
use crate::api::{Api, Job, Route, Settled};
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{Result, codes};
use crate::id::Id;
use crate::inventory::find;

pub(super) const CANCEL: &str = "cancel";
pub(super) const RETRY: &str = "retry";
pub(super) const ABANDON: &str = "abandon";

crate::api! {
    /// Turns a flow back that is at work: what it has done so far is undone.
    CancelFlow: PUT "/flows/{uuid}/actions" "cancelFlow" { uuid: Id<FlowView> }
}
crate::api! {
    /// Tries again, now, what has parked a flow.
    RetryFlow: PUT "/flows/{uuid}/actions" "retryFlow" { uuid: Id<FlowView> }
}
crate::api! {
    /// Gives a parked flow up. Its resource is free again; what was not undone stays behind, and the answer
    /// names it.
    AbandonFlow: PUT "/flows/{uuid}/actions" "abandonFlow" { uuid: Id<FlowView> }
}

impl Api for CancelFlow {
    const ROUTE: Route = CancelFlow::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let uuid = self.uuid;
        let engine = job.engine().clone();
        let wished = engine.db().write(move |tx| {
            Box::pin(async move { store::wish(tx, uuid, CANCEL, "running", &[store::FORWARD]).await })
        });
        let wished = wished.await?;
        let flow = known(&engine, uuid).await?;
        if !wished && flow.state == "running" {
            return Err(codes::STATE.because(format!("flow {uuid} is being undone already")));
        }
        let outcome = ended(&engine, uuid).await;
        if outcome.is_ok() {
            return Err(codes::STATE.because(format!("flow {uuid} (\"{}\") was done before", flow.title)));
        }
        job.write(move |tx| Box::pin(shown(tx, uuid))).await
    }
}

impl Api for RetryFlow {
    const ROUTE: Route = RetryFlow::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let uuid = self.uuid;
        job.write(move |tx| {
            Box::pin(async move {
                parked(tx, uuid, RETRY).await?;
                shown(tx, uuid).await
            })
        })
        .await
    }
}

impl Api for AbandonFlow {
    const ROUTE: Route = AbandonFlow::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let uuid = self.uuid;
        let engine = job.engine().clone();
        let wished = engine.db().write(move |tx| Box::pin(parked(tx, uuid, ABANDON))).await;
        if let Err(error) = wished
            && known(&engine, uuid).await?.state != "abandoned"
        {
            return Err(error);
        }
        while known(&engine, uuid).await?.state == "parked" {
            let _ = tokio::time::timeout(LOOK_AGAIN, engine.waiters().wait(uuid)).await;
        }
        let left = left_behind(&engine, &known(&engine, uuid).await?);
        job.write(move |tx| {
            Box::pin(async move {
                let mut answer = shown(tx, uuid).await?;
                answer["leftBehind"] = left;
                Ok(answer)
            })
        })
        .await
    }
}

async fn parked(tx: &mut Tx, uuid: Id<FlowView>, wish: &'static str) -> Result<()> {
    if store::wish(tx, uuid, wish, "parked", &[store::UNDO, store::FORWARD]).await? {
        return Ok(());
    }
    let flow: FlowView = find(tx, uuid).await?;
    Err(codes::STATE.because(format!("flow {uuid} (\"{}\") is {}, not parked", flow.title, flow.state)))
}

async fn known(engine: &Engine, uuid: Id<FlowView>) -> Result<FlowView> {
    find(&mut engine.db().read().await?, uuid).await
}

async fn shown(tx: &mut Tx, uuid: Id<FlowView>) -> Result<Value> {
    let flow: FlowView = find(tx, uuid).await?;
    let mut page = crate::inventory::present(tx, &[flow]).await?;
    Ok(json!({ "inventory": page.pop() }))
}

/// The steps whose undo was not done.
fn left_behind(engine: &Engine, flow: &FlowView) -> Value {
    let steps = engine.flow_type(&flow.name).map_or(&[][..], |known| &known.steps);
    let upto = usize::try_from(flow.step).unwrap_or(0);
    steps.iter().take(upto + 1).copied().collect()
}
