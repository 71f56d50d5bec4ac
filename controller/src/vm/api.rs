use std::collections::BTreeMap;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::cascade::{Delete, DeleteMode, Root};
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::{Any, Id, Result, api, codes};
use serde::Deserialize;
use serde_json::{Value, json};

use super::allocate::{self, Demand, Disk, STRATEGIES};
use super::create::{Create, Made};
use super::life::{self, How, Start, Stop, Turn};
use super::remove::Destroy;
use super::{DELETION_POLICY, DeletionPolicy, VmInstance, VmInstanceInventory, store, tag};
use crate::cluster::{Cluster, ClusterInventory};
use crate::host::driver::StopMode;
use crate::host::{Host, HostInventory};
use crate::image::{self, Image, ImageSource};
use crate::l3::{L3Network, L3NetworkInventory};
use crate::offering::{InstanceOffering, InstanceOfferingInventory};
use crate::primary_storage::driver::Wanted;
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};
use crate::validate::{self, Architecture, Platform};
use crate::zone::{Zone, ZoneInventory};

/// `strategy` of a creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum CreationStrategy {
    #[default]
    InstantStart,
    JustCreate,
    CreateStopped,
}

/// `type` of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum VmType {
    UserVm,
    ApplianceVm,
}

api! {
    CreateVmInstance: POST "/vm-instances" "params" {
        name: String,
        instance_offering_uuid: Option<Id<InstanceOffering>>,
        cpu_num: Option<i64>,
        memory_size: Option<i64>,
        reserved_memory_size: Option<i64>,
        image_uuid: Option<Id<Image>>,
        l3_network_uuids: Option<Vec<Id<L3Network>>>,
        vm_nic_params: Option<Value>,
        r#type: Option<VmType>,
        root_disk_offering_uuid: Option<Id<Any>>,
        root_disk_size: Option<i64>,
        data_disk_sizes: Option<Vec<i64>>,
        data_disk_offering_uuids: Option<Vec<Id<Any>>>,
        zone_uuid: Option<Id<Zone>>,
        cluster_uuid: Option<Id<Cluster>>,
        host_uuid: Option<Id<Host>>,
        primary_storage_uuid_for_root_volume: Option<Id<PrimaryStorage>>,
        description: Option<String>,
        default_l3_network_uuid: Option<Id<L3Network>>,
        strategy: Option<CreationStrategy>,
        root_volume_system_tags: Option<Vec<String>>,
        data_volume_system_tags: Option<Vec<String>>,
        data_volume_system_tags_on_index: Option<BTreeMap<String, Vec<String>>>,
        ssh_key_pair_uuids: Option<Vec<Id<Any>>>,
        platform: Option<Platform>,
        guest_os_type: Option<String>,
        architecture: Option<Architecture>,
        virtio: Option<bool>,
        #[serde(rename = "diskAOs")]
        disk_aos: Option<Value>,
        resource_uuid: Option<Id<VmInstance>>,
    }
}

/// CPU, memory and what comes with them, of an offering or given one by one.
struct Size {
    cpu: i64,
    cpu_speed: i64,
    memory: i64,
    reserved_memory: i64,
    strategy: String,
}

