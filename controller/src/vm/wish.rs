//! What every creation says of a VM, whatever its disks begin with: its name, its size, its networks, its place.

use engine::api::Job;
use engine::db::Tx;
use engine::inventory::find;
use engine::tag::Wanted as Tags;
use engine::{Id, Result, codes};
use schemars::JsonSchema;
use serde::Deserialize;

use super::allocate::{self, Demand, Disk};
use super::copied::Source;
use super::create::{Create, DataDisk, Made};
use super::{VmInstance, affinity, seed, tag};
use crate::cluster::{Cluster, ClusterInventory};
use crate::host::{Host, HostInventory};
use crate::image::Image;
use crate::l3::{L3Network, L3NetworkInventory};
use crate::offering::{InstanceOffering, InstanceOfferingInventory};
use crate::primary_storage::driver::Wanted;
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};
use crate::validate;
use crate::zone::{Zone, ZoneInventory};

/// `type` of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum VmType {
    UserVm,
    ApplianceVm,
}

/// What is asked of a new VM.
#[derive(Debug)]
pub struct Wish {
    pub uuid: Option<Id<VmInstance>>,
    pub name: String,
    pub description: Option<String>,
    pub r#type: Option<VmType>,
    pub offering: Option<Id<InstanceOffering>>,
    pub cpu: Option<i64>,
    pub memory: Option<i64>,
    pub reserved_memory: Option<i64>,
    pub l3_networks: Option<Vec<Id<L3Network>>>,
    pub default_l3: Option<Id<L3Network>>,
    pub zone: Option<Id<Zone>>,
    pub cluster: Option<Id<Cluster>>,
    pub host: Option<Id<Host>>,
    pub storage: Option<Id<PrimaryStorage>>,
    /// Otherwise it is left Stopped.
    pub start: bool,
}

/// CPU, memory and what comes with them, of an offering or given one by one.
pub(super) struct Size {
    pub cpu: i64,
    pub cpu_speed: i64,
    pub memory: i64,
    pub reserved_memory: i64,
    pub strategy: String,
}

/// What a new VM begins with, and what its guest is.
pub(super) struct Begins {
    pub image: Option<Id<Image>>,
    pub wanted: Wanted,
    /// Its root volume is empty.
    pub empty: bool,
    /// Its root volume is a copy.
    pub source: Option<Source>,
    pub disk: Disk,
    pub data: Vec<DataDisk>,
    pub drives: Vec<Option<Wanted>>,
    pub boot_mode: Option<String>,
    pub seed: seed::Asked,
    pub platform: String,
    pub architecture: String,
    pub guest_os_type: Option<String>,
    pub virtio: bool,
}

impl Wish {
    pub(super) fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        match self.r#type {
            Some(VmType::ApplianceVm) => {
                Err(codes::UNIMPLEMENTED.because("appliance VMs are not supported yet: leave \"type\" out"))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn size(&self, tx: &mut Tx) -> Result<Size> {
        let size = self.said(tx).await?;
        allocate::check_size(size.cpu, size.memory)?;
        Ok(size)
    }

    async fn said(&self, tx: &mut Tx) -> Result<Size> {
        let Some(offering) = self.offering else {
            let (Some(cpu), Some(memory)) = (self.cpu, self.memory) else {
                let details = "give either \"instanceOfferingUuid\" or both \"cpuNum\" and \"memorySize\"";
                return Err(codes::INVALID_ARGUMENT.because(details));
            };
            let (reserved_memory, strategy) = (self.reserved_memory.unwrap_or(0), allocate::LEAST_VM.into());
            return Ok(Size { cpu, cpu_speed: 0, memory, reserved_memory, strategy });
        };
        let offering: InstanceOfferingInventory = find(tx, offering).await?;
        if offering.state != "Enabled" {
            let details = format!("instance offering \"{}\" is {}", offering.name, offering.state);
            return Err(codes::STATE.because(details));
        }
        Ok(Size {
            cpu: self.cpu.unwrap_or(offering.cpu_num),
            cpu_speed: offering.cpu_speed,
            memory: self.memory.unwrap_or(offering.memory_size),
            reserved_memory: self.reserved_memory.unwrap_or(offering.reserved_memory_size),
            strategy: offering.allocator_strategy,
        })
    }

    /// The networks, each once and enabled, and the default one among them.
    pub(super) async fn networks(&self, tx: &mut Tx) -> Result<(Vec<Id<L3Network>>, Option<Id<L3Network>>)> {
        let wanted = self.l3_networks.clone().unwrap_or_default();
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
        let default = self.default_l3.or(wanted.first().copied());
        if default.is_some_and(|default| !wanted.contains(&default)) {
            let details = "\"defaultL3NetworkUuid\" must be one of \"l3NetworkUuids\"";
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        Ok((wanted, default))
    }

    /// Where it may be, with what the tags say of that; every place that is named must exist.
    pub(super) async fn scope(&self, tx: &mut Tx, tags: &Tags) -> Result<Demand> {
        if let Some(zone) = self.zone {
            find::<ZoneInventory>(tx, zone).await?;
        }
        if let Some(cluster) = self.cluster {
            find::<ClusterInventory>(tx, cluster).await?;
        }
        if let Some(host) = self.host {
            find::<HostInventory>(tx, host).await?;
        }
        if let Some(storage) = self.storage {
            find::<PrimaryStorageInventory>(tx, storage).await?;
        }
        let affinity::Bonds { groups, host_tags } = affinity::Bonds::wanted(tags)?;
        Ok(Demand {
            hypervisor: "KVM".into(),
            zone: self.zone,
            cluster: self.cluster,
            host: self.host,
            storage: self.storage,
            groups,
            host_tags,
            ..Demand::default()
        })
    }

    /// The creation of such a VM.
    pub(super) async fn plan(self, tx: &mut Tx, job: &Job, size: Size, begins: Begins) -> Result<Create> {
        allocate::check_strategy(&size.strategy)?;
        let (l3_networks, default_l3) = self.networks(tx).await?;
        let addresses = tag::addresses(job.tags(), &l3_networks)?;
        let scope = self.scope(tx, job.tags()).await?;
        affinity::check_owner(tx, &scope.groups, job.account()).await?;
        let (cpu, memory) = (size.cpu, size.memory);
        Ok(Create {
            uuid: self.uuid.unwrap_or(job.id().cast()),
            account: job.account(),
            name: self.name,
            description: self.description,
            offering: self.offering.map(Id::cast),
            image: begins.image.map(Id::cast),
            wanted: begins.wanted,
            platform: begins.platform,
            architecture: begins.architecture,
            guest_os_type: begins.guest_os_type,
            virtio: begins.virtio,
            cpu_speed: size.cpu_speed,
            reserved_memory: size.reserved_memory,
            strategy: size.strategy,
            default_l3,
            addresses,
            start: self.start,
            empty: begins.empty,
            source: begins.source,
            drives: begins.drives,
            data: begins.data,
            boot_mode: begins.boot_mode,
            keys: begins.seed.keys,
            user_data: begins.seed.user_data,
            demand: Demand { cpu, memory, l3_networks, disk: Some(begins.disk), ..scope },
            made: Made::default(),
        })
    }
}
