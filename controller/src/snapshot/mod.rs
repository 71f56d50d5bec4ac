//! Snapshots of volumes. Taking one leaves the volume's file as it is and lets the volume go on in a new file
//! that stands on it; a snapshot's row is its claim on the storage's space.
//!
//! ```text
//!   Creating ──▶ Ready ──▶ Deleting ──▶ (gone)
//!
//!   a ◀── b ◀── c ◀── the volume       a tree: b stands on a, what was taken last is the latest
//!         ▲
//!         └──── d ◀── e                left by going back to b
//! ```
//!
//! A volume goes on in its current tree, on that tree's latest snapshot; it may stand alone, then none of its
//! trees is current. A snapshot goes with all that stand on it, and when the volume is among these it is first
//! put on what the snapshot stood on, keeping what it shows. What changes the files of a volume owns its VM,
//! or the volume when it is no VM's: a volume that is owned is attached to nothing meanwhile.

mod api;
mod branch;
mod cascade;
mod copy;
mod create;
mod flatten;
mod group;
mod look;
mod remove;
mod revert;
mod store;
mod vm;
mod volume;

use engine::db::Tx;
use engine::inventory::{Inventory, Members, attach, page_uuids, present};
use engine::module::Module;
use engine::query::Relation;
use engine::quota::Quota;
use engine::setting::{AnySetting, Setting, number};
use engine::{Any, Id, Result, Stamp, codes, inventory};
use serde_json::{Value, json};

use crate::host::Host;
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};
use crate::vm::{VmInstance, VmInstanceInventory};
use crate::volume::{Volume, VolumeInventory};

/// Marks ids of snapshots.
#[derive(Debug)]
pub enum VolumeSnapshot {}

/// Marks ids of trees of snapshots.
#[derive(Debug)]
pub enum VolumeSnapshotTree {}

/// Marks ids of groups of snapshots.
#[derive(Debug)]
pub enum VolumeSnapshotGroup {}

inventory! {
    /// A snapshot as the API shows it. `size` in bytes, as allocated; `distance` from the ground of its tree.
    VolumeSnapshotInventory in "volume_snapshot_view" seen Owned("uuid") {
        uuid: Id<VolumeSnapshot>,
        name: String,
        description: Option<String>,
        r#type: String,
        volume_uuid: Id<Volume>,
        tree_uuid: Id<VolumeSnapshotTree>,
        parent_uuid: Option<Id<VolumeSnapshot>>,
        primary_storage_uuid: Option<Id<PrimaryStorage>>,
        #[serde(skip)]
        host_uuid: Option<Id<Host>>,
        primary_storage_install_path: Option<String>,
        volume_type: String,
        format: String,
        latest: bool,
        size: i64,
        distance: i64,
        state: String,
        status: String,
        group_uuid: Option<Id<VolumeSnapshotGroup>>,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { backup_storage_refs: [(); 0] } => [
        Relation::one::<VolumeInventory>("volume", "volume_uuid").back("snapshot"),
        Relation::one::<PrimaryStorageInventory>("primaryStorage", "primary_storage_uuid").back("volumeSnapshot"),
    ]
}

impl VolumeSnapshotInventory {
    pub fn must_be_ready(&self) -> Result<()> {
        match self.status.as_str() {
            "Ready" => Ok(()),
            status => Err(codes::STATE.because(format!("snapshot \"{}\" is {status}", self.name))),
        }
    }

    async fn fill_page(_tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        attach(page, "backupStorageRefs", std::iter::empty::<(String, Value)>())
    }
}

inventory! {
    /// A tree as the API shows it: `tree` is the snapshot on its ground, with those that stand on it below.
    VolumeSnapshotTreeInventory in "volume_snapshot_tree" seen Owned("uuid") {
        uuid: Id<VolumeSnapshotTree>,
        volume_uuid: Id<Volume>,
        current: bool,
        status: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { tree: Value } => [
        Relation::one::<VolumeInventory>("volume", "volume_uuid").back("snapshotTree"),
        Relation::many::<VolumeSnapshotInventory>("snapshot", "tree_uuid").back("tree"),
    ]
}

impl VolumeSnapshotTreeInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let members = store::of_trees(tx, page_uuids(page)).await?;
        let shown = present(tx, &members).await?;
        let all: Vec<_> = members.iter().zip(&shown).collect();
        for row in page {
            let tree = row.read::<Id<VolumeSnapshotTree>>("uuid");
            let ground = all.iter().find(|(one, _)| one.parent_uuid.is_none() && Some(one.tree_uuid) == tree);
            let leaf = ground.map(|(one, _)| leaf(one, &all));
            row.insert("tree", &leaf)?;
        }
        Ok(())
    }
}

/// A snapshot with those that stand on it.
fn leaf(own: &VolumeSnapshotInventory, all: &[(&VolumeSnapshotInventory, &Members)]) -> Value {
    let shown = all.iter().find(|(one, _)| one.uuid == own.uuid).map(|(_, shown)| *shown);
    let above = all.iter().filter(|(one, _)| one.parent_uuid == Some(own.uuid));
    let children: Vec<Value> = above.map(|(one, _)| leaf(one, all)).collect();
    match own.parent_uuid {
        Some(parent) => json!({ "inventory": shown, "parentUuid": parent, "children": children }),
        None => json!({ "inventory": shown, "children": children }),
    }
}

