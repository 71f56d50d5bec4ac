//! Evidence by leases: other hosts watch those that the host renews on their common storages.

use std::time::Duration;

use engine::boxed;
use engine::flow::Cx;
use engine::{Engine, ErrorCode, Id, Result};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use wire::calls::ha::{FenceLease, LeaseState, LeaseWatched, WatchLease};

use super::evidence::{Case, Evidence, Proof, Sight, Silent};
use super::store::{self, Lease};
use super::{NO_EVIDENCE, Strategy};
use crate::host::HostInventory;
use crate::host::kvm::agent;

pub(super) struct Leases;

/// So many watch a lease, if there are so many.
const OBSERVERS: usize = 2;
/// For the kill to have happened after the time without a renewal, and for clocks that do not go alike.
const MARGIN: u64 = 5;
/// How long an answer may be late.
const LATE: Duration = Duration::from_secs(10);

/// What one storage shows.
enum Shown {
    Renewed(String),
    Silent(Silent),
    Nothing(String),
}

#[boxed]
impl Evidence for Leases {
    /// A lease that is renewed anywhere shows that the host lives; one that nobody can watch matters only where
    /// its VMs have disks.
    async fn look(&self, engine: &Engine, case: &Case) -> Result<Sight> {
        let leases = store::leases(&mut engine.db().read().await?, case.host.uuid).await?;
        if case.needed.is_empty() {
            return Ok(Sight::Unknown("none of its VMs has a disk on a shared storage".into()));
        }
        if let Some(lacking) = case.needed.iter().find(|one| leases.iter().all(|it| it.storage != **one)) {
            let name = store::name_of(&mut engine.db().read().await?, *lacking).await?;
            return Ok(Sight::Unknown(format!("it has no fencer on primary storage \"{name}\"")));
        }
        let mut looks: FuturesUnordered<_> =
            leases.iter().map(|lease| watch(engine, &case.host, lease)).collect();
        let (mut silent, mut nothing) = (Vec::new(), Vec::new());
        while let Some((storage, shown)) = looks.next().await {
            match shown {
                Shown::Renewed(how) => return Ok(Sight::Lives(how)),
                Shown::Silent(lease) if case.needed.contains(&storage) => silent.push(lease),
                Shown::Nothing(why) if case.needed.contains(&storage) => nothing.push(why),
                Shown::Silent(_) | Shown::Nothing(_) => {}
            }
        }
        nothing.sort();
        match nothing.is_empty() {
            true => Ok(Sight::Down(silent)),
            false => Ok(Sight::Unknown(nothing.join(", "))),
        }
    }

    /// One mark is enough, whoever makes it: the host's fencer looks for it after each renewal.
    async fn settle(&self, cx: &Cx, host: &HostInventory, proof: &Proof) -> Result<()> {
        for lease in &proof.leases {
            fence(cx, host, lease).await?;
        }
        Ok(())
    }

    fn is_total(&self) -> bool {
        false
    }
}

type OfStorage = (Id<crate::primary_storage::PrimaryStorage>, Shown);

async fn watch(engine: &Engine, host: &HostInventory, lease: &Lease) -> OfStorage {
    (lease.storage, watched(engine, host, lease).await.unwrap_or_else(|e| Shown::Nothing(e.details().into())))
}

async fn watched(engine: &Engine, host: &HostInventory, lease: &Lease) -> Result<Shown> {
    let nothing = |why: &str| Ok(Shown::Nothing(format!("primary storage \"{}\" {why}", lease.name)));
    if lease.strategy != Strategy::Force.word() {
        return nothing("is fenced permissively, and its VMs are never killed");
    }
    let observers = store::observers(&mut engine.db().read().await?, lease.storage, host.uuid).await?;
    let observers = &observers[..observers.len().min(OBSERVERS)];
    if observers.is_empty() {
        return nothing("has no other host that is connected");
    }
    let seconds = silence(lease);
    let looks = join_all(observers.iter().map(|other| ask(engine, other, host, lease, seconds))).await;
    Ok(judge(lease, seconds, observers, looks))
}

