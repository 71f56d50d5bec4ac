//! The CD-ROM drives of a VM, and the ISOs that lie in them.
//!
//! Drives come and go while the VM is stopped, for their bus takes none later; what lies in them changes at
//! any time. An ISO lies in the cache of the storage on which the VM's root volume is; whoever starts the VM
//! sees to it that it is there.

mod api;
mod candidate;
mod iso;
mod store;
mod tag;

use engine::db::{Tx, Value};
use engine::module::Module;
use engine::query::Relation;
use engine::setting::{AnySetting, Setting, number};
use engine::{Id, Result, Stamp, codes, inventory};
use wire::calls::vm as call;

use super::{VmInstance, VmInstanceInventory};
use crate::image::{Image, ImageInventory};

pub(super) use iso::{Needed, doubt, fetch, fetched, must_be_iso, needed, of_vm_needed};
pub(super) use store::{left, of_vm};
pub(super) use tag::drives;

/// Marks ids of CD-ROM drives.
#[derive(Debug)]
pub enum VmCdRom {}

inventory! {
    /// A CD-ROM drive as the API shows it.
    VmCdRomInventory in "vm_cd_rom" seen Owned("uuid") {
        uuid: Id<VmCdRom>,
        vm_instance_uuid: Id<VmInstance>,
        device_id: i64,
        name: String,
        description: Option<String>,
        iso_uuid: Option<Id<Image>>,
        iso_install_path: Option<String>,
        create_date: Stamp,
        last_op_date: Stamp,
    } => [
        Relation::one::<ImageInventory>("iso", "iso_uuid"),
    ]
}

pub(crate) const USUAL: Setting<i64> = Setting {
    category: "vm",
    name: "defaultCdRomNum",
    default: "1",
    help: "so many empty CD-ROM drives a new VM has, unless its creation says otherwise",
    read: number::<0, MOST_EVER>,
};
pub(crate) const MOST: Setting<i64> = Setting {
    category: "vm",
    name: "maximumCdRomNum",
    default: "3",
    help: "so many CD-ROM drives a VM may have",
    read: number::<0, MOST_EVER>,
};

/// A VM's plain bus has four places, and one may be its root volume's.
const MOST_EVER: i64 = 3;

pub(super) const SETTINGS: &[AnySetting] = &[
    USUAL.entry(|text| USUAL.accepts(text)).within(0, MOST_EVER),
    MOST.entry(|text| MOST.accepts(text)).within(0, MOST_EVER),
];

/// A drive about to be made, and what lies in it.
pub(super) struct NewDrive {
    pub vm: Id<VmInstance>,
    pub device: i64,
    pub iso: Option<(Id<Image>, String)>,
}

/// A new VM has this drive.
pub(super) async fn add(tx: &mut Tx, new: NewDrive) -> Result<()> {
    let uuid = Id::derived(&[&new.vm.to_string(), "cd-rom", &new.device.to_string()]);
    let name = format!("vm-{}-cdRom", new.vm);
    let (iso, path) = new.iso.unzip();
    store::insert(tx, uuid, new.vm, new.device, &name, None, iso).await?;
    match (iso, path) {
        (Some(iso), Some(path)) => store::load(tx, uuid, iso, &path).await,
        _ => Ok(()),
    }
}

/// What a start tells the host of the drives.
pub(super) async fn told(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Vec<call::CdRom>> {
    Ok(of_vm(tx, vm).await?.into_iter().map(VmCdRomInventory::told).collect())
}

pub(super) async fn shown(tx: &mut Tx, vms: Vec<Value>) -> Result<Vec<VmCdRomInventory>> {
    store::of_vms(tx, vms).await
}

impl VmCdRomInventory {
    fn told(self) -> call::CdRom {
        call::CdRom {
            is_empty: self.iso_install_path.is_none(),
            path: self.iso_install_path,
            image_uuid: self.iso_uuid.map(|iso| iso.to_string()),
            device_id: u32::try_from(self.device_id).unwrap_or(0),
            boot_order: 0,
        }
    }
}

/// Drives come and go then.
fn must_be_stopped(vm: &VmInstanceInventory) -> Result<()> {
    match vm.state.as_str() {
        "Stopped" => Ok(()),
        state => {
            let details =
                format!("vm \"{}\" is {state}: its cd-rom drives change when it is stopped", vm.name);
            Err(codes::STATE.because(details))
        }
    }
}

pub(super) const EVENTS: &[(&str, &str)] = &[
    ("/vm/iso/attached", "an ISO lies in one of its drives: isoUuid, deviceId"),
    ("/vm/iso/detached", "it lies there no longer: isoUuid, deviceId"),
];

pub(super) fn add_to(module: Module) -> Module {
    module
        .query::<VmCdRomInventory>("QueryVmCdRom", "/vm-instances/cdroms")
        .api::<api::CreateVmCdRom>()
        .api::<api::UpdateVmCdRom>()
        .api::<api::DeleteVmCdRom>()
        .api::<api::SetVmInstanceDefaultCdRom>()
        .api::<iso::AttachIsoToVmInstance>()
        .api::<iso::DetachIsoFromVmInstance>()
        .ask::<candidate::GetCandidateIsoForAttachingVm>()
        .ask::<candidate::GetCandidateVmForAttachingIso>()
        .flow::<iso::Attach>()
        .flow::<iso::Detach>()
        .settings(SETTINGS)
        .tags(&[tag::DRIVES, tag::WITHOUT])
        .events(EVENTS)
}
