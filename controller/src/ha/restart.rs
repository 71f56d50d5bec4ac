//! VMs that have fallen and shall run are started again, wherever they can, with growing pauses.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use engine::{Engine, Id, Result, Stamp};

use super::store::{self, Due};
use super::{ENABLE, LONGEST_PAUSE};
use crate::vm::{VmInstance, fallen};

/// So many start at a time.
const AT_ONCE: usize = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// One that has stayed up for so long begins anew.
const STEADY: Duration = Duration::from_secs(1800);

/// Those that are being started, or wait for their turn.
static UNDER_WAY: LazyLock<Mutex<HashSet<Id<VmInstance>>>> = LazyLock::new(Mutex::default);

struct Raising(Id<VmInstance>);

impl Raising {
    fn begin(vm: Id<VmInstance>) -> Option<Raising> {
        UNDER_WAY.lock().expect("never poisoned").insert(vm).then_some(Raising(vm))
    }
}

impl Drop for Raising {
    fn drop(&mut self) {
        UNDER_WAY.lock().expect("never poisoned").remove(&self.0);
    }
}

pub(super) async fn pass(engine: Engine) -> Result<()> {
    if !engine.setting(&ENABLE) {
        return Ok(());
    }
    for vm in store::due(&mut engine.db().read().await?).await? {
        if !engine.owns(&vm.uuid.to_string()) {
            continue;
        }
        let Some(raising) = Raising::begin(vm.uuid) else { continue };
        let ours = engine.clone();
        engine.spawn(async move {
            let _turn = ours.queues().enter("ha restarts", AT_ONCE, &vm.name).await;
            if let Err(error) = raise(&ours, &vm).await {
                tracing::warn!(vm = vm.name, %error, "is not started again yet");
            }
            drop(raising);
        })?;
    }
    Ok(())
}

/// Before it is tried is written down when it is next: what kills a controller is not done again at once.
async fn raise(engine: &Engine, vm: &Due) -> Result<()> {
    let before = if vm.tried < Stamp::now().minus(STEADY) { 0 } else { vm.attempts };
    let (uuid, pause) = (vm.uuid, pause(before, engine.setting(&LONGEST_PAUSE)));
    engine.db().write(move |tx| Box::pin(store::tries(tx, uuid, before + 1, pause))).await?;
    let Err(error) = fallen::raise(engine, uuid, vm.name.clone()).await else { return Ok(()) };
    let told = error.details().to_owned();
    engine.db().write(move |tx| Box::pin(async move { store::failed(tx, uuid, &told).await })).await?;
    Err(error)
}

/// After so many tries: 10 s, 20 s, 40 s, …
fn pause(tries: i64, longest: Duration) -> Duration {
    let doubled = u32::try_from(tries.clamp(0, 16)).unwrap_or(16);
    FIRST_PAUSE.saturating_mul(1 << doubled).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_an_end() {
        let longest = Duration::from_secs(600);
        let pauses: Vec<u64> = (0..9).map(|tries| pause(tries, longest).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(pause(i64::MAX, longest), longest);
        assert_eq!(pause(0, Duration::from_secs(1)).as_secs(), 1);
    }
}
