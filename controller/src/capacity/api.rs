use engine::api::{Ask, Asked, Route};
use engine::{Any, ErrorCode, Id, Result, api, codes};
use serde_json::{Value, json};

use super::store::{self, By, Space};
use crate::validate;

/// The most special list that names something.
fn chosen(one: Vec<Id<Any>>, clusters: Vec<Id<Any>>, zones: Vec<Id<Any>>) -> Option<(By, Vec<Id<Any>>)> {
    let lists = [(By::One, one), (By::Cluster, clusters), (By::Zone, zones)];
    lists.into_iter().find(|(_, list)| !list.is_empty())
}

fn nothing_named(lists: &str) -> ErrorCode {
    codes::INVALID_ARGUMENT.because(format!("name {lists}, or ask for \"all\""))
}

api! {
    /// `managedCpuNum` counts processors, `totalCpu` what VMs may have of them.
    GetCpuMemoryCapacity: GET "/hosts/capacities/cpu-memory" {
        #[serde(default, deserialize_with = "validate::list")]
        zone_uuids: Vec<Id<Any>>,
        #[serde(default, deserialize_with = "validate::list")]
        cluster_uuids: Vec<Id<Any>>,
        #[serde(default, deserialize_with = "validate::list")]
        host_uuids: Vec<Id<Any>>,
        hypervisor_type: Option<String>,
        #[serde(default, deserialize_with = "validate::plain")]
        all: Option<bool>,
    }
}

impl Ask for GetCpuMemoryCapacity {
    const ROUTE: Route = GetCpuMemoryCapacity::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let mut tx = asked.engine.db().read().await?;
        let (by, of) = match chosen(self.host_uuids, self.cluster_uuids, self.zone_uuids) {
            Some(chosen) => chosen,
            None if self.all == Some(true) => (By::Zone, store::all_zones(&mut tx).await?),
            None => return Err(nothing_named("\"zoneUuids\", \"clusterUuids\" or \"hostUuids\"")),
        };
        let mut parts = store::hosts(&mut tx, by, &of).await?;
        parts.retain(|part| self.hypervisor_type.as_ref().is_none_or(|wanted| *wanted == part.hypervisor));
        let members: Vec<[i64; 5]> = parts
            .iter()
            .map(|p| [p.total_cpu, p.available_cpu, p.total_memory, p.available_memory, p.managed_cpu])
            .collect();
        let mut reply = told(&HOST_MEMBERS, sum(&members));
        reply["resourceType"] = kind(by, "HostVO").into();
        let parts = parts.iter().zip(members).map(|(part, own)| {
            let mut shown = told(&HOST_MEMBERS, own);
            shown["resourceUuid"] = json!(part.resource);
            shown
        });
        reply["capacityData"] = parts.collect();
        Ok(reply)
    }
}

const HOST_MEMBERS: [&str; 5] =
    ["totalCpu", "availableCpu", "totalMemory", "availableMemory", "managedCpuNum"];
const PRIMARY_MEMBERS: [&str; 4] =
    ["totalCapacity", "availableCapacity", "totalPhysicalCapacity", "availablePhysicalCapacity"];
const BACKUP_MEMBERS: [&str; 2] = ["totalCapacity", "availableCapacity"];

fn sum<const N: usize>(parts: &[[i64; N]]) -> [i64; N] {
    let mut whole = [0; N];
    for part in parts {
        whole.iter_mut().zip(part).for_each(|(sum, one)| *sum += one);
    }
    whole
}

fn told<const N: usize>(names: &[&str; N], values: [i64; N]) -> Value {
    names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), Value::from(value))).collect()
}

/// What the parts are told by.
fn kind(by: By, one: &'static str) -> &'static str {
    match by {
        By::Zone => "ZoneVO",
        By::Cluster => "ClusterVO",
        By::One => one,
    }
}

fn spaces<const N: usize>(
    names: &[&str; N],
    kind: &str,
    parts: &[Space],
    read: impl Fn(&Space) -> [i64; N],
) -> Value {
    let members: Vec<_> = parts.iter().map(&read).collect();
    let mut reply = told(names, sum(&members));
    reply["resourceType"] = kind.into();
    let parts = parts.iter().zip(members).map(|(part, own)| {
        let mut shown = told(names, own);
        shown["resourceUuid"] = json!(part.resource);
        shown
    });
    reply["capacityData"] = parts.collect();
    reply
}

api! {
    GetPrimaryStorageCapacity: GET "/primary-storage/capacities" {
        #[serde(default, deserialize_with = "validate::list")]
        zone_uuids: Vec<Id<Any>>,
        #[serde(default, deserialize_with = "validate::list")]
        cluster_uuids: Vec<Id<Any>>,
        #[serde(default, deserialize_with = "validate::list")]
        primary_storage_uuids: Vec<Id<Any>>,
        #[serde(default, deserialize_with = "validate::plain")]
        all: Option<bool>,
    }
}

impl Ask for GetPrimaryStorageCapacity {
    const ROUTE: Route = GetPrimaryStorageCapacity::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let mut tx = asked.engine.db().read().await?;
        let (by, of) = match chosen(self.primary_storage_uuids, self.cluster_uuids, self.zone_uuids) {
            Some(chosen) => chosen,
            None if self.all == Some(true) => (By::One, store::all_primary(&mut tx).await?),
            None => return Err(nothing_named("\"zoneUuids\", \"clusterUuids\" or \"primaryStorageUuids\"")),
        };
        let parts = store::primary(&mut tx, by, &of).await?;
        let read =
            |space: &Space| [space.total, space.available, space.total_physical, space.available_physical];
        Ok(spaces(&PRIMARY_MEMBERS, kind(by, "PrimaryStorageVO"), &parts, read))
    }
}

api! {
    GetBackupStorageCapacity: GET "/backup-storage/capacities" {
        #[serde(default, deserialize_with = "validate::list")]
        zone_uuids: Vec<Id<Any>>,
        #[serde(default, deserialize_with = "validate::list")]
        backup_storage_uuids: Vec<Id<Any>>,
        #[serde(default, deserialize_with = "validate::plain")]
        all: Option<bool>,
    }
}

impl Ask for GetBackupStorageCapacity {
    const ROUTE: Route = GetBackupStorageCapacity::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let mut tx = asked.engine.db().read().await?;
        let (by, of) = match chosen(self.backup_storage_uuids, Vec::new(), self.zone_uuids) {
            Some(chosen) => chosen,
            None if self.all == Some(true) => (By::One, store::all_backup(&mut tx).await?),
            None => return Err(nothing_named("\"zoneUuids\" or \"backupStorageUuids\"")),
        };
        let parts = store::backup(&mut tx, by, &of).await?;
        let read = |space: &Space| [space.total, space.available];
        Ok(spaces(&BACKUP_MEMBERS, kind(by, "BackupStorageVO"), &parts, read))
    }
}
