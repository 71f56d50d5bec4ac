//! Where a VM could be, asked before it is made or started.

use std::collections::{BTreeMap, BTreeSet};

use engine::api::{Ask, Asked, Route};
use engine::db::Tx;
use engine::inventory::{Inventory, Shown, find, shown};
use engine::module::Module;
use engine::tag::Wanted as Tags;
use engine::{Id, Result, api, codes};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::allocate::{self, Demand, Place};
use super::create;
use super::creation::CreateVmInstance;
use super::{VmInstance, VmInstanceInventory};
use crate::cluster::{Cluster, ClusterInventory};
use crate::disk_offering::{DiskOffering, DiskOfferingInventory};
use crate::host::{Host, HostInventory};
use crate::image::Image;
use crate::l3::L3Network;
use crate::offering::InstanceOffering;
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};
use crate::validate;
use crate::zone::{Zone, ZoneInventory};

/// Hosts, and what they are in.
#[derive(Default)]
struct Found {
    zones: BTreeSet<Id<Zone>>,
    clusters: BTreeSet<Id<Cluster>>,
    hosts: Vec<Id<Host>>,
    storages: BTreeMap<String, BTreeSet<Id<PrimaryStorage>>>,
}

impl Found {
    async fn of(tx: &mut Tx, demand: &Demand, places: Vec<Place>) -> Result<Found> {
        let mut found = Found::default();
        for Place { host, .. } in places {
            found.zones.insert(host.zone_uuid);
            found.clusters.insert(host.cluster_uuid);
            found.hosts.push(host.uuid);
            let storages = allocate::storages(tx, demand, host.uuid).await?;
            found.storages.entry(host.cluster_uuid.to_string()).or_default().extend(storages);
        }
        Ok(found)
    }
}

async fn all<I: Inventory, K>(tx: &mut Tx, ids: impl IntoIterator<Item = Id<K>>) -> Result<Vec<Shown<I>>> {
    let mut all = Vec::new();
    for id in ids {
        all.push(shown::<I>(tx, id).await?);
    }
    Ok(all)
}

/// The creation that is asked about.
fn wish(params: serde_json::Value) -> Result<CreateVmInstance> {
    serde_json::from_value(params).map_err(|error| codes::INTERNAL.because(error.to_string()))
}

