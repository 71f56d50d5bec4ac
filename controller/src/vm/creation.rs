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

use super::allocate::{Demand, Disk};
use super::create::{self, Create, DataDisk};
use super::wish::{Begins, VmType, Wish};
use super::{VmInstance, VmInstanceInventory, cd_rom, facet, seed, volume};
use crate::cluster::Cluster;
use crate::disk_offering::{DiskOffering, DiskOfferingInventory};
use crate::host::Host;
use crate::image::{self, Image, ImageSource};
use crate::l3::L3Network;
use crate::offering::InstanceOffering;
use crate::primary_storage::PrimaryStorage;
use crate::primary_storage::driver::Wanted;
use crate::ssh_key_pair::SshKeyPair;
use crate::validate::{self, Architecture, Platform, within};
use crate::zone::Zone;

/// `strategy` of a creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum CreationStrategy {
    #[default]
    InstantStart,
    JustCreate,
    CreateStopped,
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

impl CreateVmInstance {
    fn check(&self) -> Result<()> {
        self.wish().check()?;
        if self.strategy == Some(CreationStrategy::JustCreate) {
            let details = "\"strategy\" JustCreate is not supported yet: use CreateStopped";
            return Err(codes::UNIMPLEMENTED.because(details));
        }
        validate::unsupported("vmNicParams", &self.vm_nic_params)?;
        validate::unsupported("rootVolumeSystemTags", &self.root_volume_system_tags)?;
        validate::unsupported("diskAOs", &self.disk_aos)
    }

    /// What is not said of its disks.
    fn wish(&self) -> Wish {
        Wish {
            uuid: self.resource_uuid,
            name: self.name.clone(),
            description: self.description.clone(),
            r#type: self.r#type,
            offering: self.instance_offering_uuid,
            cpu: self.cpu_num,
            memory: self.memory_size,
            reserved_memory: self.reserved_memory_size,
            l3_networks: self.l3_network_uuids.clone(),
            default_l3: self.default_l3_network_uuid,
            zone: self.zone_uuid,
            cluster: self.cluster_uuid,
            host: self.host_uuid,
            storage: self.primary_storage_uuid_for_root_volume,
            start: self.strategy.unwrap_or_default() == CreationStrategy::InstantStart,
        }
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
            disks.push(DataDisk { offering: Some(offering.cast()), size, ..DataDisk::default() });
        }
        for size in self.data_disk_sizes.iter().flatten() {
            within("dataDiskSizes", *size, SIZE)?;
            disks.push(DataDisk { size: *size, ..DataDisk::default() });
        }
        volume::check_number(tx, disks.len())?;
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

    /// What such a VM needs of a place, and how places are ordered.
    pub(super) async fn demand(&self, tx: &mut Tx, tags: &Tags) -> Result<(Demand, String)> {
        self.check()?;
        let (image, wish) = (self.image()?, self.wish());
        let size = wish.size(tx).await?;
        let source = image::source(tx, image, self.zone_uuid).await?;
        let drives = drives(tx, tags, is_iso(&source).then_some(image), self.zone_uuid).await?;
        let more = beside(Some(image), &drives, &self.data_disks(tx).await?);
        let disk = Disk { image: image.to_string(), more, ..self.disk(tx, &source).await? };
        let (l3_networks, _) = wish.networks(tx).await?;
        let (cpu, memory) = (size.cpu, size.memory);
        let scope = wish.scope(tx, tags).await?;
        Ok((Demand { cpu, memory, l3_networks, disk: Some(disk), ..scope }, size.strategy))
    }

    fn image(&self) -> Result<Id<Image>> {
        self.image_uuid.ok_or_else(|| codes::INVALID_ARGUMENT.because("\"imageUuid\" is required"))
    }

    async fn plan(self, tx: &mut Tx, job: &Job) -> Result<Create> {
        let (image, wish) = (self.image()?, self.wish());
        let size = wish.size(tx).await?;
        let begins = self.begins(tx, job, image).await?;
        wish.plan(tx, job, size, begins).await
    }

    async fn begins(self, tx: &mut Tx, job: &Job, image: Id<Image>) -> Result<Begins> {
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
        let drives = drives(tx, job.tags(), empty.then_some(image), self.zone_uuid).await?;
        let keys = self.ssh_key_pair_uuids.as_deref().unwrap_or_default();
        let seed = seed::Asked::of(tx, keys, job.tags()).await?;
        let more = beside(Some(image), &drives, &data);
        let disk = Disk { image: image.to_string(), more, ..self.disk(tx, &source).await? };
        Ok(Begins {
            image: Some(image),
            wanted: create::wanted(&source, image),
            empty,
            source: None,
            disk,
            data,
            drives,
            boot_mode,
            seed,
            platform: self.platform.map_or(source.platform, |platform| platform.name().to_owned()),
            architecture: self.architecture.unwrap_or_default().name().to_owned(),
            guest_os_type: self.guest_os_type.or(source.guest_os_type),
            virtio: self.virtio.unwrap_or(source.virtio),
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

/// What lies in the CD-ROM drives of a new VM; `first` is what it is installed from.
pub(super) async fn drives(
    tx: &mut Tx,
    tags: &Tags,
    first: Option<Id<Image>>,
    zone: Option<Id<Zone>>,
) -> Result<Vec<Option<Wanted>>> {
    let mut drives = Vec::new();
    for iso in cd_rom::drives(tx, tags, first)? {
        drives.push(match iso {
            None => None,
            Some(iso) => {
                let source = image::source(tx, iso, zone).await?;
                cd_rom::must_be_iso(&source.name, &source.media_type)?;
                Some(create::wanted(&source, iso))
            }
        });
    }
    Ok(drives)
}

/// The bytes of what is made beside a root volume of the image: ISOs that are fetched, data volumes.
pub(super) fn beside(image: Option<Id<Image>>, drives: &[Option<Wanted>], data: &[DataDisk]) -> i64 {
    let image = image.map(|image| image.to_string());
    let other = |iso: &&Wanted| Some(&iso.image) != image.as_ref();
    let isos = drives.iter().flatten().filter(other).map(|iso| iso.actual_size);
    isos.chain(data.iter().map(|disk| disk.size)).sum()
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
