//! A virtual machine.
//!
//! ```text
//!            create
//!              │
//!              ▼        ┌── reboot ──┐
//!          Starting ─▶ Running ◀─────┘ ◀─ Resuming ◀─ Paused ◀─ Pausing ◀─ (Running)
//!              ▲         │
//!              │      Stopping
//!              │         ▼
//!              └────── Stopped ◀── recover ── Destroyed ── expunge ──▶ (gone)
//!                                                 ▲
//!           Running, Paused, Stopped ─ Destroying ┘
//! ```
//!
//! A state that ends in -ing exists only while a live flow owns the VM. CPU and memory are claimed of a
//! host from the moment a start is decided until the VM is known to be stopped; the root volume claims its
//! storage until it is expunged; addresses stay with the VM until then too.

pub mod allocate;
mod api;
mod boot;
mod cascade;
mod create;
pub mod drift;
mod life;
mod remove;
mod store;
mod tag;

use std::time::Duration;

use engine::db::Tx;
use engine::inventory::{attach, page_uuids, present};
use engine::module::Module;
use engine::query::Relation;
use engine::quota::Quota;
use engine::setting::{AnySetting, Setting, plain, seconds};
use engine::sweep::{By, Sweep};
use engine::{Any, Id, Result, Stamp, inventory};
use serde_json::{Map, Value};

use crate::cluster::{Cluster, ClusterInventory};
use crate::host::{Host, HostInventory};
use crate::image::ImageInventory;
use crate::l3::L3NetworkInventory;
use crate::nic::VmNicInventory;
use crate::offering::InstanceOfferingInventory;
use crate::volume::VolumeInventory;
use crate::zone::{Zone, ZoneInventory};

/// Marks ids of VMs.
#[derive(Debug)]
pub enum VmInstance {}

inventory! {
    /// A VM as the API shows it. Memory in bytes.
    VmInstanceInventory in "vm_instance" seen Owned("uuid") {
        uuid: Id<VmInstance>,
        #[serde(skip)]
        internal_id: i64,
        name: String,
        description: Option<String>,
        zone_uuid: Option<Id<Zone>>,
        cluster_uuid: Option<Id<Cluster>>,
        host_uuid: Option<Id<Host>>,
        last_host_uuid: Option<Id<Host>>,
        image_uuid: Option<Id<Any>>,
        instance_offering_uuid: Option<Id<Any>>,
        root_volume_uuid: Option<Id<Any>>,
        default_l3_network_uuid: Option<Id<Any>>,
        platform: String,
        architecture: Option<String>,
        guest_os_type: Option<String>,
        r#type: String,
        hypervisor_type: String,
        cpu_num: i64,
        cpu_speed: i64,
        memory_size: i64,
        reserved_memory_size: i64,
        allocator_strategy: String,
        #[serde(skip)]
        virtio: bool,
        state: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid").back("vmInstance"),
        Relation::one::<ClusterInventory>("cluster", "cluster_uuid").back("vmInstance"),
        Relation::one::<HostInventory>("host", "host_uuid").back("vmInstance"),
        Relation::one::<HostInventory>("lastHost", "last_host_uuid"),
        Relation::one::<ImageInventory>("image", "image_uuid").back("vmInstance"),
        Relation::one::<InstanceOfferingInventory>("instanceOffering", "instance_offering_uuid").back("vmInstance"),
        Relation::one::<L3NetworkInventory>("defaultL3Network", "default_l3_network_uuid"),
        Relation::one::<VolumeInventory>("rootVolume", "root_volume_uuid"),
        Relation::many::<VolumeInventory>("allVolumes", "vm_instance_uuid").back("vmInstance"),
        Relation::many::<VmNicInventory>("vmNics", "vm_instance_uuid").back("vmInstance"),
    ]
}

impl VmInstanceInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Map<String, Value>]) -> Result<()> {
        let nics: Vec<VmNicInventory> = store::nics(tx, page_uuids(page)).await?;
        let owners: Vec<String> = nics.iter().map(|nic| nic.vm_instance_uuid.to_string()).collect();
        let nics = present(tx, &nics).await?;
        attach(page, "vmNics", owners.into_iter().zip(nics))?;
        let volumes: Vec<VolumeInventory> = store::volumes(tx, page_uuids(page)).await?;
        let owner = |v: &VolumeInventory| v.vm_instance_uuid.map_or_else(String::new, |vm| vm.to_string());
        attach(page, "allVolumes", volumes.into_iter().map(|volume| (owner(&volume), volume)))?;
        attach(page, "vmCdRoms", std::iter::empty::<(String, Value)>())
    }
}

