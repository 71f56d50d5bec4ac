//! Periodic passes that take no input, are idempotent, and repair or report.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::engine::{Engine, WeakEngine};
use crate::error::Result;

/// A pass and how often it is made. A pass that fails is logged and made again at its time.
pub struct Sweep {
    pub name: &'static str,
    pub every: fn(&Engine) -> Duration,
    pub by: By,
    pub pass: fn(Engine) -> BoxFuture<'static, Result<()>>,
}

/// Which controllers make a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The one that the ring names.
    One,
    /// Each, for what [`Engine::owns`] says is its own.
    Each,
}

/// Ends with the engine.
pub(crate) async fn run(weak: WeakEngine, sweep: &Sweep) {
    loop {
        let Some(engine) = weak.upgrade() else { return };
        pass(&engine, sweep).await;
        let pause = (sweep.every)(&engine);
        drop(engine);
        tokio::time::sleep(pause).await;
    }
}

async fn pass(engine: &Engine, sweep: &Sweep) {
    let Ok(era) = engine.era() else { return };
    if sweep.by == By::One && !engine.owns(sweep.name) {
        return;
    }
    let made = tokio::select! {
        biased;
        () = era.over() => return,
        made = (sweep.pass)(engine.clone()) => made,
    };
    if let Err(error) = made {
        tracing::warn!(sweep = sweep.name, %error, "a pass failed");
    }
}
