//! The host ping: finds out which hosts are lost and which are back.
//!
//! A host that was heard by its heartbeats ([`super::heartbeat`]) is not pinged; one that is not is pinged as
//! often as the setting says, and at once when it falls silent. One that does not answer is asked again at once,
//! until it has failed so often that it is lost. Pings leave at a limited rate: when a controller begins, or is
//! given the hosts of another, most of them are heard before their turn comes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use engine::inventory::find;
use engine::sweep::{By, Sweep};
use engine::{Engine, Id, Result, codes};
use futures::{StreamExt, stream};
use tokio::time::{MissedTickBehavior, interval};
use wire::tls::Peer;

use super::add::{Reconnect, set_status};
use super::driver::Facts;
use super::heartbeat::{self, Heartbeats};
use super::{Host, HostInventory, PING_INTERVAL, PING_TRIES, store};

pub(super) const SWEEP: Sweep = Sweep {
    name: "host ping",
    every: |engine| engine.setting(&PING_INTERVAL),
    by: By::Each,
    pass: |engine| Box::pin(pass(engine)),
};

pub(super) const SILENCE: Sweep = Sweep {
    name: "silent hosts",
    every: |_| Duration::from_secs(1),
    by: By::Each,
    pass: |engine| Box::pin(look_after_silent(engine)),
};

/// So many hosts are pinged at a time, and so many in a second.
const AT_ONCE: usize = 100;
const RATE: u32 = 200;

/// Pings that failed in a row. Lost at a restart, which costs a lost host some more pings.
static MISSED: LazyLock<Mutex<HashMap<Id<Host>, Missed>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Copy, Default)]
struct Missed {
    count: i64,
    /// It is lost, and asked as often as the others.
    lost: bool,
}

/// Hosts that have missed a ping and are not known to be lost.
pub fn suspects() -> Vec<Id<Host>> {
    let missed = MISSED.lock().expect("never poisoned");
    missed.iter().filter(|(_, missed)| !missed.lost).map(|(host, _)| *host).collect()
}

pub(super) async fn pass(engine: Engine) -> Result<()> {
    let mut hosts = engine.db().read_much(|tx| Box::pin(store::pinged(tx))).await?;
    hosts.retain(|host| engine.owns(&host.uuid.to_string()));
    let (beats, every) = (beats(&engine), heartbeat::interval(&engine));
    beats.retain(&hosts.iter().map(|host| host.uuid).collect());
    let believed: HashSet<_> = hosts.iter().filter(|host| host.believed).map(|host| host.uuid).collect();
    let wanted = |host: &Id<Host>| !(believed.contains(host) && beats.is_heard(*host, every));
    MISSED.lock().expect("never poisoned").retain(|host, _| wanted(host));
    ping_all(&engine, hosts.iter().map(|host| host.uuid).collect(), wanted).await;
    Ok(())
}

/// Pings those who have just missed their second heartbeat, and those who have missed a ping.
async fn look_after_silent(engine: Engine) -> Result<()> {
    let mut silent = beats(&engine).fallen_silent(heartbeat::interval(&engine));
    let suspects = suspects().into_iter().filter(|host| !silent.contains(host)).collect::<Vec<_>>();
    silent.extend(suspects);
    let ours = silent.into_iter().filter(|host| engine.owns(&host.to_string())).collect();
    ping_all(&engine, ours, |_| true).await;
    Ok(())
}

pub(super) fn beats(engine: &Engine) -> &Heartbeats {
    engine.of::<Arc<Heartbeats>>()
}

/// Pings those that are still wanted when their turn comes.
async fn ping_all(engine: &Engine, hosts: Vec<Id<Host>>, wanted: impl Fn(&Id<Host>) -> bool) {
    let mut pace = interval(Duration::from_secs(1) / RATE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let paced = stream::unfold((hosts.into_iter(), pace), |(mut hosts, mut pace)| {
        let next = hosts.find(&wanted);
        async move {
            pace.tick().await;
            next.map(|host| (host, (hosts, pace)))
        }
    });
    let pings = paced.map(|host| async move {
        if let Err(error) = ping_again(engine, host).await {
            tracing::warn!(%host, %error, "was not pinged");
        }
    });
    pings.buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Pings a host that was to be pinged when it was looked for; it may be gone, or being connected.
async fn ping_again(engine: &Engine, host: Id<Host>) -> Result<()> {
    if let Some(host) = store::pingable(&mut engine.db().read().await?, host).await? {
        ping(engine, host).await;
    }
    Ok(())
}

async fn ping(engine: &Engine, host: HostInventory) {
    let answer = match host.hypervisor() {
        Ok(hypervisor) => hypervisor.ping(engine, &host).await,
        Err(error) => Err(error),
    };
    let outcome = match answer {
        Ok(introduced) => answered(engine, host, &introduced).await,
        Err(error) => missed(engine, host, &error).await,
    };
    if let Err(error) = outcome {
        tracing::warn!(%error, "a ping had no effect");
    }
}

/// It answers. When it was lost, or does not know who it is, it is connected again.
async fn answered(engine: &Engine, host: HostInventory, introduced: &str) -> Result<()> {
    MISSED.lock().expect("never poisoned").remove(&host.uuid);
    if host.is_connected() && introduced == host.uuid.to_string() {
        return Ok(());
    }
    let flow = Reconnect { uuid: host.uuid, name: host.name, facts: Facts::default(), state: None };
    engine.run(flow).await.map(|_| ())
}

/// Connects a host again, in the background, because its agent asks for it.
pub async fn reconnect(engine: &Engine, uuid: Id<Host>, peer: Option<&Peer>) -> Result<()> {
    let host: HostInventory = find(&mut engine.db().read().await?, uuid).await?;
    host.must_be(engine, peer)?;
    let engine = engine.clone();
    tokio::spawn(async move {
        let flow = Reconnect { uuid: host.uuid, name: host.name, facts: Facts::default(), state: None };
        if let Err(error) = engine.run(flow).await {
            tracing::warn!(host = %uuid, %error, "could not be connected again");
        }
    });
    Ok(())
}

/// A host says that it goes down. Whether it does is found out by pinging it.
pub async fn went_down(engine: &Engine, ip: &str, peer: Option<&Peer>) -> Result<()> {
    let known = store::at_address(&mut engine.db().read().await?, ip).await?;
    let Some(host) = known else {
        return Err(codes::NOT_FOUND.because(format!("there is no host at {ip}")));
    };
    host.must_be(engine, peer)?;
    let engine = engine.clone();
    tokio::spawn(async move { ping(&engine, host).await });
    Ok(())
}

async fn missed(engine: &Engine, host: HostInventory, error: &engine::ErrorCode) -> Result<()> {
    let tries = engine.setting_for(&mut engine.db().read().await?, &PING_TRIES, host.uuid).await?;
    let misses = {
        let mut missed = MISSED.lock().expect("never poisoned");
        let missed = missed.entry(host.uuid).or_default();
        missed.count += 1;
        missed.lost = missed.count >= tries || !host.is_connected();
        missed.count
    };
    tracing::warn!(host = host.name, misses, %error, "a ping failed");
    if misses < tries || !host.is_connected() {
        return Ok(());
    }
    let uuid = host.uuid;
    engine.db().write(move |tx| Box::pin(set_status(tx, uuid, "Disconnected"))).await
}