/// Seconds after which a lease that is not renewed shows that its host's VMs are dead.
fn silence(lease: &Lease) -> u64 {
    (lease.seconds + lease.interval).unsigned_abs() + MARGIN
}

async fn ask(
    engine: &Engine,
    other: &HostInventory,
    host: &HostInventory,
    lease: &Lease,
    seconds: u64,
) -> Result<LeaseWatched> {
    let watch = WatchLease {
        storage_uuid: lease.storage.to_string(),
        mount_path: lease.mount_path.clone(),
        host_uuid: host.uuid.to_string(),
        seconds,
    };
    engine.ask(&agent(engine, other), &watch, Duration::from_secs(seconds) + LATE).await
}

/// Who sees a renewal is believed before all others; who saw nothing must have looked long enough, and at the same.
fn judge(
    lease: &Lease,
    seconds: u64,
    observers: &[HostInventory],
    looks: Vec<Result<LeaseWatched>>,
) -> Shown {
    let name = &lease.name;
    let (mut silent, mut failures, mut absent) = (Vec::new(), Vec::new(), false);
    for (observer, look) in observers.iter().zip(looks) {
        match look {
            Ok(LeaseWatched { state: LeaseState::Renewed, .. }) => {
                let by = &observer.name;
                return Shown::Renewed(format!(
                    "it renews its lease on primary storage \"{name}\", says {by}"
                ));
            }
            Ok(LeaseWatched { state: LeaseState::Silent, sequence, watched }) if watched >= seconds => {
                silent.push((observer.uuid, sequence));
            }
            Ok(LeaseWatched { state: LeaseState::Silent, .. }) => {
                failures.push(format!("was not watched for long enough by {}", observer.name));
            }
            Ok(LeaseWatched { state: LeaseState::Absent, .. }) => absent = true,
            Err(error) => failures.push(format!("could not be looked at: {}", error.details())),
        }
    }
    let nothing = |why: &str| Shown::Nothing(format!("primary storage \"{name}\" {why}"));
    match silent.first() {
        _ if absent => nothing("has no lease of it, which shows nothing"),
        None => nothing(&failures.join(", ")),
        Some((_, sequence)) if silent.iter().any(|(_, other)| other != sequence) => Shown::Renewed(format!(
            "its lease on primary storage \"{name}\" is not the same for all who look"
        )),
        Some((_, sequence)) => Shown::Silent(Silent {
            storage: lease.storage,
            mount_path: lease.mount_path.clone(),
            observers: silent.iter().map(|(observer, _)| *observer).collect(),
            sequence: *sequence,
        }),
    }
}

async fn fence(cx: &Cx, host: &HostInventory, lease: &Silent) -> Result<()> {
    let fence = FenceLease {
        storage_uuid: lease.storage.to_string(),
        mount_path: lease.mount_path.clone(),
        host_uuid: host.uuid.to_string(),
        sequence: lease.sequence,
    };
    let mut failed: Option<ErrorCode> = None;
    for observer in &lease.observers {
        let observer = engine::inventory::find::<HostInventory>(&mut cx.read().await?, *observer).await?;
        match cx.call(&agent(cx.engine(), &observer), &fence).await {
            Ok(done) if done.fenced => return Ok(()),
            Ok(_) => {
                let details = format!("host \"{}\" has renewed its lease after all: it lives", host.name);
                return Err(NO_EVIDENCE.because(details));
            }
            Err(error) if error.says_nothing() => return Err(error),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| NO_EVIDENCE.because("nobody has watched it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_watched_for_longer_than_its_fencer_waits() {
        let (name, mount_path, strategy) = ("s".to_owned(), "/s".to_owned(), "Force".to_owned());
        let lease = Lease { storage: Id::of_bits(1), name, mount_path, interval: 2, seconds: 10, strategy };
        // What it waits, one renewal that was under way, and the time that the kill takes.
        assert_eq!(silence(&lease), 17);
    }
}
