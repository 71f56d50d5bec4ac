use engine::db::Tx;
use engine::{Id, Result, args};

use super::{Candidate, Demand, Page};
use crate::host::Host;

/// Read in the order of an index: the first hosts that fit are the ones.
const EMPTIEST: &str = "SELECT * FROM host_candidate WHERE state = 'Enabled' AND status = 'Connected' \
     AND cluster_state = 'Enabled' AND zone_state = 'Enabled' \
     AND (CAST($1 AS TEXT) IS NULL OR zone_uuid = $1) AND (CAST($2 AS TEXT) IS NULL OR cluster_uuid = $2) \
     AND hypervisor_type = $3 AND cpu_room >= $4 AND memory_room >= $5 \
     ORDER BY vms, uuid LIMIT $6 OFFSET $7";
/// The same, few and from the beginning: PostgreSQL reads an index only when it knows that they are few.
pub(super) const FIRST: &str = "SELECT * FROM host_candidate WHERE state = 'Enabled' AND status = 'Connected' \
     AND cluster_state = 'Enabled' AND zone_state = 'Enabled' \
     AND (CAST($1 AS TEXT) IS NULL OR zone_uuid = $1) AND (CAST($2 AS TEXT) IS NULL OR cluster_uuid = $2) \
     AND hypervisor_type = $3 AND cpu_room >= $4 AND memory_room >= $5 \
     ORDER BY vms, uuid LIMIT 4";
/// Sorted by a piece of their uuids, from somewhere on and around.
const BY_CHANCE: &str = "SELECT * FROM host_candidate WHERE state = 'Enabled' AND status = 'Connected' \
     AND cluster_state = 'Enabled' AND zone_state = 'Enabled' \
     AND (CAST($1 AS TEXT) IS NULL OR zone_uuid = $1) AND (CAST($2 AS TEXT) IS NULL OR cluster_uuid = $2) \
     AND hypervisor_type = $3 AND cpu_room >= $4 AND memory_room >= $5 \
     ORDER BY CASE WHEN substr(uuid, CAST($8 AS INTEGER)) < $9 THEN 1 ELSE 0 END, \
        substr(uuid, CAST($8 AS INTEGER)), uuid LIMIT $6 OFFSET $7";
const THAT_HOST: &str = "SELECT * FROM host_candidate WHERE uuid = $1 \
     AND (CAST($2 AS TEXT) IS NULL OR zone_uuid = $2) AND (CAST($3 AS TEXT) IS NULL OR cluster_uuid = $3)";
const SCOPE: &str = "SELECT * FROM host_candidate \
     WHERE (CAST($1 AS TEXT) IS NULL OR zone_uuid = $1) AND (CAST($2 AS TEXT) IS NULL OR cluster_uuid = $2) \
     AND (CAST($3 AS TEXT) IS NULL OR uuid = $3) ORDER BY uuid LIMIT $4";
const SCOPE_SIZE: &str = "SELECT count(*) FROM host \
     WHERE (CAST($1 AS TEXT) IS NULL OR zone_uuid = $1) AND (CAST($2 AS TEXT) IS NULL OR cluster_uuid = $2) \
     AND (CAST($3 AS TEXT) IS NULL OR uuid = $3)";

fn wanted(demand: &Demand, page: Page) -> Vec<engine::db::Value> {
    let mut values = args![demand.zone, demand.cluster, &demand.hypervisor, demand.cpu, demand.memory];
    values.extend(args![page.limit, page.skip]);
    values
}

/// Those in scope that have the room, the one with the fewest VMs first.
pub(super) async fn emptiest(tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Candidate>> {
    let mut values = wanted(demand, page);
    match page.is_first() {
        true => {
            values.truncate(5);
            tx.all(FIRST, values).await
        }
        false => tx.all(EMPTIEST, values).await,
    }
}

/// Those in scope that have the room, as chance has it.
pub(super) async fn by_chance(tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Candidate>> {
    // One of several pieces, for it is not always the same host that comes behind a wide gap between uuids. The
    // thirteenth digit and the seventeenth are not by chance.
    let piece = match i64::try_from(page.chance % 13).unwrap_or(0) {
        early @ 0..5 => early + 1,
        late => late + 13,
    };
    let mut values = wanted(demand, page);
    values.extend(args![piece, format!("{:08x}", page.chance >> 32)]);
    tx.all(BY_CHANCE, values).await
}

/// The host, if it is in scope.
pub(super) async fn that_host(tx: &mut Tx, demand: &Demand, host: Id<Host>) -> Result<Option<Candidate>> {
    tx.opt(THAT_HOST, args![host, demand.zone, demand.cluster]).await
}

/// Some of the hosts that the VM might be on, whatever their state.
pub(super) async fn some_in_scope(tx: &mut Tx, demand: &Demand, most: usize) -> Result<Vec<Candidate>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    tx.all(SCOPE, args![demand.zone, demand.cluster, demand.host, most]).await
}

/// How many there are of them.
pub(super) async fn count_in_scope(tx: &mut Tx, demand: &Demand) -> Result<usize> {
    let count = tx.number(SCOPE_SIZE, args![demand.zone, demand.cluster, demand.host]).await?;
    Ok(usize::try_from(count).unwrap_or(0))
}