inventory! {
    /// Snapshots of all volumes of a VM, of one moment, as the API shows them.
    VolumeSnapshotGroupInventory in "volume_snapshot_group" seen Owned("uuid") {
        uuid: Id<VolumeSnapshotGroup>,
        snapshot_count: i64,
        name: String,
        description: Option<String>,
        vm_instance_uuid: Id<VmInstance>,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { volume_snapshot_refs: Vec<VolumeSnapshotGroupRefInventory> } => [
        Relation::one::<VmInstanceInventory>("vmInstance", "vm_instance_uuid").back("volumeSnapshotGroup"),
        Relation::many::<VolumeSnapshotGroupRefInventory>("volumeSnapshotRefs", "volume_snapshot_group_uuid"),
    ]
}

inventory! {
    /// A snapshot of a group; what it was of is kept when the snapshot is gone.
    VolumeSnapshotGroupRefInventory in "volume_snapshot_group_ref" seen Owned("volume_snapshot_group_uuid") {
        volume_snapshot_uuid: Id<VolumeSnapshot>,
        volume_snapshot_group_uuid: Id<VolumeSnapshotGroup>,
        device_id: i64,
        snapshot_deleted: bool,
        volume_uuid: Id<Volume>,
        volume_name: String,
        volume_type: String,
        volume_snapshot_install_path: Option<String>,
        volume_snapshot_name: String,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

impl VolumeSnapshotGroupInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let refs = store::refs(tx, page_uuids(page)).await?;
        let refs = refs.into_iter().map(|one| (one.volume_snapshot_group_uuid.to_string(), one));
        attach(page, "volumeSnapshotRefs", refs)
    }
}

pub(crate) const DEEPEST: Setting<i64> = Setting {
    category: "volumeSnapshot",
    name: "incrementalSnapshot.maxNum",
    default: "56",
    help: "so many snapshots of a volume may stand on one another",
    // The kvm-agent follows a chain of at most 64 files.
    read: number::<1, 56>,
};

const SETTINGS: &[AnySetting] = &[DEEPEST.entry(|text| DEEPEST.accepts(text)).within(1, 56)];

pub const NUM: Quota = Quota { name: "snapshot.volume.num", default: 200, used: store::COUNT };

const EVENTS: &[(&str, &str)] = &[
    ("/volume/snapshot/created", "it was taken: volumeUuid, size"),
    ("/volume/snapshot/deleted", "it is gone: volumeUuid"),
    ("/volume/flattened", "it stands on no image and no snapshot"),
    ("/volume/reverted", "it shows what it showed when a snapshot was taken: volumeSnapshotUuid"),
];

/// What a snapshot belongs to while its files are worked on: the VM of its volume, or the volume.
fn owner(volume: &VolumeInventory) -> Id<Any> {
    volume.vm_instance_uuid.unwrap_or(volume.uuid.cast())
}

pub fn module() -> Module {
    Module::new("snapshot")
        .category("volumeSnapshot")
        .query::<VolumeSnapshotInventory>("QueryVolumeSnapshot", "/volume-snapshots")
        .query::<VolumeSnapshotTreeInventory>("QueryVolumeSnapshotTree", "/volume-snapshots/trees")
        .query::<VolumeSnapshotGroupInventory>("QueryVolumeSnapshotGroup", "/volume-snapshots/group")
        .related::<VolumeSnapshotGroupRefInventory>()
        .api::<api::CreateVolumeSnapshot>()
        .api::<api::UpdateVolumeSnapshot>()
        .api::<api::GetVolumeSnapshotSize>()
        .api::<api::RevertVolumeFromSnapshot>()
        .api::<api::DeleteVolumeSnapshot>()
        .api::<remove::BatchDeleteVolumeSnapshot>()
        .api::<copy::CreateDataVolumeFromVolumeSnapshot>()
        .api::<vm::CreateVmInstanceFromVolumeSnapshot>()
        .api::<vm::CreateVmInstanceFromVolumeSnapshotGroup>()
        .api::<flatten::FlattenVolume>()
        .api::<flatten::FlattenVmInstance>()
        .api::<group::CreateVolumeSnapshotGroup>()
        .api::<group::UpdateVolumeSnapshotGroup>()
        .api::<group::RevertVmFromSnapshotGroup>()
        .api::<group::DeleteVolumeSnapshotGroup>()
        .api::<group::UngroupVolumeSnapshotGroup>()
        .ask::<group::CheckVolumeSnapshotGroupAvailability>()
        .flow::<create::Create>()
        .flow::<revert::Revert>()
        .flow::<look::Look>()
        .flow::<flatten::Flatten>()
        .cascade(&cascade::SnapshotKind, cascade::SNAPSHOT_EDGES)
        .cascade(&cascade::GroupKind, cascade::GROUP_EDGES)
        .settings(SETTINGS)
        .quotas(&[&NUM])
        .events(EVENTS)
}

/// The kind of snapshots, as deletions call it.
const KIND: &str = <VolumeSnapshotInventory as Inventory>::KIND;
