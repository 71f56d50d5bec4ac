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
//!              │                   Running ─ Migrating ▶ Running (on another host)
//!              └────── Stopped ◀── recover ── Destroyed ── expunge ──▶ (gone)
//!                                                 ▲
//!           Running, Paused, Stopped ─ Destroying ┘
//! ```
//!
//! A state that ends in -ing exists only while a live flow owns the VM. CPU and memory are claimed of a
//! host from the moment a start is decided until the VM is known to be stopped; the root volume claims its
//! storage until it is expunged; addresses stay with the VM until then too, and so do its data volumes, which
//! are nobody's after that.

mod affinity;
pub mod allocate;
mod api;
mod boot;
mod candidate;
mod cascade;
mod cd_rom;
mod change;
mod copied;
mod create;
mod creation;
pub mod drift;
mod evacuate;
mod facet;
mod facts;
pub mod fallen;
mod from;
mod life;
mod migrate;
mod nic;
mod placement;
pub mod points;
mod priority;
mod remove;
mod seed;
mod store;
mod tag;
mod targets;
mod volume;
mod wish;

use std::time::Duration;

use engine::db::Tx;
use engine::inventory::{Members, Shown, attach, attach_shown, page_uuids};
use engine::module::Module;
use engine::query::{Link, Relation};
use engine::quota::Quota;
use engine::setting::{AnySetting, Setting, plain, seconds};
use engine::sweep::{By, Sweep};
use engine::{Any, Id, Result, Stamp, inventory};

pub use self::cd_rom::VmCdRomInventory;
use crate::affinity_group::AffinityGroupInventory;
use crate::cluster::{Cluster, ClusterInventory};
use crate::host::{Host, HostInventory};
use crate::image::ImageInventory;
use crate::l3::L3NetworkInventory;
use crate::nic::VmNicInventory;
use crate::offering::InstanceOfferingInventory;
use crate::volume::VolumeInventory;
use crate::zone::{Zone, ZoneInventory};

pub use copied::{Original, Source, closed};
pub use from::{Copied, StartStrategy};
pub use volume::told;
pub use wish::{VmType, Wish};

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
    } fill {
        vm_nics: Vec<Shown<VmNicInventory>>,
        all_volumes: Vec<Shown<VolumeInventory>>,
        vm_cd_roms: Vec<Shown<VmCdRomInventory>>,
    } => [
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
        Relation::many::<VmCdRomInventory>("vmCdRoms", "vm_instance_uuid").back("vmInstance"),
        Relation::linked::<AffinityGroupInventory>("affinityGroup", IN_GROUPS).back("vmInstance"),
    ]
}

const IN_GROUPS: Link =
    Link { table: "affinity_group_usage", here: "resource_uuid", there: "affinity_group_uuid" };

impl VmInstanceInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let nics: Vec<VmNicInventory> = store::nics(tx, page_uuids(page)).await?;
        attach_shown(tx, page, "vmNics", &nics, |nic| nic.vm_instance_uuid.to_string()).await?;
        let volumes: Vec<VolumeInventory> = store::volumes(tx, page_uuids(page)).await?;
        let owner = |v: &VolumeInventory| v.vm_instance_uuid.map_or_else(String::new, |vm| vm.to_string());
        attach(page, "allVolumes", volumes.into_iter().map(|volume| (owner(&volume), volume)))?;
        let drives = cd_rom::shown(tx, page_uuids(page)).await?;
        attach(page, "vmCdRoms", drives.into_iter().map(|drive| (drive.vm_instance_uuid.to_string(), drive)))
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
    volume::MOST.entry(|text| volume::MOST.accepts(text)),
    evacuate::POLICY.entry(|text| evacuate::POLICY.accepts(text)).one_of(&["StopVm", "MigrateVm"]),
];

pub const TOTAL_NUM: Quota = Quota { name: "vm.totalNum", default: 20, used: store::NOT_DESTROYED };
pub const NUM: Quota = Quota { name: "vm.num", default: 20, used: store::ON_HOSTS };
pub const CPU_NUM: Quota = Quota { name: "vm.cpuNum", default: 80, used: store::CPUS };
pub const MEMORY_SIZE: Quota = Quota { name: "vm.memorySize", default: 80 << 30, used: store::MEMORY };

