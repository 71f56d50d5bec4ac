use engine::boxed;
use engine::db::Tx;
use engine::{Id, Result};

use super::{Candidate, Filter, Look, needed, size};
use crate::host::Host;
use crate::primary_storage::{self, PrimaryStorage};
use crate::vm::allocate::{Demand, Disk};

/// It has the storages of volumes that exist, and one that takes the disk, and its image when it is not cached.
pub(super) struct HostPrimaryStorage;

#[boxed]
impl Filter for HostPrimaryStorage {
    async fn refuse_asking(
        &self,
        tx: &mut Tx,
        look: &mut Look<'_>,
        host: &Candidate,
    ) -> Result<Option<String>> {
        if let Some(storage) = primary_storage::lacking(tx, host.host.uuid, &look.demand.storages).await? {
            return Ok(Some(format!("has not the primary storage \"{storage}\" of its volumes")));
        }
        let Some(disk) = &look.demand.disk else { return Ok(None) };
        let wanted = wanted(tx, look.demand, disk, host.host.uuid).await?;
        look.storage = wanted.iter().find(|one| takes(disk, one)).map(|one| one.storage);
        Ok(match (look.storage, wanted.first()) {
            (Some(_), _) => None,
            (None, None) => Some("has no primary storage that the disk may lie on".into()),
            (None, Some(most)) => Some(format!(
                "has no primary storage with enough room: {} are left, {} are needed",
                size(most.available),
                needed(need(disk, most))
            )),
        })
    }
}

/// The storages of the host that may take the disk, the emptiest first.
async fn wanted(
    tx: &mut Tx,
    demand: &Demand,
    disk: &Disk,
    host: Id<Host>,
) -> Result<Vec<primary_storage::Candidate>> {
    let mut candidates = primary_storage::candidates(tx, host, &disk.image).await?;
    candidates.retain(|one| demand.storage.is_none_or(|wanted| one.storage == wanted));
    Ok(candidates)
}

fn need(disk: &Disk, storage: &primary_storage::Candidate) -> i64 {
    disk.size + disk.more + if storage.cached { 0 } else { disk.image_size }
}

fn takes(disk: &Disk, storage: &primary_storage::Candidate) -> bool {
    storage.available >= need(disk, storage)
}

/// Those that have the room.
pub(in crate::vm::allocate) async fn roomy(
    tx: &mut Tx,
    demand: &Demand,
    disk: &Disk,
    host: Id<Host>,
) -> Result<Vec<Id<PrimaryStorage>>> {
    let wanted = wanted(tx, demand, disk, host).await?;
    Ok(wanted.iter().filter(|one| takes(disk, one)).map(|one| one.storage).collect())
}