/// What becomes of a VM that is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It is expunged at once.
    Direct,
    /// It can be recovered until it is expunged.
    Delay,
}

impl std::str::FromStr for DeletionPolicy {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "Direct" => Ok(DeletionPolicy::Direct),
            "Delay" => Ok(DeletionPolicy::Delay),
            _ => Err("must be Direct or Delay"),
        }
    }
}

pub(crate) const DELETION_POLICY: Setting<DeletionPolicy> = Setting {
    category: "vm",
    name: "deletionPolicy",
    default: "Delay",
    help: "Delay keeps a destroyed VM recoverable until it is expunged, Direct expunges it at once",
    read: plain,
};
pub(crate) const EXPUNGE_PERIOD: Setting<Duration> = Setting {
    category: "vm",
    name: "expungePeriod",
    default: "604800",
    help: "a destroyed VM is expunged after so long, seconds",
    read: seconds,
};
pub(crate) const EXPUNGE_INTERVAL: Setting<Duration> = Setting {
    category: "vm",
    name: "expungeInterval",
    default: "3600",
    help: "how often destroyed VMs are looked for whose time is over, seconds",
    read: seconds,
};

const SETTINGS: &[AnySetting] = &[
    DELETION_POLICY.entry(|text| DELETION_POLICY.accepts(text)),
    EXPUNGE_PERIOD.entry(|text| EXPUNGE_PERIOD.accepts(text)),
    EXPUNGE_INTERVAL.entry(|text| EXPUNGE_INTERVAL.accepts(text)),
];

pub(crate) const TOTAL_NUM: Quota = Quota { name: "vm.totalNum", default: 20, used: store::NOT_DESTROYED };
pub(crate) const NUM: Quota = Quota { name: "vm.num", default: 20, used: store::ON_HOSTS };
pub(crate) const CPU_NUM: Quota = Quota { name: "vm.cpuNum", default: 80, used: store::CPUS };
pub(crate) const MEMORY_SIZE: Quota = Quota { name: "vm.memorySize", default: 80 << 30, used: store::MEMORY };

const EXPUNGE: Sweep = Sweep {
    name: "vm expunge",
    every: |engine| engine.setting(&EXPUNGE_INTERVAL),
    by: By::One,
    pass: |engine| Box::pin(remove::expunge_overdue(engine)),
};

const EVENTS: &[(&str, &str)] = &[
    ("/vm/created", "it was created: name"),
    ("/vm/state/changed", "it is in another state: state"),
    ("/vm/destroyed", "it is off its host and can be recovered: name"),
    ("/vm/expunged", "it is gone: name"),
];

pub fn module() -> Module {
    Module::new("vm")
        .category("instance")
        .query::<VmInstanceInventory>("QueryVmInstance", "/vm-instances")
        .api::<api::CreateVmInstance>()
        .api::<api::UpdateVmInstance>()
        .api::<api::StartVmInstance>()
        .api::<api::StopVmInstance>()
        .api::<api::RebootVmInstance>()
        .api::<api::PauseVmInstance>()
        .api::<api::ResumeVmInstance>()
        .api::<api::DestroyVmInstance>()
        .api::<api::RecoverVmInstance>()
        .api::<api::ExpungeVmInstance>()
        .ask::<api::GetHostAllocatorStrategies>()
        .flow::<create::Create>()
        .flow::<life::Start>()
        .flow::<life::Stop>()
        .flow::<life::Turn>()
        .flow::<remove::Destroy>()
        .cascade(&cascade::VmInstanceKind, cascade::EDGES)
        .settings(SETTINGS)
        .tags(&[tag::STATIC_IP])
        .quotas(&[&TOTAL_NUM, &NUM, &CPU_NUM, &MEMORY_SIZE])
        .sweep(EXPUNGE)
        .events(EVENTS)
}
