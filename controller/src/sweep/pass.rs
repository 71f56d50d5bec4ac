//! One pass: ask, compare, enter, repair what may be repaired.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use engine::db::{Tx, Value};
use engine::{Any, Engine, Id, Result, Stamp};
use futures::StreamExt;
use wire::agent::Owned;

use super::kind::{self, KINDS, VM_STATE};
use super::place::{self, Place, Program};
use super::repair::{Case, Repair};
use super::store::{self, Drift};
use super::{Finding, FindingInventory};
use crate::host::HostInventory;
use crate::host::driver::VmState;
use crate::primary_storage;
use crate::vm::drift::{self, Stand};

/// So many places are asked at a time.
const AT_ONCE: usize = 32;
/// What is over is kept for so long.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// A place that could not be looked at, and why.
#[derive(Debug, serde::Serialize)]
pub(super) struct Skipped {
    place: String,
    reason: String,
}

/// What one program's answer says.
struct Verdict {
    /// The kinds that were judged.
    kinds: HashSet<&'static str>,
    drifts: Vec<Drift>,
    /// What must not be judged now.
    moving: HashSet<Id<Finding>>,
}

pub(super) async fn regular(engine: Engine) -> Result<()> {
    let ours = |place: &Place| engine.owns(&place.uuid().to_string());
    for Skipped { place, reason } in run(&engine, ours).await? {
        tracing::warn!(place, reason, "could not be swept");
    }
    let kept = i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX);
    let limit = Stamp(Stamp::now().0.saturating_sub(kept));
    engine.db().write(move |tx| Box::pin(async move { store::expire(tx, limit).await })).await
}

/// Looks at every place that is wanted and answers.
pub(super) async fn run(engine: &Engine, wanted: impl Fn(&Place) -> bool) -> Result<Vec<Skipped>> {
    let mut places = Place::all(&mut engine.db().read().await?).await?;
    place::forget_others(engine, &places);
    places.retain(wanted);
    let looks = futures::stream::iter(places).map(|place| async move {
        let looked = look(engine, &place).await;
        looked.err().map(|error| Skipped { place: place.title(), reason: error.to_string() })
    });
    Ok(looks.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await)
}

/// One look at a place at a time, whoever wants it.
async fn look(engine: &Engine, place: &Place) -> Result<()> {
    let _turn = engine.queues().enter(&format!("sweep {}", place.uuid()), 1, "sweep").await;
    let begun = Stamp::now();
    if is_moving(engine, place).await? {
        return Ok(());
    }
    place.check_ours(engine).await?;
    if let Place::Host(host) = place {
        let verdict = vm_states(engine, host).await?;
        enter(engine, place, verdict).await?;
    }
    let elsewhere = match place {
        Place::Host(host) => {
            primary_storage::kept_elsewhere(&mut engine.db().read().await?, host.uuid).await?
        }
        Place::Storage(_) => Vec::new(),
    };
    for program in Program::ALL {
        let Some(things) = program.inventory(engine, place).await? else { continue };
        let things = but_those_below(things, &elsewhere);
        let verdict = judge(engine, place, program, &things).await?;
        enter(engine, place, verdict).await?;
    }
    repair(engine, place, begun).await
}

