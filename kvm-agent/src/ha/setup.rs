//! Sets the fencer up for storages, and takes it away.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::ha::{CancelSelfFencer, NO_LEASE, SetupSelfFencer};

use super::guard::Fencing;
use super::plan::Order;
use super::record;
use crate::localstorage::Storage;
use crate::state::Host;
use crate::sys::lease_file::LeaseFile;

/// Beyond what a lease lasts.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);
/// A lease must run out while somebody still waits for it.
const LONGEST: u64 = 300;

pub async fn set_up(cx: Cx<Host>, cmd: SetupSelfFencer) -> Result<Done, Fault> {
    let orders = orders(&cmd)?;
    for (uuid, order) in &orders {
        check(uuid, &order.mount_path).await?;
    }
    let ordered = orders.clone();
    let changed = cx.fencing.plan.change(|plan| {
        ordered.into_iter().for_each(|(uuid, order)| plan.order(&uuid, order));
    });
    changed.await?;
    cx.fencing.start()?;
    let plan = cx.fencing.plan.get().await;
    for (uuid, order) in &orders {
        let number = plan.storages.get(uuid).map_or(0, |order| order.number);
        held(&cx.fencing, uuid, number, order.terms().lasts + PATIENCE).await?;
    }
    tracing::info!(storages = ?cmd.uuids, "the fencer is set up");
    Ok(Done {})
}

pub async fn cancel(cx: Cx<Host>, cmd: CancelSelfFencer) -> Result<Done, Fault> {
    let before = cx.fencing.plan.get().await.storages;
    let named = cmd.ps_uuids.clone();
    cx.fencing.plan.change(|plan| plan.storages.retain(|uuid, _| !named.contains(uuid))).await?;
    for uuid in &cmd.ps_uuids {
        let Some(order) = before.get(uuid) else { continue };
        if !is_let_go(&cx.fencing, uuid).await {
            tracing::warn!(storage = uuid, "the storage hangs: its lease stays behind, and runs out");
            continue;
        }
        let (uuid, order) = (uuid.clone(), order.clone());
        let gone = tokio::task::spawn_blocking(move || remove(&uuid, &order));
        match timeout(PATIENCE, gone).await {
            Ok(removed) => removed??,
            Err(_) => tracing::warn!("the storage hangs: its lease stays behind, and runs out"),
        }
    }
    Ok(Done {})
}

fn orders(cmd: &SetupSelfFencer) -> Result<Vec<(String, Order)>, Fault> {
    let within = |name: &str, value: u64| match value {
        1..=LONGEST => Ok(()),
        _ => Err(Fault::new(format!("{name} {value} is not between 1 and {LONGEST}"))),
    };
    within("interval", cmd.interval)?;
    within("maxAttempts", cmd.max_attempts)?;
    within("interval * maxAttempts", cmd.interval * cmd.max_attempts)?;
    if cmd.uuids.len() != cmd.mount_paths.len() || cmd.uuids.is_empty() {
        let (uuids, paths) = (cmd.uuids.len(), cmd.mount_paths.len());
        return Err(Fault::new(format!("uuids names {uuids} storages and mountPaths {paths}")));
    }
    named("hostUuid", &cmd.host_uuid)?;
    let storages = cmd.uuids.iter().zip(&cmd.mount_paths);
    storages
        .map(|(uuid, path)| {
            named("uuids", uuid)?;
            let mount_path = Storage::at(path)?.root().to_string_lossy().into_owned();
            let order = Order {
                mount_path,
                host: cmd.host_uuid.clone(),
                interval: cmd.interval,
                max_attempts: cmd.max_attempts,
                spares: cmd.strategy == "Permissive",
                ..Order::default()
            };
            Ok((uuid.clone(), order))
        })
        .collect()
}

pub(super) fn named(member: &str, text: &str) -> Result<(), Fault> {
    let unsound = || Fault::new(format!("{member}: {text:?} is no uuid"));
    record::is_name(text).then_some(()).ok_or_else(unsound)
}

