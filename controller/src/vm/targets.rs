//! Where a running VM could move, and what is in the way.

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Shown, find, shown};
use engine::{Id, Result, api, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::allocate::{self, Candidate, Demand, LISTED, Look, MIGRATE_VM, NO_HOST, Order};
use super::migrate::{Migrate, TIMEOUT};
use super::{VmInstance, VmInstanceInventory, affinity, cd_rom};
use crate::host::driver::Migration;
use crate::host::{Host, HostInventory};
use crate::nic;
use crate::primary_storage::{self, PrimaryStorage};
use crate::validate;
use crate::volume::{self, VolumeInventory};

/// So many hosts are named when none can take a VM.
const SHOWN: usize = 5;
/// So many are listed, with what is wrong with each.
const NAMED: usize = 100;

/// All volumes of the VM, the root volume first.
pub(super) async fn volumes(tx: &mut Tx, vm: &VmInstanceInventory) -> Result<Vec<VolumeInventory>> {
    let mut volumes = vec![volume::root_of(tx, vm.uuid.cast()).await?];
    volumes.extend(volume::data_of(tx, vm.uuid.cast()).await?);
    Ok(volumes)
}

/// Those that lie on a host, and must be copied to another.
pub(super) fn local(volumes: &[VolumeInventory]) -> impl Iterator<Item = &VolumeInventory> {
    volumes.iter().filter(|volume| volume.host_uuid.is_some())
}

/// The storages of those that lie on none.
pub(super) fn shared(volumes: &[VolumeInventory]) -> Vec<Id<PrimaryStorage>> {
    let shared = volumes.iter().filter(|volume| volume.host_uuid.is_none());
    let mut storages: Vec<_> = shared.filter_map(|volume| volume.primary_storage_uuid).collect();
    storages.sort();
    storages.dedup();
    storages
}

/// Why the VM can move nowhere, whatever the host.
pub(super) async fn obstacles(tx: &mut Tx, vm: &VmInstanceInventory) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let volumes = volumes(tx, vm).await?;
    let local = local(&volumes).count();
    if local > 0 && local < volumes.len() {
        found.push(
            "some of its volumes lie on its host and others do not: such a vm does not move while it runs"
                .into(),
        );
    }
    // Its ISOs lie where its root volume does.
    let on_host = volumes.first().is_some_and(|root| root.host_uuid.is_some());
    for volume in volumes {
        let name = &volume.name;
        if volume.status != "Ready" {
            found.push(format!("its volume \"{name}\" is {}", volume.status));
        }
        let snapshots = volume::snapshots(tx, volume.uuid).await?;
        if snapshots > 0 && volume.host_uuid.is_some() {
            found.push(format!(
                "its volume \"{name}\" has {snapshots} snapshots, which do not move with a running vm: delete \
                 them, or stop the vm and move its volumes"
            ));
        }
    }
    let drives = cd_rom::of_vm(tx, vm.uuid).await?;
    for drive in drives.into_iter().filter(|drive| on_host && drive.iso_uuid.is_some()) {
        found.push(format!("an ISO lies in its drive \"{}\", and on its host alone: detach it", drive.name));
    }
    Ok(found)
}

/// What the VM needs of another host.
async fn demand(tx: &mut Tx, vm: &VmInstanceInventory, host: Option<Id<Host>>) -> Result<Demand> {
    let nics = nic::of_vm(tx, vm.uuid.cast()).await?;
    let bonds = affinity::Bonds::of(tx, vm.uuid).await?;
    Ok(Demand {
        hypervisor: vm.hypervisor_type.clone(),
        cpu: vm.cpu_num,
        memory: vm.memory_size,
        l3_networks: nics.iter().map(|nic| nic.l3_network_uuid).collect(),
        zone: vm.zone_uuid,
        host,
        vm: Some(vm.uuid),
        last: vm.last_host_uuid,
        avoid: vm.host_uuid,
        groups: bonds.groups,
        host_tags: bonds.host_tags,
        storages: shared(&volumes(tx, vm).await?),
        ..Demand::default()
    })
}

/// Why the VM with these volumes on its host cannot move to another, if it cannot.
async fn unfit(
    tx: &mut Tx,
    look: &mut Look<'_>,
    volumes: &[VolumeInventory],
    candidate: &Candidate,
) -> Result<Option<String>> {
    match look.at(tx, candidate).await? {
        Ok(_) if volumes.is_empty() => Ok(None),
        Ok(place) => lacks_room(tx, volumes, &place.host).await,
        Err(refusal) => Ok(Some(format!("host \"{}\" {}", candidate.host.name, refusal.reason))),
    }
}

/// The host that the VM moves to: the wanted one, or the one with the fewest VMs.
pub(super) async fn choose(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    wanted: Option<Id<Host>>,
) -> Result<HostInventory> {
    let demand = demand(tx, vm, wanted).await?;
    let volumes: Vec<_> = local(&volumes(tx, vm).await?).cloned().collect();
    let mut look = Look::of(tx, &demand).await?;
    let mut order = Order::of(&look, MIGRATE_VM)?;
    let (mut reasons, mut seen) = (Vec::new(), 0);
    while let Some(hosts) = order.next(tx, &demand).await?.filter(|_| seen < LISTED) {
        for candidate in hosts.into_iter().filter(|one| demand.avoid != Some(one.host.uuid)) {
            seen += 1;
            match unfit(tx, &mut look, &volumes, &candidate).await? {
                None => return Ok(candidate.host),
                Some(reason) if reasons.len() < SHOWN => reasons.push(reason),
                Some(_) => {}
            }
        }
    }
    if reasons.is_empty() {
        reasons.push(match wanted {
            Some(_) => "that host is in another zone".into(),
            None => "no other host of its zone has the room".into(),
        });
    }
    Err(NO_HOST.because(format!("vm \"{}\" can move nowhere: {}", vm.name, reasons.join("; "))))
}