api! {
    /// Where a VM could be made as things are.
    GetCandidateZonesClustersHostsForCreatingVm: GET "/vm-instances/candidate-destinations" only admin {
        instance_offering_uuid: Option<Id<InstanceOffering>>,
        image_uuid: Id<Image>,
        #[serde(default, deserialize_with = "validate::list")]
        l3_network_uuids: Vec<Id<L3Network>>,
        root_disk_offering_uuid: Option<Id<DiskOffering>>,
        #[serde(default, deserialize_with = "validate::plain")]
        root_disk_size: Option<i64>,
        #[serde(default, deserialize_with = "validate::list")]
        data_disk_offering_uuids: Vec<Id<DiskOffering>>,
        #[serde(default, deserialize_with = "validate::plain")]
        cpu_num: Option<i64>,
        #[serde(default, deserialize_with = "validate::plain")]
        memory_size: Option<i64>,
        zone_uuid: Option<Id<Zone>>,
        cluster_uuid: Option<Id<Cluster>>,
        default_l3_network_uuid: Option<Id<L3Network>>,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Destinations {
    zones: Vec<Shown<ZoneInventory>>,
    clusters: Vec<Shown<ClusterInventory>>,
    hosts: Vec<Shown<HostInventory>>,
    cluster_ps_map: BTreeMap<String, Vec<Shown<PrimaryStorageInventory>>>,
}

impl Ask for GetCandidateZonesClustersHostsForCreatingVm {
    const ROUTE: Route = GetCandidateZonesClustersHostsForCreatingVm::ROUTE;
    type Reply = Destinations;

    async fn answer(self, asked: Asked) -> Result<Destinations> {
        let mut tx = asked.engine.db().read().await?;
        let wish = wish(json!({
            "name": "candidate",
            "instanceOfferingUuid": self.instance_offering_uuid,
            "cpuNum": self.cpu_num,
            "memorySize": self.memory_size,
            "imageUuid": self.image_uuid,
            "l3NetworkUuids": self.l3_network_uuids,
            "rootDiskOfferingUuid": self.root_disk_offering_uuid,
            "rootDiskSize": self.root_disk_size,
            "dataDiskOfferingUuids": self.data_disk_offering_uuids,
            "zoneUuid": self.zone_uuid,
            "clusterUuid": self.cluster_uuid,
            "defaultL3NetworkUuid": self.default_l3_network_uuid,
        }))?;
        let (demand, strategy) = wish.demand(&mut tx, &Tags::default()).await?;
        let places = allocate::places(&mut tx, &demand, &strategy).await?;
        let found = Found::of(&mut tx, &demand, places).await?;
        let mut cluster_ps_map = BTreeMap::new();
        for (cluster, storages) in found.storages {
            cluster_ps_map.insert(cluster, all(&mut tx, storages).await?);
        }
        Ok(Destinations {
            zones: all(&mut tx, found.zones).await?,
            clusters: all(&mut tx, found.clusters).await?,
            hosts: all(&mut tx, found.hosts).await?,
            cluster_ps_map,
        })
    }
}

api! {
    /// On which primary storages the volumes of a VM could be made as things are. Data volumes lie where the
    /// root volume does.
    GetCandidatePrimaryStoragesForCreatingVm: GET "/vm-instances/candidate-storages" only admin {
        image_uuid: Id<Image>,
        #[serde(default, deserialize_with = "validate::list")]
        l3_network_uuids: Vec<Id<L3Network>>,
        root_disk_offering_uuid: Option<Id<DiskOffering>>,
        #[serde(default, deserialize_with = "validate::plain")]
        root_disk_size: Option<i64>,
        #[serde(default, deserialize_with = "validate::list")]
        data_disk_offering_uuids: Vec<Id<DiskOffering>>,
        #[serde(default, deserialize_with = "validate::list")]
        data_disk_sizes: Vec<String>,
        zone_uuid: Option<Id<Zone>>,
        cluster_uuid: Option<Id<Cluster>>,
        default_l3_network_uuid: Option<Id<L3Network>>,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storages {
    root_volume_primary_storages: Vec<Shown<PrimaryStorageInventory>>,
    /// By disk offering, or by size.
    data_volume_primary_storages: BTreeMap<String, Vec<Shown<PrimaryStorageInventory>>>,
}

impl Ask for GetCandidatePrimaryStoragesForCreatingVm {
    const ROUTE: Route = GetCandidatePrimaryStoragesForCreatingVm::ROUTE;
    type Reply = Storages;

    async fn answer(self, asked: Asked) -> Result<Storages> {
        let mut tx = asked.engine.db().read().await?;
        let sizes: Result<Vec<i64>, _> = self.data_disk_sizes.iter().map(|size| size.parse()).collect();
        let sizes = sizes.map_err(|_| validate::missing("\"dataDiskSizes\" must be bytes"))?;
        let wish = wish(json!({
            "name": "candidate",
            // The least that any VM takes: hosts are not what is asked for.
            "cpuNum": 1,
            "memorySize": allocate::LEAST_MEMORY,
            "imageUuid": self.image_uuid,
            "l3NetworkUuids": self.l3_network_uuids,
            "rootDiskOfferingUuid": self.root_disk_offering_uuid,
            "rootDiskSize": self.root_disk_size,
            "dataDiskOfferingUuids": self.data_disk_offering_uuids,
            "dataDiskSizes": sizes,
            "zoneUuid": self.zone_uuid,
            "clusterUuid": self.cluster_uuid,
            "defaultL3NetworkUuid": self.default_l3_network_uuid,
        }))?;
        let (demand, strategy) = wish.demand(&mut tx, &Tags::default()).await?;
        let places = allocate::places(&mut tx, &demand, &strategy).await?;
        let found = Found::of(&mut tx, &demand, places).await?;
        let storages: BTreeSet<_> = found.storages.into_values().flatten().collect();
        let mut data_volume_primary_storages = BTreeMap::new();
        for offering in &self.data_disk_offering_uuids {
            find::<DiskOfferingInventory>(&mut tx, *offering).await?;
            data_volume_primary_storages
                .insert(offering.to_string(), all(&mut tx, storages.iter().copied()).await?);
        }
        for size in sizes {
            data_volume_primary_storages
                .insert(size.to_string(), all(&mut tx, storages.iter().copied()).await?);
        }
        let root_volume_primary_storages = all(&mut tx, storages).await?;
        Ok(Storages { root_volume_primary_storages, data_volume_primary_storages })
    }
}

api! {
    /// Where a stopped VM could be started as things are.
    GetVmStartingCandidateClustersHosts: GET "/vm-instances/{uuid}/starting-target-hosts" only admin {
        uuid: Id<VmInstance>,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartingTargets {
    host_inventories: Vec<Shown<HostInventory>>,
    cluster_inventories: Vec<Shown<ClusterInventory>>,
}

impl Ask for GetVmStartingCandidateClustersHosts {
    const ROUTE: Route = GetVmStartingCandidateClustersHosts::ROUTE;
    type Reply = StartingTargets;

    async fn answer(self, asked: Asked) -> Result<StartingTargets> {
        let mut tx = asked.engine.db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.uuid).await?;
        if vm.state != "Stopped" {
            return Err(
                codes::STATE.because(format!("vm \"{}\" is {}: it does not start", vm.name, vm.state))
            );
        }
        let demand = create::demand_again(&mut tx, &vm, None).await?;
        let places = allocate::places(&mut tx, &demand, &vm.allocator_strategy).await?;
        let found = Found::of(&mut tx, &demand, places).await?;
        Ok(StartingTargets {
            host_inventories: all(&mut tx, found.hosts).await?,
            cluster_inventories: all(&mut tx, found.clusters).await?,
        })
    }
}

pub(super) fn add_to(module: Module) -> Module {
    module
        .ask::<GetCandidateZonesClustersHostsForCreatingVm>()
        .ask::<GetCandidatePrimaryStoragesForCreatingVm>()
        .ask::<GetVmStartingCandidateClustersHosts>()
}