/// Whether the storage is the one that is meant; it may hang.
async fn check(uuid: &str, path: &str) -> Result<(), Fault> {
    let (storage, uuid) = (Storage::at(path)?, uuid.to_owned());
    let root = storage.root().to_owned();
    let looked = tokio::task::spawn_blocking(move || record::check_storage(&storage, &uuid));
    timeout(PATIENCE, looked).await.map_err(|_| Fault::new(format!("{root:?} does not answer")))???;
    Ok(())
}

/// Waits until the lease is held under order `number`.
async fn held(fencing: &Fencing, uuid: &str, number: u64, patience: Duration) -> Result<(), Fault> {
    let until = Instant::now() + patience;
    loop {
        let stand = fencing.ask().await.map(|standing| standing.storages.get(uuid).cloned());
        let trouble = match stand {
            Ok(Some(stand)) if stand.order >= number && stand.held => return Ok(()),
            Ok(Some(stand)) if stand.order >= number && stand.given_up => {
                return Err(Fault::coded(
                    NO_LEASE,
                    format!("storage {uuid}: {}: set it up again", stand.why),
                ));
            }
            Ok(Some(stand)) => stand.why,
            Ok(None) => "the fencer has not heard of it".into(),
            Err(fault) => fault.error,
        };
        if Instant::now() >= until {
            return Err(Fault::new(format!("the lease of storage {uuid} cannot be held: {trouble}")));
        }
        sleep(LOOK).await;
    }
}

/// Whether nobody writes the lease any more.
async fn is_let_go(fencing: &Fencing, uuid: &str) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match fencing.ask().await {
            Ok(standing) if standing.storages.contains_key(uuid) => sleep(LOOK).await,
            _ => return true,
        }
    }
    false
}

fn remove(uuid: &str, order: &Order) -> io::Result<()> {
    let storage = Storage::at(&order.mount_path).map_err(|fault| io::Error::other(fault.error))?;
    // Unmounted, or another one: there is nothing to take away.
    if record::check_storage(&storage, uuid).is_err() {
        return Ok(());
    }
    let path = record::path(&storage, &order.host);
    let Some(file) = LeaseFile::open(Path::new(&path))? else { return Ok(()) };
    file.lock(PATIENCE / 2)?;
    file.remove()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cmd() -> SetupSelfFencer {
        SetupSelfFencer {
            host_uuid: "host-1".into(),
            interval: 2,
            max_attempts: 5,
            uuids: vec!["ps-1".into()],
            mount_paths: vec!["/mnt/a/".into()],
            ..SetupSelfFencer::default()
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let (uuid, order) = orders(&cmd()).unwrap().remove(0);
        assert_eq!((uuid.as_str(), order.mount_path.as_str(), order.spares), ("ps-1", "/mnt/a", false));
        let spares = SetupSelfFencer { strategy: "Permissive".into(), ..cmd() };
        assert!(orders(&spares).unwrap()[0].1.spares);
        let refused = |cmd: SetupSelfFencer| orders(&cmd).unwrap_err().error;
        assert!(refused(SetupSelfFencer { interval: 0, ..cmd() }).starts_with("interval 0"));
        assert!(refused(SetupSelfFencer { max_attempts: 301, ..cmd() }).starts_with("maxAttempts"));
        assert!(refused(SetupSelfFencer { interval: 61, ..cmd() }).starts_with("interval * maxAttempts"));
        assert!(refused(SetupSelfFencer { uuids: Vec::new(), ..cmd() }).contains("0 storages"));
        assert!(refused(SetupSelfFencer { host_uuid: "../x".into(), ..cmd() }).starts_with("hostUuid"));
        assert!(refused(SetupSelfFencer { mount_paths: vec!["/etc".into()], ..cmd() }).contains("system"));
    }
}
