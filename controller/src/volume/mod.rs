//! A volume: a virtual disk on a primary storage. Its row is its claim on the storage's space.
//!
//! ```text
//!  Creating ──▶ Ready ──▶ (gone)
//! ```
//! Root volumes come and go with their VM.

mod store;

use engine::module::Module;
use engine::query::Relation;
use engine::quota::Quota;
use engine::{Any, Id, Stamp, inventory};

use crate::host::{Host, HostInventory};
use crate::image::ImageInventory;
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};

pub use store::{NewRoot, claim_root, delete, ready, root_of};

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
        vm_instance_uuid: Option<Id<Any>>,
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

pub(crate) const DATA_NUM: Quota = Quota { name: "volume.data.num", default: 40, used: store::DATA_VOLUMES };
/// Of all volumes, roots too.
pub(crate) const CAPACITY: Quota = Quota { name: "volume.capacity", default: 10 << 40, used: store::SIZES };

pub fn module() -> Module {
    Module::new("volume").query::<VolumeInventory>("QueryVolume", "/volumes").quotas(&[&DATA_NUM, &CAPACITY])
}
