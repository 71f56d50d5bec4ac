//! A volume: a virtual disk on a primary storage. Its row is its claim on the storage's space.
//!
//! ```text
//!   (root, with its VM)   (data, on a storage)   (data, anywhere)
//!          │                      │                     │
//!          ▼                      ▼                     ▼
//!       Creating ◀───────────── Creating        NotInstantiated ── delete ──▶ (gone)
//!          │                                            │ first attachment
//!          ▼                                            ▼
//!        Ready ◀──────────────────────────────────── Creating
//!          │ ▲
//!   delete ▼ │ recover
//!        Deleted ── expunge ──▶ (gone)
//! ```
//! Root volumes come and go with their VM. Data volumes stay when their VM goes; while one is attached it is
//! not deleted. Attaching is the VM's doing ([`crate::vm`]), which knows its host.
//!
//! A volume of a local storage lies on a host; one of a shared storage on none, and has a *hand*: the host that
//! works on its files. A flow takes it in hand when it begins ([`in_hand`]), and its acts keep to that host.

mod api;
mod batch;
mod cascade;
mod create;
mod from;
mod remove;
mod store;
mod tag;

use std::time::Duration;

use engine::module::Module;
use engine::query::Relation;
use engine::quota::Quota;
use engine::setting::{AnySetting, Setting, plain, seconds};
use engine::sweep::{By, Sweep};
use engine::{Any, Id, Stamp, inventory};

use crate::host::{Host, HostInventory};
use crate::image::ImageInventory;
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};

pub use create::{Create, Origin};
pub use remove::DeletionPolicy;
pub use store::{
    Lies, NewData, NewRoot, attach, claim_copy, claim_data, claim_root, data_of, delete, detach, files,
    forget_copy, forget_of, go_to, in_hand, lay, let_go, making, out_of_reach, ready, root_of, set_status,
    snapshots, unlay,
};

/// Marks ids of volumes.
#[derive(Debug)]
pub enum Volume {}

inventory! {
    /// A volume as the API shows it. Sizes in bytes.
    VolumeInventory in "volume" seen Owned("uuid") {
        uuid: Id<Volume>,
        name: String,
        description: Option<String>,
        primary_storage_uuid: Option<Id<PrimaryStorage>>,
        #[serde(skip)]
        host_uuid: Option<Id<Host>>,
        #[serde(skip)]
        hand_uuid: Option<Id<Host>>,
        vm_instance_uuid: Option<Id<Any>>,
        last_vm_instance_uuid: Option<Id<Any>>,
        disk_offering_uuid: Option<Id<Any>>,
        root_image_uuid: Option<Id<Any>>,
        install_path: Option<String>,
        r#type: String,
        format: String,
        size: i64,
        actual_size: Option<i64>,
        device_id: Option<i64>,
        state: String,
        status: String,
        is_shareable: bool,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<PrimaryStorageInventory>("primaryStorage", "primary_storage_uuid").back("volume"),
        Relation::one::<HostInventory>("host", "host_uuid").back("volume"),
        Relation::one::<ImageInventory>("image", "root_image_uuid").back("volume"),
    ]
}

pub(crate) const DELETION_POLICY: Setting<DeletionPolicy> = Setting {
    category: "volume",
    name: "deletionPolicy",
    default: "Delay",
    help: "Delay keeps a deleted data volume recoverable until it is expunged, Direct expunges it at once",
    read: plain,
};
pub(crate) const EXPUNGE_PERIOD: Setting<Duration> = Setting {
    category: "volume",
    name: "expungePeriod",
    default: "604800",
    help: "a deleted data volume is expunged after so long, seconds",
    read: seconds,
};
pub(crate) const EXPUNGE_INTERVAL: Setting<Duration> = Setting {
    category: "volume",
    name: "expungeInterval",
    default: "3600",
    help: "how often deleted data volumes are looked for whose time is over, seconds",
    read: seconds,
};

const SETTINGS: &[AnySetting] = &[
    DELETION_POLICY.entry(|text| DELETION_POLICY.accepts(text)),
    EXPUNGE_PERIOD.entry(|text| EXPUNGE_PERIOD.accepts(text)),
    EXPUNGE_INTERVAL.entry(|text| EXPUNGE_INTERVAL.accepts(text)),
];

pub const DATA_NUM: Quota = Quota { name: "volume.data.num", default: 40, used: store::DATA_VOLUMES };
/// Of all volumes, roots too.
pub const CAPACITY: Quota = Quota { name: "volume.capacity", default: 10 << 40, used: store::SIZES };

const EXPUNGE: Sweep = Sweep {
    name: "volume expunge",
    every: |engine| engine.setting(&EXPUNGE_INTERVAL),
    by: By::One,
    pass: |engine| Box::pin(remove::expunge_overdue(engine)),
};

const EVENTS: &[(&str, &str)] = &[
    ("/volume/created", "it can be used: name, size"),
    ("/volume/attached", "it is a VM's disk now: vmInstanceUuid"),
    ("/volume/detached", "it is no VM's disk any more: vmInstanceUuid"),
    ("/volume/deleted", "it is gone, or can be recovered: recoverable"),
    ("/volume/recovered", "it is ready again"),
];

pub fn module() -> Module {
    Module::new("volume")
        .query::<VolumeInventory>("QueryVolume", "/volumes")
        .api::<api::CreateDataVolume>()
        .api::<from::CreateDataVolumeFromVolumeTemplate>()
        .api::<api::UpdateVolume>()
        .api::<api::ChangeVolumeState>()
        .api::<api::SyncVolumeSize>()
        .api::<remove::DeleteDataVolume>()
        .api::<remove::RecoverDataVolume>()
        .api::<remove::ExpungeDataVolume>()
        .ask::<batch::BatchSyncVolumeSize>()
        .ask::<api::GetVolumeFormat>()
        .ask::<api::GetVolumeCapabilities>()
        .flow::<create::Create>()
        .flow::<create::Look>()
        .cascade(&cascade::VolumeKind, cascade::EDGES)
        .settings(SETTINGS)
        .tags(&[tag::HOST])
        .quotas(&[&DATA_NUM, &CAPACITY])
        .sweep(EXPUNGE)
        .events(EVENTS)
}
