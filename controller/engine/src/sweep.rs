//! Periodic passes that take no input, are idempotent, and repair or report.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::engine::Engine;
use crate::error::Result;

/// A pass and how often it is made. A pass that fails is logged and made again at its time.
pub struct Sweep {
    pub name: &'static str,
    pub every: fn(&Engine) -> Duration,
    pub pass: fn(Engine) -> BoxFuture<'static, Result<()>>,
}

pub(crate) async fn run(engine: Engine, sweep: &Sweep) {
    loop {
        if let Err(error) = (sweep.pass)(engine.clone()).await {
            tracing::warn!(sweep = sweep.name, %error, "a pass failed");
        }
        tokio::time::sleep((sweep.every)(&engine)).await;
    }
}
