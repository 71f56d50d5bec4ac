//! The judge: everything is healed, everything must have converged, and all that was promised must be true.

mod effects;
mod metadata;
mod promises;
mod store;

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::ground::{Ground, database};
use crate::hosts;
use crate::load::client::Owned;
use crate::load::history::Entry;
use store::Metadata;

/// How long everything may take to come to rest, once all is healed.
const CONVERGE: Duration = Duration::from_secs(150);

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub what: String,
    /// What it is about: for its history and its lines in logs.
    pub about: Vec<String>,
}

impl Finding {
    pub fn new(what: impl Into<String>, about: &[&str]) -> Self {
        Finding { what: what.into(), about: about.iter().map(|text| (*text).to_owned()).collect() }
    }
}

/// Waits until nothing moves any more; what is not at rest after a long while.
pub async fn converge(ground: &Ground) -> Result<(Duration, Vec<Finding>)> {
    let began = Instant::now();
    loop {
        let restless = match look().await {
            Ok(metadata) => metadata.restless(),
            Err(error) => vec![Finding::new(format!("the metadata cannot be read: {error:#}"), &[])],
        };
        let dead = dead_controllers(ground).await;
        if restless.is_empty() && dead.is_empty() {
            return Ok((began.elapsed(), Vec::new()));
        }
        if began.elapsed() > CONVERGE {
            return Ok((began.elapsed(), [restless, dead].concat()));
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// All that is wrong, once everything is at rest.
pub async fn judge(ground: &Ground, owned: &[Owned], history: &[Entry]) -> Result<Vec<Finding>> {
    let metadata = look().await?;
    let shown = hosts::tell(ground.dir(), "show").await?;
    let mut findings = promises::all(history);
    findings.extend(promises::true_of(owned, &metadata));
    findings.extend(metadata::sound(&metadata, &shown.hosts));
    findings.extend(effects::all(&shown.effects));
    Ok(findings)
}

async fn look() -> Result<Metadata> {
    let mut connection = database::connect("cumulet").await?;
    tokio::time::timeout(Duration::from_secs(20), Metadata::read(&mut connection)).await?
}

async fn dead_controllers(ground: &Ground) -> Vec<Finding> {
    let mut dead = Vec::new();
    for (number, controller) in ground.controllers.iter().enumerate() {
        let mut controller = controller.lock().await;
        if controller.has_ended() {
            let words = controller.last_words();
            dead.push(Finding::new(format!("controller c{number} has ended by itself:\n{words}"), &[]));
        }
    }
    dead
}