impl CreateVmInstance {
    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        if self.r#type == Some(VmType::ApplianceVm) {
            return Err(
                codes::UNIMPLEMENTED.because("appliance VMs are not supported yet: leave \"type\" out")
            );
        }
        if self.strategy == Some(CreationStrategy::JustCreate) {
            let details = "\"strategy\" JustCreate is not supported yet: use CreateStopped";
            return Err(codes::UNIMPLEMENTED.because(details));
        }
        validate::unsupported("vmNicParams", &self.vm_nic_params)?;
        validate::unsupported("rootDiskOfferingUuid", &self.root_disk_offering_uuid)?;
        validate::unsupported("dataDiskSizes", &self.data_disk_sizes)?;
        validate::unsupported("dataDiskOfferingUuids", &self.data_disk_offering_uuids)?;
        validate::unsupported("rootVolumeSystemTags", &self.root_volume_system_tags)?;
        validate::unsupported("dataVolumeSystemTags", &self.data_volume_system_tags)?;
        validate::unsupported("dataVolumeSystemTagsOnIndex", &self.data_volume_system_tags_on_index)?;
        validate::unsupported("sshKeyPairUuids", &self.ssh_key_pair_uuids)?;
        validate::unsupported("diskAOs", &self.disk_aos)
    }

    async fn size(&self, tx: &mut Tx) -> Result<Size> {
        let Some(offering) = self.instance_offering_uuid else {
            let (Some(cpu), Some(memory)) = (self.cpu_num, self.memory_size) else {
                let details = "give either \"instanceOfferingUuid\" or both \"cpuNum\" and \"memorySize\"";
                return Err(codes::INVALID_ARGUMENT.because(details));
            };
            let (reserved_memory, strategy) =
                (self.reserved_memory_size.unwrap_or(0), allocate::LEAST_VM.into());
            return Ok(Size { cpu, cpu_speed: 0, memory, reserved_memory, strategy });
        };
        let offering: InstanceOfferingInventory = find(tx, offering).await?;
        if offering.state != "Enabled" {
            let details = format!("instance offering \"{}\" is {}", offering.name, offering.state);
            return Err(codes::STATE.because(details));
        }
        Ok(Size {
            cpu: self.cpu_num.unwrap_or(offering.cpu_num),
            cpu_speed: offering.cpu_speed,
            memory: self.memory_size.unwrap_or(offering.memory_size),
            reserved_memory: self.reserved_memory_size.unwrap_or(offering.reserved_memory_size),
            strategy: offering.allocator_strategy,
        })
    }

    /// The networks, each once and enabled, and the default one among them.
    async fn networks(&self, tx: &mut Tx) -> Result<(Vec<Id<L3Network>>, Option<Id<L3Network>>)> {
        let wanted = self.l3_network_uuids.clone().unwrap_or_default();
        for (n, l3) in wanted.iter().enumerate() {
            let network: L3NetworkInventory = find(tx, *l3).await?;
            if wanted[..n].contains(l3) {
                let details = format!("l3 network \"{}\" is named twice in \"l3NetworkUuids\"", network.name);
                return Err(codes::INVALID_ARGUMENT.because(details));
            }
            if network.state != "Enabled" {
                return Err(
                    codes::STATE.because(format!("l3 network \"{}\" is {}", network.name, network.state))
                );
            }
        }
        let default = self.default_l3_network_uuid.or(wanted.first().copied());
        if default.is_some_and(|default| !wanted.contains(&default)) {
            let details = "\"defaultL3NetworkUuid\" must be one of \"l3NetworkUuids\"";
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        Ok((wanted, default))
    }

    /// Where it may be; every place that is named must exist.
    async fn scope(&self, tx: &mut Tx) -> Result<Demand> {
        if let Some(zone) = self.zone_uuid {
            find::<ZoneInventory>(tx, zone).await?;
        }
        if let Some(cluster) = self.cluster_uuid {
            find::<ClusterInventory>(tx, cluster).await?;
        }
        if let Some(host) = self.host_uuid {
            find::<HostInventory>(tx, host).await?;
        }
        if let Some(storage) = self.primary_storage_uuid_for_root_volume {
            find::<PrimaryStorageInventory>(tx, storage).await?;
        }
        Ok(Demand {
            hypervisor: "KVM".into(),
            zone: self.zone_uuid,
            cluster: self.cluster_uuid,
            host: self.host_uuid,
            storage: self.primary_storage_uuid_for_root_volume,
            ..Demand::default()
        })
    }

    fn disk(&self, source: &ImageSource) -> Result<Disk> {
        let size = self.root_disk_size.unwrap_or(source.size);
        if size < source.size {
            let details = format!("\"rootDiskSize\" {size} is less than the image's {} bytes", source.size);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        Ok(Disk { image: String::new(), size, image_size: source.actual_size })
    }

    async fn plan(self, tx: &mut Tx, job: &Job) -> Result<Create> {
        let image =
            self.image_uuid.ok_or_else(|| codes::INVALID_ARGUMENT.because("\"imageUuid\" is required"))?;
        let size = self.size(tx).await?;
        allocate::check_size(size.cpu, size.memory)?;
        allocate::check_strategy(&size.strategy)?;
        let source = image::source(tx, image, self.zone_uuid).await?;
        if source.media_type != "RootVolumeTemplate" {
            let details = format!(
                "image \"{}\" is a {}: a VM is made from a RootVolumeTemplate",
                source.name, source.media_type
            );
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        let (l3_networks, default_l3) = self.networks(tx).await?;
        let addresses = tag::addresses(job.tags(), &l3_networks)?;
        let disk = Disk { image: image.to_string(), ..self.disk(&source)? };
        let demand = Demand {
            cpu: size.cpu,
            memory: size.memory,
            l3_networks,
            disk: Some(disk),
            ..self.scope(tx).await?
        };
        Ok(Create {
            uuid: self.resource_uuid.unwrap_or(job.id().cast()),
            account: job.account(),
            offering: self.instance_offering_uuid.map(Id::cast),
            image: image.cast(),
            wanted: Wanted {
                image: image.to_string(),
                url: source.url,
                hostname: source.hostname,
                install_path: source.install_path,
                sha256: source.sha256,
                actual_size: source.actual_size,
            },
            platform: self.platform.map_or(source.platform, |platform| platform.name().to_owned()),
            architecture: self.architecture.unwrap_or_default().name().to_owned(),
            guest_os_type: self.guest_os_type.or(source.guest_os_type),
            virtio: self.virtio.unwrap_or(source.virtio),
            cpu_speed: size.cpu_speed,
            reserved_memory: size.reserved_memory,
            strategy: size.strategy,
            default_l3,
            addresses,
            start: self.strategy.unwrap_or_default() == CreationStrategy::InstantStart,
            name: self.name,
            description: self.description,
            demand,
            made: Made::default(),
        })
    }
}

impl Api for CreateVmInstance {
    const ROUTE: Route = CreateVmInstance::ROUTE;
    const MAKES: Option<&'static str> = Some(VmInstanceInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.check()?;
        let mut tx = job.engine().db().read().await?;
        let create = self.plan(&mut tx, &job).await?;
        drop(tx);
        job.flow(create).await
    }
}

api! {
    UpdateVmInstance: PUT "/vm-instances/{uuid}/actions" "updateVmInstance" {
        uuid: Id<VmInstance>,
        name: Option<String>,
        description: Option<String>,
        state: Option<String>,
        default_l3_network_uuid: Option<Id<L3Network>>,
        platform: Option<Platform>,
        cpu_num: Option<i64>,
        memory_size: Option<i64>,
        reserved_memory_size: Option<i64>,
        guest_os_type: Option<String>,
    }
}

impl Api for UpdateVmInstance {
    const ROUTE: Route = UpdateVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("state", &self.state)?;
        validate::unsupported("defaultL3NetworkUuid", &self.default_l3_network_uuid)?;
        validate::unsupported("cpuNum", &self.cpu_num)?;
        validate::unsupported("memorySize", &self.memory_size)?;
        validate::unsupported("reservedMemorySize", &self.reserved_memory_size)?;
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<VmInstanceInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

async fn vm(job: &Job, uuid: Id<VmInstance>) -> Result<VmInstanceInventory> {
    find(&mut job.engine().db().read().await?, uuid).await
}

api! {
    StartVmInstance: PUT "/vm-instances/{uuid}/actions" "startVmInstance" {
        uuid: Id<VmInstance>,
        cluster_uuid: Option<Id<Cluster>>,
        host_uuid: Option<Id<Host>>,
    }
}

impl Api for StartVmInstance {
    const ROUTE: Route = StartVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("clusterUuid", &self.cluster_uuid)?;
        let mut tx = job.engine().db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.uuid).await?;
        life::check_host(&mut tx, self.host_uuid).await?;
        drop(tx);
        job.flow(Start { uuid: vm.uuid, name: vm.name, host: self.host_uuid }).await
    }
}