const EXPUNGE: Sweep = Sweep {
    name: "vm expunge",
    every: |engine| engine.setting(&EXPUNGE_INTERVAL),
    by: By::One,
    pass: |engine| Box::pin(remove::expunge_overdue(engine)),
};

const EVENTS: &[(&str, &str)] = &[
    ("/vm/created", "it was created: name, accountUuid"),
    ("/vm/state/changed", "it is in another state: state"),
    ("/vm/unknown", "whether it runs on its host is not known: reason"),
    ("/vm/destroyed", "it is off its host and can be recovered: name"),
    ("/vm/expunged", "it is gone: name"),
    ("/vm/migrated", "it runs on another host: from, to"),
    ("/vm/nic/attached", "it has one more NIC: vmNicUuid, l3NetworkUuid"),
    ("/vm/nic/detached", "it has one NIC less: vmNicUuid"),
];

pub fn module() -> Module {
    let module = Module::new("vm")
        .category("instance")
        .family(&allocate::FILTERS)
        .family(&allocate::SORTERS)
        .family(&allocate::STRATEGIES);
    let module = seed::add_to(placement::add_to(affinity::add_to(module)));
    points::add_to(priority::add_to(candidate::add_to(facts::add_to(change::add_to(cd_rom::add_to(module))))))
        .query::<VmInstanceInventory>("QueryVmInstance", "/vm-instances")
        .api::<creation::CreateVmInstance>()
        .api::<from::CreateVmInstanceFromVolume>()
        .api::<api::StartVmInstance>()
        .api::<api::StopVmInstance>()
        .api::<api::RebootVmInstance>()
        .api::<api::PauseVmInstance>()
        .api::<api::ResumeVmInstance>()
        .api::<api::DestroyVmInstance>()
        .api::<api::RecoverVmInstance>()
        .api::<api::ExpungeVmInstance>()
        .ask::<api::GetHostAllocatorStrategies>()
        .api::<facet::SetVmHostname>()
        .api::<facet::DeleteVmHostname>()
        .ask::<facet::GetVmHostname>()
        .api::<facet::SetVmConsolePassword>()
        .api::<facet::DeleteVmConsolePassword>()
        .ask::<facet::GetVmConsolePassword>()
        .api::<facet::SetVmBootMode>()
        .api::<facet::DeleteVmBootMode>()
        .api::<facet::SetVmBootOrder>()
        .ask::<facet::GetVmBootOrder>()
        .api::<facet::SetVmSoundType>()
        .api::<facet::SetVmClockTrack>()
        .api::<nic::AttachL3NetworkToVm>()
        .api::<nic::DetachL3NetworkFromVm>()
        .ask::<nic::GetVmAttachableL3Network>()
        .api::<volume::AttachDataVolumeToVm>()
        .api::<volume::DetachDataVolumeFromVm>()
        .ask::<volume::GetVmAttachableDataVolume>()
        .ask::<volume::GetDataVolumeAttachableVm>()
        .flow::<create::Create>()
        .flow::<life::Start>()
        .flow::<life::Stop>()
        .flow::<life::Turn>()
        .flow::<nic::Attach>()
        .flow::<nic::Detach>()
        .flow::<volume::Attach>()
        .flow::<volume::Detach>()
        .flow::<remove::Destroy>()
        .hook(&crate::host::MAINTAINING, "vms", &evacuate::Evacuate)
        .cascade(&cascade::VmInstanceKind, cascade::EDGES)
        .settings(SETTINGS)
        .tags(&[tag::STATIC_IP])
        .tags(facet::TAGS)
        .quotas(&[&TOTAL_NUM, &NUM, &CPU_NUM, &MEMORY_SIZE])
        .sweep(EXPUNGE)
        .events(EVENTS)
}

/// Where VMs run is the operator's business.
pub fn moves() -> Module {
    Module::new("vm moves")
        .category("instance")
        .api::<targets::MigrateVm>()
        .ask::<targets::GetVmMigrationCandidateHosts>()
        .flow::<migrate::Migrate>()
        .admin()
}
