use engine::db::{Tx, Value};
use engine::{Any, Id, Result, args};

const HOSTS_OF_ZONES: &str = "SELECT zone_uuid AS resource, hypervisor_type AS hypervisor, \
     CAST(sum(total_cpu_capacity) AS BIGINT) AS total_cpu, \
     CAST(sum(available_cpu_capacity) AS BIGINT) AS available_cpu, \
     CAST(sum(total_memory_capacity) AS BIGINT) AS total_memory, \
     CAST(sum(available_memory_capacity) AS BIGINT) AS available_memory, \
     CAST(sum(cpu_num) AS BIGINT) AS managed_cpu FROM host_view WHERE zone_uuid IN ($*) \
     GROUP BY zone_uuid, hypervisor_type ORDER BY zone_uuid";
const HOSTS_OF_CLUSTERS: &str = "SELECT cluster_uuid AS resource, hypervisor_type AS hypervisor, \
     CAST(sum(total_cpu_capacity) AS BIGINT) AS total_cpu, \
     CAST(sum(available_cpu_capacity) AS BIGINT) AS available_cpu, \
     CAST(sum(total_memory_capacity) AS BIGINT) AS total_memory, \
     CAST(sum(available_memory_capacity) AS BIGINT) AS available_memory, \
     CAST(sum(cpu_num) AS BIGINT) AS managed_cpu FROM host_view WHERE cluster_uuid IN ($*) \
     GROUP BY cluster_uuid, hypervisor_type ORDER BY cluster_uuid";
const HOSTS: &str = "SELECT uuid AS resource, hypervisor_type AS hypervisor, \
     CAST(sum(total_cpu_capacity) AS BIGINT) AS total_cpu, \
     CAST(sum(available_cpu_capacity) AS BIGINT) AS available_cpu, \
     CAST(sum(total_memory_capacity) AS BIGINT) AS total_memory, \
     CAST(sum(available_memory_capacity) AS BIGINT) AS available_memory, \
     CAST(sum(cpu_num) AS BIGINT) AS managed_cpu FROM host_view WHERE uuid IN ($*) \
     GROUP BY uuid, hypervisor_type ORDER BY uuid";
const STORAGES_OF_ZONES: &str = "SELECT p.zone_uuid AS resource, CAST(sum(p.total_capacity) AS BIGINT) AS total, \
     CAST(sum(p.available_capacity) AS BIGINT) AS available, \
     CAST(sum(p.total_physical_capacity) AS BIGINT) AS total_physical, \
     CAST(sum(p.available_physical_capacity) AS BIGINT) AS available_physical FROM primary_storage_view p \
     WHERE p.zone_uuid IN ($*) GROUP BY p.zone_uuid ORDER BY p.zone_uuid";
const STORAGES_OF_CLUSTERS: &str = "SELECT c.cluster_uuid AS resource, CAST(sum(p.total_capacity) AS BIGINT) AS total, \
     CAST(sum(p.available_capacity) AS BIGINT) AS available, \
     CAST(sum(p.total_physical_capacity) AS BIGINT) AS total_physical, \
     CAST(sum(p.available_physical_capacity) AS BIGINT) AS available_physical FROM primary_storage_view p \
     JOIN primary_storage_cluster c ON c.primary_storage_uuid = p.uuid AND c.state = 'Attached' \
     WHERE c.cluster_uuid IN ($*) GROUP BY c.cluster_uuid ORDER BY c.cluster_uuid";
const STORAGES: &str = "SELECT p.uuid AS resource, CAST(sum(p.total_capacity) AS BIGINT) AS total, \
     CAST(sum(p.available_capacity) AS BIGINT) AS available, \
     CAST(sum(p.total_physical_capacity) AS BIGINT) AS total_physical, \
     CAST(sum(p.available_physical_capacity) AS BIGINT) AS available_physical FROM primary_storage_view p \
     WHERE p.uuid IN ($*) GROUP BY p.uuid ORDER BY p.uuid";
const BACKUPS_OF_ZONES: &str = "SELECT z.zone_uuid AS resource, CAST(sum(b.total_capacity) AS BIGINT) AS total, \
     CAST(sum(b.available_capacity) AS BIGINT) AS available, CAST(0 AS BIGINT) AS total_physical, \
     CAST(0 AS BIGINT) AS available_physical FROM backup_storage b \
     JOIN backup_storage_zone z ON z.backup_storage_uuid = b.uuid \
     WHERE z.zone_uuid IN ($*) GROUP BY z.zone_uuid ORDER BY z.zone_uuid";
const BACKUPS: &str = "SELECT b.uuid AS resource, CAST(sum(b.total_capacity) AS BIGINT) AS total, \
     CAST(sum(b.available_capacity) AS BIGINT) AS available, CAST(0 AS BIGINT) AS total_physical, \
     CAST(0 AS BIGINT) AS available_physical FROM backup_storage b \
     WHERE b.uuid IN ($*) GROUP BY b.uuid ORDER BY b.uuid";
const ALL_ZONES: &str = "SELECT uuid FROM zone";
const ALL_STORAGES: &str = "SELECT uuid FROM primary_storage";
const ALL_BACKUPS: &str = "SELECT uuid FROM backup_storage";

/// What the hosts of one kind have together.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Hosts {
    pub resource: Id<Any>,
    pub hypervisor: String,
    pub total_cpu: i64,
    pub available_cpu: i64,
    /// Bytes.
    pub total_memory: i64,
    pub available_memory: i64,
    /// Processors, each counted once.
    pub managed_cpu: i64,
}

/// What storages have together, bytes.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Space {
    pub resource: Id<Any>,
    pub total: i64,
    pub available: i64,
    pub total_physical: i64,
    pub available_physical: i64,
}

/// What sums are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Zone,
    Cluster,
    /// Each for itself.
    One,
}

pub(super) async fn hosts(tx: &mut Tx, by: By, of: &[Id<Any>]) -> Result<Vec<Hosts>> {
    let sql = match by {
        By::Zone => HOSTS_OF_ZONES,
        By::Cluster => HOSTS_OF_CLUSTERS,
        By::One => HOSTS,
    };
    tx.all_of(sql, values(of)).await
}

pub(super) async fn primary(tx: &mut Tx, by: By, of: &[Id<Any>]) -> Result<Vec<Space>> {
    let sql = match by {
        By::Zone => STORAGES_OF_ZONES,
        By::Cluster => STORAGES_OF_CLUSTERS,
        By::One => STORAGES,
    };
    tx.all_of(sql, values(of)).await
}

pub(super) async fn backup(tx: &mut Tx, by: By, of: &[Id<Any>]) -> Result<Vec<Space>> {
    let sql = if by == By::One { BACKUPS } else { BACKUPS_OF_ZONES };
    tx.all_of(sql, values(of)).await
}

pub(super) async fn all_zones(tx: &mut Tx) -> Result<Vec<Id<Any>>> {
    uuids(tx, ALL_ZONES).await
}

pub(super) async fn all_primary(tx: &mut Tx) -> Result<Vec<Id<Any>>> {
    uuids(tx, ALL_STORAGES).await
}

pub(super) async fn all_backup(tx: &mut Tx) -> Result<Vec<Id<Any>>> {
    uuids(tx, ALL_BACKUPS).await
}

async fn uuids(tx: &mut Tx, sql: &'static str) -> Result<Vec<Id<Any>>> {
    Ok(tx.all::<(Id<Any>,)>(sql, args![]).await?.into_iter().map(|(uuid,)| uuid).collect())
}

fn values(of: &[Id<Any>]) -> Vec<Value> {
    of.iter().map(|id| (*id).into()).collect()
}