/// Which storage of the volumes has not the room on the host, if one.
pub(super) async fn lacks_room(
    tx: &mut Tx,
    volumes: &[VolumeInventory],
    host: &HostInventory,
) -> Result<Option<String>> {
    let there = primary_storage::candidates(tx, host.uuid, "").await?;
    for volume in volumes {
        let of_same = volumes.iter().filter(|v| v.primary_storage_uuid == volume.primary_storage_uuid);
        let needed: i64 = of_same.map(|v| v.size).sum();
        let name = &host.name;
        match there.iter().find(|one| Some(one.storage) == volume.primary_storage_uuid) {
            None => {
                let of = &volume.name;
                return Ok(Some(format!("host \"{name}\" has not the primary storage of volume \"{of}\"")));
            }
            Some(one) if one.available < needed => {
                let left = one.available.max(0);
                let reason = format!(
                    "host \"{name}\" has {left} bytes left on the primary storage, {needed} are needed"
                );
                return Ok(Some(reason));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

/// What may be done about a guest that writes faster than it is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum MigrationStrategy {
    #[serde(rename = "auto-converge")]
    AutoConverge,
}

api! {
    /// Of a VM that runs, with its disks. Without a host the one with the fewest VMs is chosen.
    MigrateVm: PUT "/vm-instances/{vmInstanceUuid}/actions" "migrateVm" {
        vm_instance_uuid: Id<VmInstance>,
        host_uuid: Option<Id<Host>>,
        migrate_from_destination: Option<bool>,
        allow_unknown: Option<bool>,
        strategy: Option<MigrationStrategy>,
        down_time: Option<u64>,
    }
}

impl Api for MigrateVm {
    const ROUTE: Route = MigrateVm::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("migrateFromDestination", &self.migrate_from_destination.filter(|is| *is))?;
        validate::unsupported("allowUnknown", &self.allow_unknown.filter(|is| *is))?;
        let mut tx = job.engine().db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.vm_instance_uuid).await?;
        if let Some(host) = self.host_uuid.filter(|host| vm.host_uuid == Some(*host)) {
            let host: HostInventory = find(&mut tx, host).await?;
            let details = format!("vm \"{}\" is on host \"{}\" already", vm.name, host.name);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        drop(tx);
        let how = Migration {
            auto_converge: self.strategy == Some(MigrationStrategy::AutoConverge),
            down_time: self.down_time,
            timeout: TIMEOUT,
            with_disks: true,
        };
        let (uuid, name, wanted) = (vm.uuid, vm.name, self.host_uuid);
        job.flow(Migrate { uuid, name, wanted, how, from: None, to: None }).await
    }
}

api! {
    /// The hosts that the VM could move to as it is; `obstacles` say what keeps it from any, and `unfit` why
    /// each of the others cannot take it.
    GetVmMigrationCandidateHosts: GET "/vm-instances/{vmInstanceUuid}/migration-target-hosts" {
        vm_instance_uuid: Id<VmInstance>,
    }
}

#[derive(Serialize, JsonSchema)]
pub struct MigrationTargets {
    inventories: Vec<Shown<HostInventory>>,
    obstacles: Vec<String>,
    unfit: Vec<Unfit>,
}

/// Why a host cannot take a VM.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UnfitHost")]
struct Unfit {
    host_uuid: Id<Host>,
    reason: String,
}

impl Ask for GetVmMigrationCandidateHosts {
    const ROUTE: Route = GetVmMigrationCandidateHosts::ROUTE;
    type Reply = MigrationTargets;

    async fn answer(self, asked: Asked) -> Result<MigrationTargets> {
        let mut tx = asked.engine.db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.vm_instance_uuid).await?;
        let mut obstacles = obstacles(&mut tx, &vm).await?;
        if vm.state != "Running" {
            obstacles.insert(0, format!("it is {}: a vm moves while it is Running", vm.state));
        }
        let demand = demand(&mut tx, &vm, None).await?;
        let volumes: Vec<_> = local(&volumes(&mut tx, &vm).await?).cloned().collect();
        let mut look = Look::of(&mut tx, &demand).await?;
        let (mut inventories, mut others) = (Vec::new(), Vec::new());
        let (mut hosts, _) = allocate::in_scope(&mut tx, &demand, NAMED).await?;
        hosts.retain(|candidate| vm.host_uuid != Some(candidate.host.uuid));
        for candidate in hosts {
            let host_uuid = candidate.host.uuid;
            match unfit(&mut tx, &mut look, &volumes, &candidate).await? {
                Some(reason) => others.push(Unfit { host_uuid, reason }),
                None if obstacles.is_empty() => inventories.push(shown(&mut tx, host_uuid).await?),
                None => {}
            }
        }
        Ok(MigrationTargets { inventories, obstacles, unfit: others })
    }
}
