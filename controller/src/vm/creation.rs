//! What a client says of the VM that it wants, and what comes of that.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find};
use engine::tag::Wanted as Tags;
use engine::{Id, Result, api, codes};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::allocate::{self, Demand, Disk};
use super::create::{self, Create, DataDisk, Made};
use super::{VmInstance, VmInstanceInventory, affinity, cd_rom, facet, seed, tag, volume};
use crate::cluster::{Cluster, ClusterInventory};
use crate::disk_offering::{DiskOffering, DiskOfferingInventory};
use crate::host::{Host, HostInventory};
use crate::image::{self, Image, ImageSource};
use crate::l3::{L3Network, L3NetworkInventory};
use crate::offering::{InstanceOffering, InstanceOfferingInventory};
use crate::primary_storage::driver::Wanted;
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};
use crate::ssh_key_pair::SshKeyPair;
use crate::validate::{self, Architecture, Platform, within};
use crate::zone::{Zone, ZoneInventory};

/// `strategy` of a creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum CreationStrategy {
    #[default]
    InstantStart,
    JustCreate,
    CreateStopped,
}

/// `type` of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
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
        root_disk_offering_uuid: Option<Id<DiskOffering>>,
        root_disk_size: Option<i64>,
        data_disk_sizes: Option<Vec<i64>>,
        data_disk_offering_uuids: Option<Vec<Id<DiskOffering>>>,
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
        ssh_key_pair_uuids: Option<Vec<Id<SshKeyPair>>>,
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
        validate::unsupported("rootVolumeSystemTags", &self.root_volume_system_tags)?;
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

    /// The size that is wanted of the root volume, if one is.
    async fn root_size(&self, tx: &mut Tx) -> Result<Option<i64>> {
        match (self.root_disk_offering_uuid, self.root_disk_size) {
            (Some(_), Some(_)) => {
                let details = "give either \"rootDiskOfferingUuid\" or \"rootDiskSize\"";
                Err(codes::INVALID_ARGUMENT.because(details))
            }
            (Some(offering), None) => Ok(Some(offered(tx, offering).await?.disk_size)),
            (None, size) => Ok(size),
        }
    }

    async fn disk(&self, tx: &mut Tx, source: &ImageSource) -> Result<Disk> {
        let wanted = self.root_size(tx).await?;
        wanted.map_or(Ok(()), |size| within("rootDiskSize", size, SIZE))?;
        let size = match (wanted, is_iso(source)) {
            (None, true) => {
                let details = format!(
                    "image \"{}\" is an ISO: give \"rootDiskOfferingUuid\" or \"rootDiskSize\" for the disk \
                     that it installs",
                    source.name
                );
                return Err(codes::INVALID_ARGUMENT.because(details));
            }
            (Some(size), false) if size < source.size => {
                let details =
                    format!("\"rootDiskSize\" {size} is less than the image's {} bytes", source.size);
                return Err(codes::INVALID_ARGUMENT.because(details));
            }
            (wanted, _) => wanted.unwrap_or(source.size),
        };
        Ok(Disk { image: String::new(), size, image_size: source.actual_size, more: 0 })
    }

    /// The data volumes that are made with it: those of offerings, then those of sizes, as ZStack numbers them.
    async fn data_disks(&self, tx: &mut Tx) -> Result<Vec<DataDisk>> {
        let mut disks = Vec::new();
        for offering in self.data_disk_offering_uuids.iter().flatten() {
            let size = offered(tx, *offering).await?.disk_size;
            disks.push(DataDisk { offering: Some(offering.cast()), size, tags: Vec::new() });
        }
        for size in self.data_disk_sizes.iter().flatten() {
            within("dataDiskSizes", *size, SIZE)?;
            disks.push(DataDisk { offering: None, size: *size, tags: Vec::new() });
        }
        let most = tx.engine().setting(&volume::MOST);
        if i64::try_from(disks.len()).unwrap_or(i64::MAX) > most {
            let details = format!(
                "{} data volumes are wanted, at most {most} may be by kvm.dataVolume.maxNum",
                disks.len()
            );
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        self.tag(&mut disks)?;
        Ok(disks)
    }

    /// What is said of all of them, and of one by its number.
    fn tag(&self, disks: &mut [DataDisk]) -> Result<()> {
        for disk in disks.iter_mut() {
            disk.tags.extend(self.data_volume_system_tags.iter().flatten().cloned());
        }
        for (number, tags) in self.data_volume_system_tags_on_index.iter().flatten() {
            let disk = number.parse().ok().and_then(|number: usize| disks.get_mut(number));
            let disk = disk.ok_or_else(|| {
                let details =
                    format!("\"dataVolumeSystemTagsOnIndex\" names data volume {number}, which is not made");
                codes::INVALID_ARGUMENT.because(details)
            })?;
            disk.tags.extend(tags.iter().cloned());
        }
        Ok(())
    }

    /// What lies in its CD-ROM drives.
    async fn drives(
        &self,
        tx: &mut Tx,
        tags: &Tags,
        first: Option<Id<Image>>,
    ) -> Result<Vec<Option<Wanted>>> {
        let mut drives = Vec::new();
        for iso in cd_rom::drives(tx, tags, first)? {
            drives.push(match iso {
                None => None,
                Some(iso) => {
                    let source = image::source(tx, iso, self.zone_uuid).await?;
                    cd_rom::must_be_iso(&source.name, &source.media_type)?;
                    Some(create::wanted(&source, iso))
                }
            });
        }
        Ok(drives)
    }

    /// What such a VM needs of a place, and how places are ordered.
    pub(super) async fn demand(&self, tx: &mut Tx, tags: &Tags) -> Result<(Demand, String)> {
        self.check()?;
        let (image, size) = (self.image()?, self.size(tx).await?);
        allocate::check_size(size.cpu, size.memory)?;
        let source = image::source(tx, image, self.zone_uuid).await?;
        let drives = self.drives(tx, tags, is_iso(&source).then_some(image)).await?;
        let more = beside(image, &drives, &self.data_disks(tx).await?);
        let disk = Disk { image: image.to_string(), more, ..self.disk(tx, &source).await? };
        let (l3_networks, _) = self.networks(tx).await?;
        let (cpu, memory) = (size.cpu, size.memory);
        let scope = bound(self.scope(tx).await?, tags)?;
        Ok((Demand { cpu, memory, l3_networks, disk: Some(disk), ..scope }, size.strategy))
    }

    fn image(&self) -> Result<Id<Image>> {
        self.image_uuid.ok_or_else(|| codes::INVALID_ARGUMENT.because("\"imageUuid\" is required"))
    }

    async fn plan(self, tx: &mut Tx, job: &Job) -> Result<Create> {
        let image = self.image()?;
        let size = self.size(tx).await?;
        allocate::check_size(size.cpu, size.memory)?;
        allocate::check_strategy(&size.strategy)?;
        let source = image::source(tx, image, self.zone_uuid).await?;
        let empty = is_iso(&source);
        if !empty && source.media_type != "RootVolumeTemplate" {
            let details = format!(
                "image \"{}\" is a {}: a VM is made from a RootVolumeTemplate, or installed from an ISO",
                source.name, source.media_type
            );
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        let boot_mode = match job.tags().tokens(&facet::BOOT_MODE).is_empty() {
            true => image::boot_mode(tx, image).await?,
            false => None,
        };
        let data = self.data_disks(tx).await?;
        let drives = self.drives(tx, job.tags(), empty.then_some(image)).await?;
        let (l3_networks, default_l3) = self.networks(tx).await?;
        let addresses = tag::addresses(job.tags(), &l3_networks)?;
        let keys = self.ssh_key_pair_uuids.as_deref().unwrap_or_default();
        let seed::Asked { keys, user_data } = seed::Asked::of(tx, keys, job.tags()).await?;
        let more = beside(image, &drives, &data);
        let disk = Disk { image: image.to_string(), more, ..self.disk(tx, &source).await? };
        let scope = bound(self.scope(tx).await?, job.tags())?;
        affinity::check_owner(tx, &scope.groups, job.account()).await?;
        let (cpu, memory) = (size.cpu, size.memory);
        let demand = Demand { cpu, memory, l3_networks, disk: Some(disk), ..scope };
        Ok(Create {
            uuid: self.resource_uuid.unwrap_or(job.id().cast()),
            account: job.account(),
            offering: self.instance_offering_uuid.map(Id::cast),
            image: image.cast(),
            wanted: create::wanted(&source, image),
            empty,
            drives,
            data,
            boot_mode,
            keys,
            user_data,
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

/// The bytes of what is made beside a root volume of the image: ISOs that are fetched, data volumes.
fn beside(image: Id<Image>, drives: &[Option<Wanted>], data: &[DataDisk]) -> i64 {
    let image = image.to_string();
    let isos = drives.iter().flatten().filter(|iso| iso.image != image).map(|iso| iso.actual_size);
    isos.chain(data.iter().map(|disk| disk.size)).sum()
}

/// With what the tags say of where it may be.
fn bound(demand: Demand, tags: &Tags) -> Result<Demand> {
    let affinity::Bonds { groups, host_tags } = affinity::Bonds::wanted(tags)?;
    Ok(Demand { groups, host_tags, ..demand })
}

/// From 1 MiB to 64 TiB.
const SIZE: RangeInclusive<i64> = (1 << 20)..=(64 << 40);

fn is_iso(source: &ImageSource) -> bool {
    source.media_type == "ISO"
}

async fn offered(tx: &mut Tx, offering: Id<DiskOffering>) -> Result<DiskOfferingInventory> {
    let offering: DiskOfferingInventory = find(tx, offering).await?;
    match offering.state.as_str() {
        "Enabled" => Ok(offering),
        state => Err(codes::STATE.because(format!("disk offering \"{}\" is {state}", offering.name))),
    }
}
