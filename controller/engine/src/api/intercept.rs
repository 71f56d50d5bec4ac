//! Objecting to calls: who observes [`CALLS`] sees each call that changes something before it is accepted.

use crate::boxed;
use serde_json::Value;

use super::{Entry, Session};
use crate::engine::Engine;
use crate::error::Result;
use crate::hook::Point;

/// A call that may be made by who makes it, and is not accepted yet.
pub struct Calling<'c> {
    pub engine: &'c Engine,
    pub call: &'c Entry,
    pub session: &'c Session,
    /// Without secrets.
    pub params: &'c Value,
}

#[boxed]
pub trait Intercept: Sync {
    /// Refuses the call; its error is the answer. It changes nothing: the call may still fail.
    async fn check(&self, calling: &Calling<'_>) -> Result<()>;
}

pub static CALLS: Point<dyn Intercept> =
    Point::check("api call", "a call that changes something is about to be accepted");

pub(super) async fn check(engine: &Engine, call: &Entry, session: &Session, params: &Value) -> Result<()> {
    if !engine.hooks().is_observed(CALLS.name) {
        return Ok(());
    }
    let params = &engine.without_secrets(call.route.name, params.clone());
    for (_, hook) in engine.hooks().of(&CALLS) {
        hook.check(&Calling { engine, call, session, params }).await?;
    }
    Ok(())
}
