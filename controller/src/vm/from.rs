//! VMs whose disks are copies of what is there already.

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find};
use engine::{Id, Result, api, codes};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::allocate::Disk;
use super::copied::Original;
use super::create::{Create, DataDisk};
use super::creation::{beside, drives};
use super::wish::{Begins, VmType, Wish};
use super::{VmInstance, VmInstanceInventory, facet, seed, volume};
use crate::cluster::Cluster;
use crate::host::{Host, HostInventory};
use crate::l3::L3Network;
use crate::offering::InstanceOffering;
use crate::primary_storage::driver::Wanted;
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};
use crate::validate::{self, Architecture, Platform};
use crate::volume::Volume;
use crate::zone::Zone;

/// Whether a VM that is made of what is there is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum StartStrategy {
    #[default]
    InstantStart,
    CreateStopped,
}

/// A VM, and what its disks are copies of.
pub struct Copied {
    pub wish: Wish,
    /// What its guest is; as in the VM that boots from the original, when it is not said.
    pub platform: Option<Platform>,
    pub root: Original,
    pub data: Vec<Original>,
}

impl Copied {
    /// Makes it.
    pub async fn make(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let create = self.plan(&mut tx, &job).await?;
        drop(tx);
        job.flow(create).await
    }

    async fn plan(self, tx: &mut Tx, job: &Job) -> Result<Create> {
        let Copied { mut wish, platform, root, data } = self;
        wish.check()?;
        let size = wish.size(tx).await?;
        settle(tx, &mut wish, &root).await?;
        let data = data_disks(tx, &root, data).await?;
        let begins = begins(tx, job, &wish, platform, (root, data)).await?;
        wish.plan(tx, job, size, begins).await
    }
}

/// It is to be where the original lies.
async fn settle(tx: &mut Tx, wish: &mut Wish, root: &Original) -> Result<()> {
    let name = &root.name;
    let lies = root.storage.ok_or_else(|| codes::STATE.because(format!("{name} lies nowhere")))?;
    if wish.storage.is_some_and(|wanted| wanted != lies) {
        let storage: PrimaryStorageInventory = find(tx, lies).await?;
        let details = format!(
            "{name} lies on primary storage \"{}\": a vm is made of it there only, name that or none",
            storage.name
        );
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    wish.storage = Some(lies);
    let Some(home) = root.home else { return Ok(()) };
    if wish.host.is_some_and(|wanted| wanted != home) {
        let host: HostInventory = find(tx, home).await?;
        let details = format!(
            "{name} lies on host \"{}\": a vm is made of it there only, name that or none",
            host.name
        );
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    wish.host = Some(home);
    Ok(())
}

/// The copies beside the root volume, which must lie where that does.
async fn data_disks(tx: &mut Tx, root: &Original, data: Vec<Original>) -> Result<Vec<DataDisk>> {
    volume::check_number(tx, data.len())?;
    if let Some(apart) = data.iter().find(|one| (one.storage, one.home) != (root.storage, root.home)) {
        let details = format!(
            "{} does not lie where {} does, and a vm of both is not supported yet: make the vm of the latter, and \
             a volume of the former",
            apart.name, root.name
        );
        return Err(codes::UNIMPLEMENTED.because(details));
    }
    let disk = |one: Original| DataDisk { size: one.size, source: Some(one.source), ..DataDisk::default() };
    Ok(data.into_iter().map(disk).collect())
}

async fn begins(
    tx: &mut Tx,
    job: &Job,
    wish: &Wish,
    platform: Option<Platform>,
    (root, data): (Original, Vec<DataDisk>),
) -> Result<Begins> {
    let like: Option<VmInstanceInventory> = match root.like {
        Some(vm) => Some(find(tx, vm).await?),
        None => None,
    };
    let boot_mode = match &like {
        Some(vm) if job.tags().tokens(&facet::BOOT_MODE).is_empty() => facet::boot_mode(tx, vm.uuid).await?,
        _ => None,
    };
    let drives = drives(tx, job.tags(), None, wish.zone).await?;
    let seed = seed::Asked::of(tx, &[], job.tags()).await?;
    let disk = Disk { size: root.size, more: beside(None, &drives, &data), ..Disk::default() };
    let virtio = platform.map(Platform::knows_virtio).or(like.as_ref().map(|vm| vm.virtio));
    let said = platform.map(|platform| platform.name().to_owned());
    let usual = || Platform::default().name().to_owned();
    Ok(Begins {
        image: None,
        wanted: Wanted::default(),
        empty: false,
        source: Some(root.source),
        disk,
        data,
        drives,
        boot_mode,
        seed,
        platform: said.or(like.as_ref().map(|vm| vm.platform.clone())).unwrap_or_else(usual),
        architecture: like
            .as_ref()
            .and_then(|vm| vm.architecture.clone())
            .unwrap_or_else(|| Architecture::default().name().to_owned()),
        guest_os_type: like.and_then(|vm| vm.guest_os_type),
        virtio: virtio.unwrap_or(true),
    })
}

api! {
    /// Its root volume is a copy of the volume, which stays as it is and which no VM may have open.
    CreateVmInstanceFromVolume: POST "/vm-instances/from/volume" "params" {
        name: String,
        description: Option<String>,
        instance_offering_uuid: Option<Id<InstanceOffering>>,
        cpu_num: Option<i64>,
        memory_size: Option<i64>,
        reserved_memory_size: Option<i64>,
        l3_network_uuids: Option<Vec<Id<L3Network>>>,
        vm_nic_params: Option<Value>,
        r#type: Option<VmType>,
        volume_uuid: Id<Volume>,
        platform: Option<Platform>,
        zone_uuid: Option<Id<Zone>>,
        cluster_uuid: Option<Id<Cluster>>,
        host_uuid: Option<Id<Host>>,
        primary_storage_uuid: Option<Id<PrimaryStorage>>,
        default_l3_network_uuid: Option<Id<L3Network>>,
        strategy: Option<StartStrategy>,
        resource_uuid: Option<Id<VmInstance>>,
    }
}

impl Api for CreateVmInstanceFromVolume {
    const ROUTE: Route = CreateVmInstanceFromVolume::ROUTE;
    const MAKES: Option<&'static str> = Some(VmInstanceInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("vmNicParams", &self.vm_nic_params)?;
        let root = Original::volume(&mut job.engine().db().read().await?, self.volume_uuid).await?;
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