api! {
    StopVmInstance: PUT "/vm-instances/{uuid}/actions" "stopVmInstance" {
        uuid: Id<VmInstance>,
        r#type: Option<StopMode>,
        #[serde(rename = "stopHA")]
        stop_ha: Option<String>,
    }
}

impl Api for StopVmInstance {
    const ROUTE: Route = StopVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("stopHA", &self.stop_ha)?;
        let vm = vm(&job, self.uuid).await?;
        let mode = self.r#type.unwrap_or(StopMode::Grace);
        job.flow(Stop { uuid: vm.uuid, name: vm.name, mode }).await
    }
}

api! {
    RebootVmInstance: PUT "/vm-instances/{uuid}/actions" "rebootVmInstance" {
        uuid: Id<VmInstance>,
    }
}

impl Api for RebootVmInstance {
    const ROUTE: Route = RebootVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        turn(job, self.uuid, How::Reboot).await
    }
}

api! {
    PauseVmInstance: PUT "/vm-instances/{uuid}/actions" "pauseVmInstance" {
        uuid: Id<VmInstance>,
    }
}

impl Api for PauseVmInstance {
    const ROUTE: Route = PauseVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        turn(job, self.uuid, How::Pause).await
    }
}

api! {
    ResumeVmInstance: PUT "/vm-instances/{uuid}/actions" "resumeVmInstance" {
        uuid: Id<VmInstance>,
    }
}

