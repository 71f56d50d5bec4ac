//! What fencers tell: a host has lost a storage, and has killed its VMs there.
//!
//! Their records follow as those of any VM that is not as it should be, only at once. For a while such VMs are not
//! started on that host: known to the controller that was told; another may try once in vain.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use engine::inventory::find;
use engine::{Any, Engine, Id, Result, codes};
use serde_json::json;
use tokio::time::Instant;
use wire::calls::ha::SelfFencerReport;
use wire::tls::Peer;

use crate::host::{Host, HostInventory};
use crate::primary_storage::PrimaryStorage;
use crate::sweep;
use crate::vm::allocate::{Candidate, Filter, Look};
use crate::vm::fallen;

/// For so long nothing of the storage is started on the host.
const SPELL: Duration = Duration::from_secs(120);

type Place = (Id<Host>, Id<PrimaryStorage>);

static TROUBLED: LazyLock<Mutex<HashMap<Place, Instant>>> = LazyLock::new(Mutex::default);

/// A host has killed VMs, or would have.
pub async fn killed(engine: &Engine, report: SelfFencerReport, peer: Option<&Peer>) -> Result<()> {
    let unreadable = |what: &str| codes::INVALID_ARGUMENT.because(format!("\"{what}\" is no list of uuids"));
    let host: Id<Host> = report.host_uuid.parse().map_err(|_| unreadable("hostUuid"))?;
    let host: HostInventory = find(&mut engine.db().read().await?, host).await?;
    host.must_be(engine, peer)?;
    let storages: Result<Vec<Id<PrimaryStorage>>, _> =
        report.ps_uuids.iter().map(|one| one.parse()).collect();
    trouble(host.uuid, storages.map_err(|_| unreadable("psUuids"))?);
    let named = report.vm_uuids.split(',').map(str::trim).filter(|one| !one.is_empty());
    let vms: Result<Vec<Id<Any>>, _> = named.map(str::parse).collect();
    let vms = vms.map_err(|_| unreadable("vmUuidsString"))?;
    tracing::warn!(host = host.name, reason = report.reason, vms = vms.len(), "has lost a storage");
    let (uuid, told) = (host.uuid, json!({ "reason": report.reason, "vmUuids": vms }));
    let unit = engine.db().write(move |tx| {
        Box::pin(async move {
            fallen::felled(tx, uuid, &vms).await?;
            tx.emit("/ha/host/killed", uuid.cast(), told).await
        })
    });
    unit.await?;
    let ours = engine.clone();
    engine.spawn(async move {
        if let Err(error) = sweep::look_at(&ours, uuid).await {
            tracing::warn!(host = %uuid, %error, "its killed vms follow at the next sweep");
        }
    })
}

fn trouble(host: Id<Host>, storages: Vec<Id<PrimaryStorage>>) {
    let (now, mut troubled) = (Instant::now(), TROUBLED.lock().expect("never poisoned"));
    troubled.retain(|_, until| *until > now);
    troubled.extend(storages.into_iter().map(|storage| ((host, storage), now + SPELL)));
}

/// Keeps VMs from hosts that have just lost a storage of theirs.
pub(super) struct SelfFenced;

impl Filter for SelfFenced {
    fn refuse(&self, look: &Look<'_>, candidate: &Candidate) -> Option<String> {
        let troubled = TROUBLED.lock().expect("never poisoned");
        let lost = |storage: &Id<PrimaryStorage>| {
            troubled.get(&(candidate.host.uuid, *storage)).is_some_and(|until| *until > Instant::now())
        };
        let is_lost = !troubled.is_empty() && look.demand.storages.iter().any(lost);
        is_lost.then(|| "has lately lost the storage of its volumes".into())
    }
}
