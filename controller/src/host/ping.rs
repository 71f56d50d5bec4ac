//! The host ping: finds out which hosts are lost and which are back.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use engine::inventory::find;
use engine::sweep::{By, Sweep};
use engine::{Engine, Id, Result, codes};
use futures::StreamExt;
use wire::tls::Peer;

use super::add::{Reconnect, set_status};
use super::driver::Facts;
use super::{Host, HostInventory, PING_INTERVAL, PING_TRIES, store};

pub(super) const SWEEP: Sweep = Sweep {
    name: "host ping",
    every: |engine| engine.setting(&PING_INTERVAL),
    by: By::Each,
    pass: |engine| Box::pin(pass(engine)),
};

/// So many hosts are pinged at a time.
const AT_ONCE: usize = 100;

/// Pings that failed in a row. Lost at a restart, which costs a lost host some more pings.
static MISSED: LazyLock<Mutex<HashMap<Id<Host>, i64>>> = LazyLock::new(Mutex::default);

async fn pass(engine: Engine) -> Result<()> {
    let mut hosts = store::pinged(&mut engine.db().read().await?).await?;
    hosts.retain(|host| engine.owns(&host.uuid.to_string()));
    let pings = futures::stream::iter(hosts).map(|host| ping(&engine, host));
    pings.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
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
    let flow = Reconnect { uuid: host.uuid, name: host.name, facts: Facts::default() };
    engine.run(flow).await.map(|_| ())
}

/// Connects a host again, in the background, because its agent asks for it.
pub async fn reconnect(engine: &Engine, uuid: Id<Host>, peer: Option<&Peer>) -> Result<()> {
    let host: HostInventory = find(&mut engine.db().read().await?, uuid).await?;
    host.must_be(engine, peer)?;
    let engine = engine.clone();
    tokio::spawn(async move {
        let flow = Reconnect { uuid: host.uuid, name: host.name, facts: Facts::default() };
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
    let misses = {
        let mut missed = MISSED.lock().expect("never poisoned");
        let count = missed.entry(host.uuid).or_default();
        *count += 1;
        *count
    };
    tracing::warn!(host = host.name, misses, %error, "a ping failed");
    if misses < engine.setting(&PING_TRIES) || !host.is_connected() {
        return Ok(());
    }
    let uuid = host.uuid;
    engine.db().write(move |tx| Box::pin(set_status(tx, uuid, "Disconnected"))).await
}
