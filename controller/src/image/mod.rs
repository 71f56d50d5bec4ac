//! An image: what disks of VMs are made from. Its bits lie on one or more backup storages, one *copy* on each.
//!
//! ```text
//!  status   Downloading ──▶ Ready ◀──▶ Deleted ──▶ gone       (deleted images can be recovered for a while)
//!  state    Enabled ◀──▶ Disabled                             (an operator decides; Disabled makes no new VMs)
//! ```
//!
//! An image is inspected by its storage before it is Ready, and its bits never change after that. VMs made
//! from it have copies of their own: deleting an image touches none. Work on bits is owned by the copy, work
//! on rows by the image, so that an image can be deleted while it is still on its way.

mod add;
mod api;
mod cascade;
mod delete;
mod expunge;
mod facts;
pub mod made;
mod media;
mod progress;
mod source;
mod store;

use std::time::Duration;

use engine::db::Tx;
use engine::hook::{Hook, Point};
use engine::inventory::{Members, Shown, attach, page_uuids};
use engine::module::Module;
use engine::quota::Quota;
use engine::setting::{AnySetting, Setting, seconds};
use engine::{Id, Result, Stamp, inventory, tag};

use crate::backup_storage::{BackupStorage, BackupStorageInventory};
use engine::query::{Link, Relation};

pub use facts::boot_mode;
pub use source::{ImageSource, source};

/// Marks ids of images.
#[derive(Debug)]
pub enum Image {}

/// Marks ids of copies: of one image on one backup storage.
#[derive(Debug)]
pub enum ImageCopy {}

inventory! {
    /// An image as the API shows it. Sizes in bytes: `size` is the virtual one. `sha256` is ours.
    ImageInventory in "image" seen Owned("uuid") {
        uuid: Id<Image>,
        name: String,
        description: Option<String>,
        state: String,
        status: String,
        size: i64,
        actual_size: i64,
        md5_sum: Option<String>,
        sha256: Option<String>,
        url: String,
        media_type: String,
        guest_os_type: Option<String>,
        r#type: String,
        platform: String,
        architecture: Option<String>,
        format: Option<String>,
        system: bool,
        virtio: bool,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill {
        backup_storage_refs: Vec<Shown<ImageBackupStorageRefInventory>>,
        system_tags: Vec<String>,
    } => [
        Relation::linked::<BackupStorageInventory>("backupStorage", COPIES).back("image"),
    ]
}

inventory! {
    /// A copy as the API shows it. While an upload is awaited, `install_path` is where to PUT the bits.
    ImageBackupStorageRefInventory in "image_backup_storage" {
        image_uuid: Id<Image>,
        backup_storage_uuid: Id<BackupStorage>,
        install_path: String,
        status: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<ImageInventory>("image", "image_uuid").back("backupStorageRefs"),
        Relation::one::<BackupStorageInventory>("backupStorage", "backup_storage_uuid").back("imageRefs"),
    ]
}

const COPIES: Link = Link { table: "image_backup_storage", here: "image_uuid", there: "backup_storage_uuid" };

impl ImageInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let refs = store::refs(tx, page_uuids(page)).await?;
        let refs = refs.into_iter().map(|copy| (copy.image_uuid.to_string(), copy));
        attach(page, "backupStorageRefs", refs)?;
        let tags = tag::all_of(tx, page_uuids(page)).await?;
        attach(page, "systemTags", tags)
    }
}

pub(crate) const DELETION_POLICY: Setting<delete::Policy> = Setting {
    category: "image",
    name: "deletionPolicy",
    default: "Delay",
    help: "what deleting an image means: Direct (its bits go at once) or Delay (it can be recovered for a while)",
    read: delete::Policy::read,
};
pub(crate) const EXPUNGE_PERIOD: Setting<Duration> = Setting {
    category: "image",
    name: "expungePeriod",
    default: "259200",
    help: "how long a deleted image can be recovered, seconds",
    read: seconds,
};
pub(crate) const EXPUNGE_INTERVAL: Setting<Duration> = Setting {
    category: "image",
    name: "expungeInterval",
    default: "3600",
    help: "how often deleted images whose time is over are looked for, seconds",
    read: seconds,
};

pub const NUM: Quota = Quota { name: "image.num", default: 20, used: store::NOT_DELETED };
pub const SIZE: Quota = Quota { name: "image.size", default: 10 << 40, used: store::SIZES };

const SETTINGS: &[AnySetting] = &[
    DELETION_POLICY.entry(|text| DELETION_POLICY.accepts(text)).one_of(&["Direct", "Delay"]),
    EXPUNGE_PERIOD.entry(|text| EXPUNGE_PERIOD.accepts(text)).seconds(),
    EXPUNGE_INTERVAL.entry(|text| EXPUNGE_INTERVAL.accepts(text)).seconds(),
];

const EVENTS: &[(&str, &str)] = &[
    ("/image/added", "it is ready on a backup storage"),
    ("/image/deleted", "it is gone, or can be recovered: recoverable"),
    ("/image/recovered", "it is ready again"),
];

pub static BEFORE_ADD: Point<dyn Hook<ImageInventory>> =
    Point::step("before image add", "the image has its row; its storages are about to fetch it");
pub static AFTER_ADD: Point<dyn Hook<ImageInventory>> =
    Point::step("after image add", "its bits lie on all storages, inspected; it is ready next");

pub fn module() -> Module {
    Module::new("image")
        .query::<ImageInventory>("QueryImage", "/images")
        .related::<ImageBackupStorageRefInventory>()
        .ask::<progress::GetTaskProgress>()
        .api::<api::AddImage>()
        .api::<api::UpdateImage>()
        .api::<api::ChangeImageState>()
        .api::<facts::SetImageBootMode>()
        .api::<facts::SyncImageSize>()
        .api::<delete::DeleteImage>()
        .api::<delete::ExpungeImage>()
        .api::<delete::RecoverImage>()
        .flow::<add::Add>()
        .point(&BEFORE_ADD)
        .point(&AFTER_ADD)
        .flow::<delete::Purge>()
        .cascade(&cascade::ImageKind, cascade::IMAGE_EDGES)
        .cascade(&cascade::CopyKind, cascade::COPY_EDGES)
        .settings(SETTINGS)
        .tags(&[facts::BOOT_MODE])
        .quotas(&[&NUM, &SIZE])
        .sweep(expunge::SWEEP)
        .events(EVENTS)
}

#[cfg(test)]
mod tests;
