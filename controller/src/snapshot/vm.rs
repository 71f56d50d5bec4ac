//! VMs whose disks show what snapshots show.

use std::collections::BTreeMap;

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find};
use engine::{Id, Result, api, codes};
use serde_json::Value;

use super::{
    VolumeSnapshot, VolumeSnapshotGroup, VolumeSnapshotGroupInventory, VolumeSnapshotInventory, store,
};
use crate::cluster::Cluster;
use crate::host::Host;
use crate::l3::L3Network;
use crate::offering::InstanceOffering;
use crate::primary_storage::PrimaryStorage;
use crate::validate::{self, Platform};
use crate::vm::{Copied, Original, Source, StartStrategy, VmInstance, VmInstanceInventory, VmType, Wish};
use crate::volume::VolumeInventory;
use crate::zone::Zone;

/// As large as its volume is now.
async fn original(tx: &mut Tx, snapshot: VolumeSnapshotInventory) -> Result<Original> {
    snapshot.must_be_ready()?;
    let volume: VolumeInventory = find(tx, snapshot.volume_uuid).await?;
    Ok(Original {
        name: format!("snapshot \"{}\" of volume \"{}\"", snapshot.name, volume.name),
        source: Source::Snapshot(snapshot.primary_storage_install_path.unwrap_or_default()),
        storage: snapshot.primary_storage_uuid,
        home: snapshot.host_uuid,
        size: volume.size,
        like: volume.vm_instance_uuid.filter(|_| volume.r#type == "Root"),
    })
}

/// The snapshot of the root volume, and those of the data volumes.
async fn originals(tx: &mut Tx, group: Id<VolumeSnapshotGroup>) -> Result<(Original, Vec<Original>)> {
    let group: VolumeSnapshotGroupInventory = find(tx, group).await?;
    let refs = store::refs(tx, vec![group.uuid.into()]).await?;
    if let Some(gone) = refs.iter().find(|one| one.snapshot_deleted) {
        let details = format!(
            "snapshot group \"{}\" is not whole any more, the snapshot of volume \"{}\" is deleted: make the vm of \
             one of its snapshots",
            group.name, gone.volume_name
        );
        return Err(codes::STATE.because(details));
    }
    let (mut root, mut data) = (None, Vec::new());
    for one in &refs {
        let snapshot = find(tx, one.volume_snapshot_uuid).await?;
        let original = original(tx, snapshot).await?;
        match one.volume_type.as_str() {
            "Root" => root = Some(original),
            _ => data.push(original),
        }
    }
    let no_root =
        || codes::STATE.because(format!("snapshot group \"{}\" has none of a root volume", group.name));
    Ok((root.ok_or_else(no_root)?, data))
}

api! {
    /// Its root volume is a copy of what the snapshot shows, of a root or a data volume, and not dependent on it.
    CreateVmInstanceFromVolumeSnapshot: POST "/vm-instances/from/volume-snapshots/{volumeSnapshotUuid}" "params" {
        name: String,
        description: Option<String>,
        instance_offering_uuid: Option<Id<InstanceOffering>>,
        cpu_num: Option<i64>,
        memory_size: Option<i64>,
        reserved_memory_size: Option<i64>,
        l3_network_uuids: Option<Vec<Id<L3Network>>>,
        vm_nic_params: Option<Value>,
        r#type: Option<VmType>,
        volume_snapshot_uuid: Id<VolumeSnapshot>,
        platform: Option<Platform>,
        zone_uuid: Option<Id<Zone>>,
        cluster_uuid: Option<Id<Cluster>>,
        host_uuid: Option<Id<Host>>,
        primary_storage_uuid: Option<Id<PrimaryStorage>>,
        default_l3_network_uuid: Option<Id<L3Network>>,
        strategy: Option<StartStrategy>,
        root_volume_system_tags: Option<Vec<String>>,
        resource_uuid: Option<Id<VmInstance>>,
    }
}

impl Api for CreateVmInstanceFromVolumeSnapshot {
    const ROUTE: Route = CreateVmInstanceFromVolumeSnapshot::ROUTE;
    const MAKES: Option<&'static str> = Some(VmInstanceInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("vmNicParams", &self.vm_nic_params)?;
        validate::unsupported("rootVolumeSystemTags", &self.root_volume_system_tags)?;
        let mut tx = job.engine().db().read().await?;
        let snapshot = find(&mut tx, self.volume_snapshot_uuid).await?;
        let root = original(&mut tx, snapshot).await?;
        drop(tx);
        let wish = Wish {
            uuid: self.resource_uuid,
            name: self.name,
            description: self.description,
            r#type: self.r#type,
            offering: self.instance_offering_uuid,
            cpu: self.cpu_num,
            memory: self.memory_size,
            reserved_memory: self.reserved_memory_size,
            l3_networks: self.l3_network_uuids,
            default_l3: self.default_l3_network_uuid,
            zone: self.zone_uuid,
            cluster: self.cluster_uuid,
            host: self.host_uuid,
            storage: self.primary_storage_uuid,
            start: self.strategy.unwrap_or_default() == StartStrategy::InstantStart,
        };
        Copied { wish, platform: self.platform, root, data: Vec::new() }.make(job).await
    }
}

