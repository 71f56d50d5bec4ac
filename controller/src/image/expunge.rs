//! The expunge sweep: deleted images whose time is over go for good.

use engine::sweep::{By, Sweep};
use engine::{Engine, Result, Stamp};

use super::delete::Purge;
use super::{EXPUNGE_INTERVAL, EXPUNGE_PERIOD, store};

pub(super) const SWEEP: Sweep = Sweep {
    name: "image expunge",
    every: |engine| engine.setting(&EXPUNGE_INTERVAL),
    by: By::One,
    pass: |engine| Box::pin(pass(engine)),
};

pub(super) async fn pass(engine: Engine) -> Result<()> {
    let period = i64::try_from(engine.setting(&EXPUNGE_PERIOD).as_micros()).unwrap_or(i64::MAX);
    let limit = Stamp(Stamp::now().0.saturating_sub(period));
    let overdue = store::overdue(&mut engine.db().read().await?, limit).await?;
    for (image, name, copy) in overdue {
        let purge = Purge { image, name: name.clone(), copies: vec![copy] };
        if let Err(error) = engine.run(purge).await {
            tracing::warn!(image = name, %error, "could not be expunged; tried again at the next pass");
        }
    }
    Ok(())
}
