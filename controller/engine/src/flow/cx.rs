//! What an act step works with: agents, sub-flows, reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;
use wire::caller::CallError;
use wire::{Call, Fence, TaskId};

use super::fault::{Hook, Place};
use super::store::Guard;
use super::{Flow, FlowView, HOLD_AGAIN, Start, run};
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Any, Id, Stamp};
use crate::node::{self, Era};
use crate::queue::Turn;

/// Where an agent is, and what people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// `http://10.0.0.1:7070`
    pub url: String,
    /// `the kvm-agent of host "hv1"`
    pub name: String,
}

/// A turn at something, held until it is dropped.
pub enum Held {
    /// This controller is alone: a place in its queue is enough.
    Here(Turn),
    /// Among several: ownership in the database.
    Owned(Hold),
}

pub struct Hold {
    engine: Engine,
    era: Arc<Era>,
    guard: Guard,
    resource: Id<Any>,
    generation: i64,
}

/// One step of one flow at work.
pub struct Cx {
    pub(super) engine: Engine,
    pub(super) era: Arc<Era>,
    pub(super) flow: Id<FlowView>,
    pub(super) step: &'static str,
    /// Whose part of the step it is, when several act in it.
    pub(super) part: &'static str,
    pub(super) direction: &'static str,
    /// How often the step has been parked before.
    pub(super) attempt: i64,
    pub(super) resource: Id<Any>,
    pub(super) generation: i64,
    pub(super) epoch: Arc<AtomicI64>,
    pub(super) limit: Duration,
    /// What a test lets happen here.
    pub(super) at: (Hook, Place),
}

impl Cx {
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// For one of several who act in this step: what two of them do is two tasks, even if it is the same.
    #[must_use]
    pub(crate) fn within(&self, part: &'static str) -> Cx {
        Cx {
            engine: self.engine.clone(),
            era: Arc::clone(&self.era),
            epoch: Arc::clone(&self.epoch),
            at: self.at.clone(),
            part,
            ..*self
        }
    }

    pub async fn read(&self) -> Result<Tx> {
        self.engine.db().read().await
    }

    /// Has the agent carry out `command` and waits for its outcome. Repeating the step repeats nothing.
    pub async fn call<C: Call>(&self, agent: &Agent, command: &C) -> Result<C::Reply> {
        let body = serde_json::to_string(command)?;
        let (flow, attempt) = (self.flow.to_string(), self.attempt());
        let mut parts = vec![flow.as_str(), self.step, self.direction, &attempt, &agent.url, C::PATH, &body];
        parts.extend(Some(self.part).filter(|part| !part.is_empty()));
        let task = TaskId::derived(&parts);
        let deadline = Instant::now() + self.limit;
        loop {
            let fence = self.fence();
            let caller = self.engine.caller();
            match caller.call(&agent.url, &task, Some(&fence), deadline, command).await {
                Ok(reply) => return Ok(reply),
                Err(CallError::Stale(_)) => self.renew().await?,
                Err(error) => return Err(explain(agent, C::PATH, error)),
            }
        }
    }

    /// Runs `flow` to its end as a part of this step; the same `label` is the same sub-flow.
    pub async fn sub<F: Flow>(&self, label: &str, flow: F) -> Result<Value> {
        let (own, attempt) = (self.flow.to_string(), self.attempt());
        let mut parts = vec![own.as_str(), self.step, self.direction, &attempt, label];
        parts.extend(Some(self.part).filter(|part| !part.is_empty()));
        let id = Id::derived(&parts);
        let start = Start { id, job: None, parent: Some(self.guard()) };
        Box::pin(run(&self.engine, flow, start)).await
    }

    /// Writes down what an act brings with it, as long as the flow is this controller's.
    pub async fn write<T, W>(&self, unit: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        let (guard, db, (hook, place)) = (self.guard(), self.engine.db().clone(), &self.at);
        let proven = async move {
            let proven = db.write(move |tx| {
                Box::pin(async move {
                    guard.prove(tx).await?;
                    unit(tx).await
                })
            });
            proven.await
        };
        hook.writing(*place, proven).await
    }

    /// Waits until no other flow works on `resource`, and keeps others from it. Held longer than the step
    /// only when this controller dies, and then until the step is repeated or the flow ends.
    pub async fn alone_with(&self, resource: Id<Any>, who: &str) -> Result<Held> {
        match self.engine.db().is_shared() {
            true => self.hold(resource).await.map(Held::Owned),
            false => Ok(Held::Here(self.engine.queues().enter(&resource.to_string(), 1, who).await)),
        }
    }

    async fn hold(&self, resource: Id<Any>) -> Result<Hold> {
        let guard = self.guard();
        loop {
            let held = self.engine.db().write(move |tx| Box::pin(guard.hold(tx, resource)));
            match held.await? {
                Ok(generation) => {
                    let (engine, era) = (self.engine.clone(), Arc::clone(&self.era));
                    return Ok(Hold { engine, era, guard, resource, generation });
                }
                Err(owner) if owner.state == "running" => {
                    let told = self.engine.waiters().wait(owner.flow);
                    let _ = tokio::time::timeout(HOLD_AGAIN, told).await;
                }
                Err(owner) => return Err(owner.refuses()),
            }
        }
    }

    fn guard(&self) -> Guard {
        Guard { flow: self.flow, node: self.era.id, epoch: self.epoch.load(Ordering::SeqCst) }
    }

    /// A failed outcome is remembered for ever: what is tried again after that must be another task.
    fn attempt(&self) -> String {
        self.attempt.to_string()
    }

    fn fence(&self) -> Fence {
        Fence {
            resource: self.resource.to_string(),
            generation: self.generation.unsigned_abs(),
            epoch: self.epoch.load(Ordering::SeqCst).unsigned_abs(),
            deadline: Some(Stamp::now().plus(self.limit).millis()),
        }
    }

    /// "Stale" is not a failure: prove ownership again and go on, or stop with [`codes::LOST`].
    async fn renew(&self) -> Result<()> {
        let guard = self.guard();
        let fresh = self.engine.db().write(move |tx| Box::pin(guard.renew(tx))).await?;
        self.epoch.store(fresh, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Hold { guard, resource, generation, .. } = *self;
        let engine = self.engine.clone();
        node::spawn(&self.era, async move {
            let given = engine.db().write(move |tx| Box::pin(guard.let_go(tx, resource, generation)));
            if let Err(error) = given.await {
                tracing::warn!(%resource, %error, "given back when the flow ends");
            }
        });
    }
}

/// An agent's failure as the API tells it.
pub(crate) fn explain(agent: &Agent, path: &str, error: CallError) -> ErrorCode {
    let code = match &error {
        CallError::Failed(_) => codes::OPERATION,
        CallError::NotPermitted => codes::NO_LEASE,
        CallError::Refused { .. } => codes::HTTP,
        CallError::Expired(_) | CallError::Unknown { .. } => codes::TIMEOUT,
        _ => codes::IO,
    };
    let details = match error {
        CallError::Failed(fault) => format!("{}: {}", agent.name, fault.error),
        other => format!("{} at {} ({path}): {other}", agent.name, agent.url),
    };
    code.because(details)
}
