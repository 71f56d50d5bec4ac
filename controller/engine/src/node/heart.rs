//! The heartbeat: joins, renews the lease, watches the others, and hands over what the dead have left.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::era::Era;
use super::lease::{Lease, Moment};
use super::ring::Ring;
use super::store::{self, Census};
use super::{Membership, Node};
use crate::clock;
use crate::engine::{Engine, WeakEngine};
use crate::error::{Result, codes};
use crate::id::Id;

/// A little later than the moment at which a lease runs out, so that one look is enough.
const AFTER_DEATH: Duration = Duration::from_millis(30);

/// Joins; from then on the controller works, era by era, until the engine is gone.
pub(crate) async fn beat(engine: &Engine, how: Membership) -> Result<()> {
    let era = join(engine, &how).await?;
    let (weak, stop) = (engine.weak(), engine.stopping());
    tokio::spawn(async move {
        tokio::select! {
            () = live(weak.clone(), era, how) => {}
            () = stop.cancelled() => leave(weak).await,
        }
    });
    Ok(())
}

async fn live(weak: WeakEngine, mut era: Arc<Era>, how: Membership) {
    loop {
        stay(&weak, &era, &how).await;
        let Some(engine) = weak.upgrade() else { return };
        tracing::error!(node = %era.id, "this controller lost its lease and has stopped its work");
        engine.eras().end();
        engine.forget_work();
        era = loop {
            match join(&engine, &how).await {
                Ok(era) => break era,
                Err(error) => tracing::warn!(%error, "this controller cannot join yet"),
            }
            sleep(how.heartbeat / 4).await;
        };
        tracing::info!(node = %era.id, "this controller works again");
    }
}

async fn join(engine: &Engine, how: &Membership) -> Result<Arc<Era>> {
    let (id, began, entered) = (Id::<Node>::random(), Moment::now(), how.clone());
    let joined = engine.db().write(move |tx| Box::pin(async move { store::join(tx, id, &entered).await }));
    joined.await?;
    let era = Arc::new(Era::new(id, Lease::new(began, how.lease)));
    engine.eras().begin(Arc::clone(&era));
    look(engine).await?;
    engine.recover();
    Ok(era)
}

/// Renews until that is no longer possible.
async fn stay(weak: &WeakEngine, era: &Arc<Era>, how: &Membership) {
    let mut pause = Duration::ZERO;
    while era.holds() {
        let left = era.lease.left();
        tokio::select! {
            () = sleep(left) => {}
            () = sleep(pause) => {}
            () = era.over() => return,
        }
        let Some(engine) = weak.upgrade() else { return };
        let limit = (how.lease / 3).min(era.lease.left());
        pause = match timeout(limit, pulse(&engine, era, how)).await {
            Ok(Ok(pause)) => pause,
            Ok(Err(error)) if error.is(codes::LOST) => return,
            Ok(Err(error)) => {
                tracing::warn!(%error, left = ?era.lease.left(), "the lease was not renewed");
                how.heartbeat / 4
            }
            Err(_) => {
                tracing::warn!(left = ?era.lease.left(), "the lease was not renewed in time");
                Duration::ZERO
            }
        };
    }
}

/// One heartbeat: the pause until the next.
async fn pulse(engine: &Engine, era: &Era, how: &Membership) -> Result<Duration> {
    let (began, id, lease) = (Moment::now(), era.id, how.lease);
    let renewed =
        engine.db().write_apart(move |tx| Box::pin(async move { store::renew(tx, id, lease).await }));
    if !renewed.await? {
        return Err(codes::LOST.because("the lease had run out"));
    }
    era.lease.renewed(began);
    let next_death = look(engine).await?;
    Ok(how.heartbeat.min(next_death.map_or(how.heartbeat, |death| death + AFTER_DEATH)))
}

/// Looks who lives; buries the dead and takes over what is now ours.
async fn look(engine: &Engine) -> Result<Option<Duration>> {
    let mut census: Census = store::census(&mut engine.db().read().await?).await?;
    if census.dead {
        let buried = engine.db().write(|tx| Box::pin(store::bury(tx))).await?;
        tracing::warn!(buried, "controllers whose lease has run out are dead");
        census = store::census(&mut engine.db().read().await?).await?;
    }
    clock::heard(census.clock.saturating_mul(1000));
    if engine.eras().see(Ring::new(census.living)) {
        tracing::info!(members = engine.eras().ring().members().len(), "the ring has changed");
        engine.recover();
    }
    Ok(census.next_death.map(|left| Duration::from_millis(left.unsigned_abs())))
}

/// The others need not wait for the lease to run out.
async fn leave(weak: WeakEngine) {
    let Some(engine) = weak.upgrade() else { return };
    let Ok(era) = engine.era() else { return };
    engine.eras().end();
    let id = era.id;
    let left = engine.db().write(move |tx| Box::pin(store::leave(tx, id)));
    if let Ok(Err(error)) = timeout(Duration::from_secs(2), left).await {
        tracing::warn!(%error, "the others will take over when the lease has run out");
    }
}