impl Api for ResumeVmInstance {
    const ROUTE: Route = ResumeVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        turn(job, self.uuid, How::Resume).await
    }
}

async fn turn(job: Job, uuid: Id<VmInstance>, how: How) -> Result<Settled> {
    let vm = vm(&job, uuid).await?;
    job.flow(Turn { uuid, name: vm.name, how }).await
}

api! {
    DestroyVmInstance: DELETE "/vm-instances/{uuid}" {
        uuid: Id<VmInstance>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DestroyVmInstance {
    const ROUTE: Route = DestroyVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        if job.engine().setting(&DELETION_POLICY) == DeletionPolicy::Direct {
            return job.delete(&self).await;
        }
        let vm = vm(&job, self.uuid).await?;
        job.flow(Destroy { uuid: vm.uuid, name: vm.name }).await
    }

    /// While it can be recovered nothing else is touched.
    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        let root = Root::new("VmInstance", vm.uuid.cast(), &vm.name);
        let root = match tx.engine().setting(&DELETION_POLICY) {
            DeletionPolicy::Delay => root.alone(),
            DeletionPolicy::Direct => root,
        };
        Ok(Some(Delete::new(root).mode(self.delete_mode)))
    }
}

api! {
    RecoverVmInstance: PUT "/vm-instances/{uuid}/actions" "recoverVmInstance" {
        uuid: Id<VmInstance>,
    }
}

impl Api for RecoverVmInstance {
    const ROUTE: Route = RecoverVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::recover(tx, self.uuid.cast()).await?;
                show::<VmInstanceInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ExpungeVmInstance: PUT "/vm-instances/{uuid}/actions" "expungeVmInstance" {
        uuid: Id<VmInstance>,
    }
}

impl Api for ExpungeVmInstance {
    const ROUTE: Route = ExpungeVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let vm = vm(&job, self.uuid).await?;
        if vm.state != "Destroyed" {
            let details = format!("vm \"{}\" is {}: destroy it before it is expunged", vm.name, vm.state);
            return Err(codes::STATE.because(details));
        }
        job.delete(&self).await
    }

    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        Ok(Some(Delete::new(Root::new("VmInstance", vm.uuid.cast(), &vm.name))))
    }
}

api! {
    GetHostAllocatorStrategies: GET "/hosts/allocators/strategies" {}
}

impl Ask for GetHostAllocatorStrategies {
    const ROUTE: Route = GetHostAllocatorStrategies::ROUTE;

    async fn answer(self, _asked: Asked) -> Result<Value> {
        Ok(json!({ "strategies": STRATEGIES.types().collect::<Vec<_>>() }))
    }
}
