//! The fencers of hosts: one lease on each shared storage, from the moment that the host can use it.

use engine::boxed;
use engine::error::codes;
use engine::flow::Cx;
use engine::hook::Hook;
use engine::{Id, Result};
use wire::calls::ha::{CancelSelfFencer, SetupSelfFencer};

use super::store::Terms;
use super::{CHECK_TIMEOUT, ENABLE, FENCER_ATTEMPTS, FENCER_INTERVAL, STRATEGY, store};
use crate::host::kvm::agent;
use crate::host::{Host, HostInventory};
use crate::primary_storage::{OnHost, PrimaryStorage, PrimaryStorageInventory};

pub(super) struct Fencers;

#[boxed]
impl Hook<OnHost> for Fencers {
    async fn run(&self, cx: &Cx, at: &OnHost) -> Result<()> {
        if !at.storage.shared {
            return Ok(());
        }
        match cx.engine().setting(&ENABLE) {
            true => set_up(cx, at).await,
            false => cancel(cx, &at.host, at.storage.uuid).await,
        }
    }

    async fn undo(&self, cx: &Cx, at: &OnHost) -> Result<()> {
        match at.storage.shared {
            true => cancel(cx, &at.host, at.storage.uuid).await,
            false => Ok(()),
        }
    }
}

/// A host that is maintained has no VMs, and its storages may be taken from it.
pub(super) struct Parting;

#[boxed]
impl Hook<HostInventory> for Parting {
    async fn run(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        for lease in store::leases(&mut cx.read().await?, host.uuid).await? {
            match cancel(cx, host, lease.storage).await {
                // Maintenance does not wait for a host that is off: it has no VM any more.
                Err(error) if !error.says_nothing() => {
                    tracing::warn!(host = host.name, %error, "its fencer is not taken away");
                }
                cancelled => cancelled?,
            }
        }
        Ok(())
    }
}

/// Before the host is told, the longer of both times counts: it may hear of the new one or not.
async fn set_up(cx: &Cx, at: &OnHost) -> Result<()> {
    let engine = cx.engine();
    let (interval, attempts) = (engine.setting(&FENCER_INTERVAL), engine.setting(&FENCER_ATTEMPTS));
    let strategy = engine.setting(&STRATEGY).word();
    let terms = Terms { interval, seconds: interval * attempts, strategy };
    let (host, storage) = (at.host.uuid, at.storage.uuid);
    let setup = setup(&at.host, &at.storage, [interval, attempts, engine.setting(&CHECK_TIMEOUT)], strategy);
    if store::leases(&mut cx.read().await?, host).await?.iter().any(|lease| lease.storage == storage) {
        cx.write(move |tx| Box::pin(store::set_up_at_least(tx, host, storage, terms))).await?;
    }
    match cx.call(&agent(engine, &at.host), &setup).await {
        // Of a version without fencers: nothing will ever be evidence for it.
        Err(error) if error.is(codes::HTTP) => {
            tracing::warn!(host = at.host.name, %error, "has no fencer: it is not given up");
            cx.write(move |tx| Box::pin(store::cancelled(tx, host, storage))).await
        }
        set_up => {
            set_up?;
            cx.write(move |tx| Box::pin(store::set_up(tx, host, storage, terms))).await
        }
    }
}

fn setup(
    host: &HostInventory,
    storage: &PrimaryStorageInventory,
    [interval, attempts, timeout]: [i64; 3],
    strategy: &str,
) -> SetupSelfFencer {
    SetupSelfFencer {
        host_uuid: host.uuid.to_string(),
        interval: interval.unsigned_abs(),
        max_attempts: attempts.unsigned_abs(),
        mount_paths: vec![storage.mount_path.clone()],
        uuids: vec![storage.uuid.to_string()],
        urls: vec![storage.url.clone()],
        mount_options: vec![String::new()],
        mounted_by_zstack: vec![false],
        storage_checker_timeout: timeout.unsigned_abs(),
        strategy: strategy.to_owned(),
        fencers: Vec::new(),
    }
}

async fn cancel(cx: &Cx, host: &HostInventory, storage: Id<PrimaryStorage>) -> Result<()> {
    let cancel = CancelSelfFencer { ps_uuids: vec![storage.to_string()], host_uuid: host.uuid.to_string() };
    match cx.call(&agent(cx.engine(), host), &cancel).await {
        Err(error) if error.is(codes::HTTP) => {}
        cancelled => _ = cancelled?,
    }
    forget(cx, host.uuid, storage).await
}

async fn forget(cx: &Cx, host: Id<Host>, storage: Id<PrimaryStorage>) -> Result<()> {
    cx.write(move |tx| Box::pin(store::cancelled(tx, host, storage))).await
}