/// What several hosts have in common one of them answers for.
fn but_those_below(things: Arc<Vec<Owned>>, dirs: &[String]) -> Arc<Vec<Owned>> {
    if dirs.is_empty() {
        return things;
    }
    let below = |thing: &Owned, dir: &String| {
        thing.name.strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    let ours = |thing: &&Owned| !dirs.iter().any(|dir| below(thing, dir));
    Arc::new(things.iter().filter(ours).cloned().collect())
}

/// A host that is being connected or deleted is not judged.
async fn is_moving(engine: &Engine, place: &Place) -> Result<bool> {
    let moving = store::moving(&mut engine.db().read().await?, vec![place.uuid().into()]).await?;
    Ok(!moving.is_empty())
}

/// A difference is certain when no flow has owned the VM from before it was asked until after.
async fn vm_states(engine: &Engine, host: &HostInventory) -> Result<Verdict> {
    let before = drift::on_host(&mut engine.db().read().await?, host.uuid).await?;
    let told = host.hypervisor()?.vm_states(engine, host).await?;
    let mut tx = engine.db().read().await?;
    let mut after = drift::on_host(&mut tx, host.uuid).await?;
    let there: Vec<&str> = told.keys().map(String::as_str).collect();
    after.extend(drift::off_hosts(&mut tx, host.uuid, &there).await?);
    let mut verdict = Verdict::of([VM_STATE.name]);
    for vm in after {
        let found = told.get(&vm.uuid.to_string()).copied().unwrap_or(VmState::Absent);
        let certain = before.contains(&vm);
        let place = Place::Host(Box::new(host.clone()));
        match drift::becomes(&vm.state, found) {
            _ if vm.busy => verdict.moving(&place, state_drift(host, &vm, "", certain)),
            Some(to) => verdict.drifts.push(state_drift(host, &vm, to, certain)),
            None => {}
        }
    }
    Ok(verdict)
}

fn state_drift(host: &HostInventory, vm: &Stand, to: &str, certain: bool) -> Drift {
    let uuid = vm.uuid.to_string();
    let detail =
        format!("vm \"{}\" is {} in the records and {to} on host \"{}\"", vm.name, vm.state, host.name);
    let thing = Owned { kind: VM_STATE.name.into(), name: uuid.clone(), resource: Some(uuid) };
    Drift { kind: &VM_STATE, thing, detail: Some(detail), certain }
}

async fn judge(engine: &Engine, place: &Place, program: Program, things: &[Owned]) -> Result<Verdict> {
    let mut tx = engine.db().read().await?;
    let owners = things.iter().filter_map(kind::owner).map(Value::from).collect();
    let moving = store::moving(&mut tx, owners).await?;
    let still = |thing: &Owned| kind::owner(thing).is_none_or(|owner| !moving.contains(&owner));
    let mut verdict = Verdict::of([]);
    for kind in KINDS.iter().filter(|kind| kind.program == program) {
        let Some(listed) = &kind.listed else { continue };
        let (resting, in_motion): (Vec<&Owned>, Vec<&Owned>) =
            things.iter().filter(|thing| thing.kind == listed.kind).partition(|thing| still(thing));
        let drift = |thing: &Owned| Drift { kind, thing: thing.clone(), detail: None, certain: false };
        in_motion.into_iter().for_each(|thing| verdict.moving(place, drift(thing)));
        let resting: Vec<&Owned> = resting.into_iter().filter(|thing| !verdict.has(thing)).collect();
        let Some(unknown) = listed.unknown(&mut tx, place.uuid(), &resting).await? else { continue };
        let parts = |thing: &&Owned| listed.part_of.is_some_and(|whole| verdict.has_part(whole, thing));
        let new: Vec<Drift> = unknown.into_iter().filter(|thing| !parts(thing)).map(drift).collect();
        verdict.drifts.extend(new);
        verdict.kinds.insert(kind.name);
    }
    Ok(verdict)
}

impl Verdict {
    fn of(kinds: impl IntoIterator<Item = &'static str>) -> Verdict {
        Verdict { kinds: kinds.into_iter().collect(), drifts: Vec::new(), moving: HashSet::new() }
    }

    fn moving(&mut self, place: &Place, drift: Drift) {
        self.moving.insert(drift.id(place));
    }

    /// An earlier kind has taken the thing.
    fn has(&self, thing: &Owned) -> bool {
        self.drifts.iter().any(|drift| drift.thing == *thing)
    }

    /// It goes with a thing that is nobody's itself.
    fn has_part(&self, whole: &str, part: &Owned) -> bool {
        self.drifts.iter().any(|drift| drift.thing.kind == whole && drift.thing.resource == part.resource)
    }
}

/// Enters what was seen, and that the rest is not so any more. Nothing is written when there is nothing.
async fn enter(engine: &Engine, place: &Place, verdict: Verdict) -> Result<()> {
    let standing = store::standing(&mut engine.db().read().await?, place.uuid()).await?;
    if standing.is_empty() && verdict.drifts.is_empty() {
        return Ok(());
    }
    let place = place.clone();
    engine.db().write(move |tx| Box::pin(async move { verdict.enter(tx, &place, standing).await })).await
}

impl Verdict {
    async fn enter(self, tx: &mut Tx, place: &Place, standing: Vec<FindingInventory>) -> Result<()> {
        let engine = tx.engine();
        let seen: HashMap<Id<Finding>, &Drift> =
            self.drifts.iter().map(|drift| (drift.id(place), drift)).collect();
        for finding in standing {
            if self.moving.contains(&finding.uuid) {
                store::unsuspect(tx, finding.uuid).await?;
            } else if self.kinds.contains(finding.kind.as_str()) && !seen.contains_key(&finding.uuid) {
                store::is_gone(tx, finding.uuid).await?;
            }
        }
        for drift in seen.into_values() {
            store::seen(tx, place, drift, engine.setting(drift.kind.consent)).await?;
        }
        Ok(())
    }
}

/// Repairs what is ripe, one after another. What fails is told with the finding and tried again.
async fn repair(engine: &Engine, place: &Place, begun: Stamp) -> Result<()> {
    for finding in store::ripe(&mut engine.db().read().await?, place.uuid(), begun).await? {
        let uuid = finding.uuid;
        let case = Case::of(finding)?;
        // One that is being worked on has its turn at the next pass, rather than to hold this one up.
        if is_owned(engine, case.owner).await? {
            continue;
        }
        if let Err(error) = engine.run(Repair::new(case)).await {
            tracing::warn!(finding = %uuid, %error, "could not be repaired");
            let told = error.to_string();
            let noted =
                engine.db().write(move |tx| Box::pin(async move { store::tried(tx, uuid, &told).await }));
            noted.await?;
        }
    }
    Ok(())
}

async fn is_owned(engine: &Engine, owner: Id<Any>) -> Result<bool> {
    Ok(!store::moving(&mut engine.db().read().await?, vec![owner.into()]).await?.is_empty())
}