api! {
    /// Its volumes are copies of what the snapshots of the group show, all of them.
    CreateVmInstanceFromVolumeSnapshotGroup: POST "/vm-instances/from/volume-snapshots/group/{volumeSnapshotGroupUuid}" "params" {
        name: String,
        description: Option<String>,
        instance_offering_uuid: Option<Id<InstanceOffering>>,
        cpu_num: Option<i64>,
        memory_size: Option<i64>,
        reserved_memory_size: Option<i64>,
        l3_network_uuids: Option<Vec<Id<L3Network>>>,
        r#type: Option<VmType>,
        volume_snapshot_group_uuid: Id<VolumeSnapshotGroup>,
        zone_uuid: Option<Id<Zone>>,
        cluster_uuid: Option<Id<Cluster>>,
        host_uuid: Option<Id<Host>>,
        primary_storage_uuid_for_root_volume: Option<Id<PrimaryStorage>>,
        default_l3_network_uuid: Option<Id<L3Network>>,
        strategy: Option<StartStrategy>,
        root_volume_system_tags: Option<Vec<String>>,
        data_volume_system_tags: Option<BTreeMap<String, Vec<String>>>,
        resource_uuid: Option<Id<VmInstance>>,
    }
}

impl Api for CreateVmInstanceFromVolumeSnapshotGroup {
    const ROUTE: Route = CreateVmInstanceFromVolumeSnapshotGroup::ROUTE;
    const MAKES: Option<&'static str> = Some(VmInstanceInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("rootVolumeSystemTags", &self.root_volume_system_tags)?;
        validate::unsupported("dataVolumeSystemTags", &self.data_volume_system_tags)?;
        let mut tx = job.engine().db().read().await?;
        let (root, data) = originals(&mut tx, self.volume_snapshot_group_uuid).await?;
        drop(tx);
        let wish = Wish {
            uuid: self.resource_uuid,
            name: self.name,
            description: self.description,
            r#type: self.r#type,
            offering: self.instance_offering_uuid,
            cpu: self.cpu_num,
            memory: self.memory_size,
            reserved_memory: self.reserved_memory_size,
            l3_networks: self.l3_network_uuids,
            default_l3: self.default_l3_network_uuid,
            zone: self.zone_uuid,
            cluster: self.cluster_uuid,
            host: self.host_uuid,
            storage: self.primary_storage_uuid_for_root_volume,
            start: self.strategy.unwrap_or_default() == StartStrategy::InstantStart,
        };
        Copied { wish, platform: None, root, data }.make(job).await
    }
}
