//! Who observes volumes is told of all that are plugged in and out, and of those that are taken back.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use cumulet_controller::vm::points::{
    AFTER_ATTACH_VOLUME, AFTER_DETACH_VOLUME, BEFORE_ATTACH_VOLUME, BEFORE_DETACH_VOLUME, Disk,
};
use cumulet_controller::zone::Zone;
use engine::boxed;
use engine::flow::Cx;
use engine::hook::Hook;
use engine::module::Module;
use engine::{Id, Result};

static HEARD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// What was said of a volume, by the zone of its VM, and was not taken back.
static STANDS: Mutex<BTreeSet<(Id<Zone>, String, &'static str)>> = Mutex::new(BTreeSet::new());

/// All that there is to hear.
const EXPECTED: [&str; 8] = [
    "before attach",
    "after attach",
    "before detach",
    "after detach",
    "undo before attach",
    "undo after attach",
    "undo before detach",
    "undo after detach",
];

/// What is said before something, and after it.
const PAIRS: [(&str, &str); 2] = [("before attach", "after attach"), ("before detach", "after detach")];

struct Witness(&'static str);

#[boxed]
impl Hook<Disk> for Witness {
    async fn run(&self, cx: &Cx, disk: &Disk) -> Result<()> {
        in_time(cx).await?;
        hear(self.0.to_owned());
        let Some((zone, volume)) = about(disk) else { return Ok(()) };
        STANDS.lock().unwrap_or_else(PoisonError::into_inner).insert((zone, volume, self.0));
        Ok(())
    }

    async fn undo(&self, cx: &Cx, disk: &Disk) -> Result<()> {
        in_time(cx).await?;
        hear(format!("undo {}", self.0));
        let Some((zone, volume)) = about(disk) else { return Ok(()) };
        STANDS.lock().unwrap_or_else(PoisonError::into_inner).remove(&(zone, volume, self.0));
        Ok(())
    }
}

/// What a controller that was overtaken does late is no one's word: as with agents, who keeps something in memory
/// has to refuse it.
async fn in_time(cx: &Cx) -> Result<()> {
    cx.write(|_| Box::pin(async { Ok(()) })).await
}

fn about(disk: &Disk) -> Option<(Id<Zone>, String)> {
    Some((disk.vm.zone_uuid?, disk.volume.uuid.to_string()))
}

/// What was said before something was done and not after it, or the other way round, in the zone of a world where
/// nothing is under way. What was done wholly is forgotten, for it may be done again.
pub fn odd(zone: &str) -> Vec<String> {
    let mut stands = STANDS.lock().unwrap_or_else(PoisonError::into_inner);
    let said = |what: &str| -> BTreeSet<&String> {
        let of = stands.iter().filter(|one| one.2 == what && one.0.to_string() == zone);
        of.map(|one| &one.1).collect()
    };
    let odd = PAIRS.iter().flat_map(|(before, after)| {
        let (one, other) = (said(before), said(after));
        let odd: Vec<_> = one.symmetric_difference(&other).map(|volume| (*volume).clone()).collect();
        odd.into_iter().map(move |volume| format!("of {before} and {after} one stands for volume {volume}"))
    });
    let odd = odd.collect();
    stands.retain(|one| one.0.to_string() != zone);
    odd
}

fn hear(what: String) {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner).insert(what);
}

pub fn module() -> Module {
    Module::new("witness")
        .hook(&BEFORE_ATTACH_VOLUME, "witness", &Witness("before attach"))
        .hook(&AFTER_ATTACH_VOLUME, "witness", &Witness("after attach"))
        .hook(&BEFORE_DETACH_VOLUME, "witness", &Witness("before detach"))
        .hook(&AFTER_DETACH_VOLUME, "witness", &Witness("after detach"))
}

/// What nobody was told.
pub fn unheard() -> Vec<String> {
    let heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    let unheard = EXPECTED.into_iter().filter(|what| !heard.contains(*what));
    unheard.map(|what| format!("the witness was not told: {what} volume")).collect()
}
