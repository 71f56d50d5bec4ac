//! Putting an ISO into a drive and taking it out, while the VM runs too; and what a VM needs to start.

use std::time::Duration;

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, ErrorCode, Id, Result, api, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::calls::device;

use super::{VmCdRom, VmCdRomInventory, store};
use crate::host::{Host, HostInventory};
use crate::image::{self, Image, ImageSource};
use crate::primary_storage::driver::{Placed, Wanted};
use crate::primary_storage::{self, InCache, PrimaryStorage, PrimaryStorageInventory};
use crate::vm::create::wanted;
use crate::vm::{VmInstance, VmInstanceInventory, life, store as vms};
use crate::volume;

/// How long an ISO may be on its way.
const FETCHING: Duration = Duration::from_secs(3600);
/// A VM's states in which ISOs come and go.
const STEADY: &[&str] = &["Running", "Stopped"];

/// An ISO that is not known to be in the cache where a VM is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::vm) struct Needed {
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
    wanted: Wanted,
    /// It was there, or is: the agent knows.
    known: bool,
    placed: Placed,
}

impl Needed {
    async fn place(&self, tx: &mut Tx) -> Result<(HostInventory, PrimaryStorageInventory)> {
        Ok((find(tx, self.host).await?, find(tx, self.storage).await?))
    }
}

/// The ISO, unless it is in the cache there.
pub(in crate::vm) async fn needed(
    tx: &mut Tx,
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
    wanted: Wanted,
) -> Result<Option<Needed>> {
    let known = match primary_storage::in_cache(tx, &wanted.image, storage, host).await? {
        InCache::Yes(_) => return Ok(None),
        InCache::Doubted => true,
        InCache::No => false,
    };
    Ok(Some(Needed { storage, host, wanted, known, placed: Placed::default() }))
}

/// What must be fetched before the VM, whose disk lies where it lies, can start.
pub(in crate::vm) async fn of_vm_needed(tx: &mut Tx, vm: &VmInstanceInventory) -> Result<Vec<Needed>> {
    let mut all = Vec::new();
    let drives = store::of_vm(tx, vm.uuid).await?;
    let isos: Vec<_> = drives.iter().filter_map(|drive| drive.iso_uuid).collect();
    if isos.is_empty() {
        return Ok(all);
    }
    let (storage, host) = lies(tx, vm).await?;
    for iso in isos {
        let there = primary_storage::in_cache(tx, &iso.to_string(), storage, host).await?;
        let path = match there {
            InCache::Yes(placed) => placed.path,
            _ => {
                let source = image::source(tx, iso, vm.zone_uuid).await;
                let wanted = wanted(&source.map_err(|error| unusable(vm, &error))?, iso);
                let inventory: PrimaryStorageInventory = find(tx, storage).await?;
                let path = inventory.driver()?.cached_path(&inventory, &wanted);
                all.extend(needed(tx, storage, host, wanted).await?);
                path
            }
        };
        store::lies(tx, vm.uuid, iso, &path).await?;
    }
    Ok(all)
}

fn unusable(vm: &VmInstanceInventory, error: &ErrorCode) -> ErrorCode {
    let details = format!(
        "an iso in a drive of vm \"{}\" cannot be fetched: {}; or take it out",
        vm.name,
        error.details()
    );
    codes::STATE.because(details)
}

/// Has them in the cache.
pub(in crate::vm) async fn fetch(cx: &Cx, isos: &mut [Needed]) -> Result<()> {
    for iso in isos {
        let (host, storage) = iso.place(&mut cx.read().await?).await?;
        iso.placed = primary_storage::cached(cx, &host, &storage, &iso.wanted, iso.known).await?;
    }
    Ok(())
}

/// They are known to be there from now on.
pub(in crate::vm) async fn fetched(tx: &mut Tx, isos: &[Needed]) -> Result<()> {
    for iso in isos {
        let image = &iso.wanted.image;
        primary_storage::remember_cached(tx, image, iso.storage, iso.host, &iso.placed).await?;
    }
    Ok(())
}

/// The host could not use the VM's ISOs: the next one who needs them looks whether they are there.
pub(in crate::vm) async fn doubt(cx: &Cx, vm: Id<VmInstance>) -> Result<()> {
    cx.write(move |tx| {
        Box::pin(async move {
            let vm: VmInstanceInventory = find(tx, vm).await?;
            let drives = store::of_vm(tx, vm.uuid).await?;
            let (storage, host) = lies(tx, &vm).await?;
            for iso in drives.into_iter().filter_map(|drive| drive.iso_uuid) {
                primary_storage::doubt_cached(tx, &iso.to_string(), storage, host).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Where the VM's disk lies, and its ISOs with it; and the host that fetches them.
async fn lies(tx: &mut Tx, vm: &VmInstanceInventory) -> Result<(Id<PrimaryStorage>, Id<Host>)> {
    let root = volume::root_of(tx, vm.uuid.cast()).await?;
    let Some(storage) = root.primary_storage_uuid else {
        return Err(codes::STATE.because(format!("vm \"{}\" has no disk anywhere yet", vm.name)));
    };
    match root.host_uuid.or(vm.host_uuid) {
        Some(host) => Ok((storage, host)),
        None => {
            let inventory = find(tx, storage).await?;
            Ok((storage, primary_storage::hand(tx, &inventory, root.uuid.cast()).await?))
        }
    }
}

pub(in crate::vm) fn must_be_iso(name: &str, media_type: &str) -> Result<()> {
    match media_type {
        "ISO" => Ok(()),
        other => {
            let details = format!("image \"{name}\" is a {other}: only an ISO lies in a cd-rom drive");
            Err(codes::INVALID_ARGUMENT.because(details))
        }
    }
}

/// An ISO that may be put into one of the VM's `drives`.
pub(super) async fn look(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    drives: &[VmCdRomInventory],
    iso: Id<Image>,
) -> Result<ImageSource> {
    let source = image::source(tx, iso, vm.zone_uuid).await?;
    must_be_iso(&source.name, &source.media_type)?;
    match drives.iter().any(|drive| drive.iso_uuid == Some(iso)) {
        false => Ok(source),
        true => {
            let details =
                format!("iso \"{}\" lies in a cd-rom drive of vm \"{}\" already", source.name, vm.name);
            Err(codes::STATE.because(details))
        }
    }
}

async fn steady(tx: &mut Tx, vm: Id<VmInstance>) -> Result<VmInstanceInventory> {
    let vm: VmInstanceInventory = find(tx, vm).await?;
    vms::on_usable_host(tx, &vm).await?;
    match STEADY.contains(&vm.state.as_str()) {
        true => Ok(vm),
        false => {
            let (name, state) = (&vm.name, &vm.state);
            let details =
                format!("vm \"{name}\" is {state}: isos come and go when it is {}", STEADY.join(" or "));
            Err(codes::STATE.because(details))
        }
    }
}

/// claim → fetch, unless it is in the cache → insert, when the VM runs.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::vm) struct Attach {
    vm: Id<VmInstance>,
    vm_name: String,
    iso: Id<Image>,
    drive: Option<Drive>,
    running: bool,
    needed: Option<Needed>,
}

/// The drive that it lies in, and the path.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Drive {
    uuid: Id<VmCdRom>,
    device: i64,
    path: String,
}

impl Attach {
    async fn claim(&mut self, tx: &mut Tx) -> Result<()> {
        let vm = steady(tx, self.vm).await?;
        self.running = vm.state == "Running";
        let drives = store::of_vm(tx, vm.uuid).await?;
        let source = look(tx, &vm, &drives, self.iso).await?;
        let Some(drive) = drives.iter().find(|drive| drive.iso_uuid.is_none()) else {
            let details = format!(
                "vm \"{}\" has no empty cd-rom drive: detach an iso, or stop it and create another drive",
                vm.name
            );
            return Err(codes::STATE.because(details));
        };
        let (storage, host) = lies(tx, &vm).await?;
        let wanted = wanted(&source, self.iso);
        room(tx, storage, host, &wanted).await?;
        let inventory: PrimaryStorageInventory = find(tx, storage).await?;
        let path = inventory.driver()?.cached_path(&inventory, &wanted);
        store::load(tx, drive.uuid, self.iso, &path).await?;
        self.drive = Some(Drive { uuid: drive.uuid, device: drive.device_id, path });
        self.needed = needed(tx, storage, host, wanted).await?;
        Ok(())
    }

    async fn give_up(&mut self, tx: &mut Tx) -> Result<()> {
        match &self.drive {
            Some(drive) => store::unload(tx, drive.uuid).await,
            None => Ok(()),
        }
    }

    async fn fetch(&mut self, cx: &Cx) -> Result<()> {
        fetch(cx, self.needed.as_mut_slice()).await
    }

    async fn fetched(&mut self, tx: &mut Tx) -> Result<()> {
        fetched(tx, self.needed.as_slice()).await
    }

    fn drive(&self) -> Result<&Drive> {
        self.drive.as_ref().ok_or_else(|| codes::INTERNAL.because("no cd-rom drive was chosen"))
    }

    async fn insert(&mut self, cx: &Cx) -> Result<()> {
        let drive = self.drive()?;
        let inserted = insert(cx, self.vm, self.iso, drive).await;
        if inserted.as_ref().is_err_and(|error| error.is(codes::OPERATION)) {
            doubt(cx, self.vm).await?;
        }
        inserted
    }

    async fn eject(&mut self, cx: &Cx) -> Result<()> {
        eject(cx, self.vm, self.iso, self.drive()?).await
    }

    async fn attached(&mut self, tx: &mut Tx) -> Result<()> {
        let told = json!({ "isoUuid": self.iso, "deviceId": self.drive()?.device });
        tx.emit("/vm/iso/attached", self.vm.cast(), told).await
    }
}

/// There is room for the image on the storage, or it is there.
async fn room(tx: &mut Tx, storage: Id<PrimaryStorage>, host: Id<Host>, wanted: &Wanted) -> Result<()> {
    let there = primary_storage::candidates(tx, host, &wanted.image).await?;
    let there = there.into_iter().find(|candidate| candidate.storage == storage);
    if there.is_some_and(|there| there.cached || there.available >= wanted.actual_size) {
        return Ok(());
    }
    let storage: PrimaryStorageInventory = find(tx, storage).await?;
    let details = format!(
        "primary storage \"{}\" has no room for an image of {} bytes on the host of the vm",
        storage.name, wanted.actual_size
    );
    Err(codes::OPERATION.because(details))
}

async fn insert(cx: &Cx, vm: Id<VmInstance>, iso: Id<Image>, drive: &Drive) -> Result<()> {
    let host = life::host_of(cx, vm).await?;
    let iso = device::Iso {
        path: drive.path.clone(),
        image_uuid: Some(iso.to_string()),
        device_id: u32::try_from(drive.device).unwrap_or(0),
    };
    host.hypervisor()?.attach_iso(cx, &host, &vm.to_string(), iso).await
}

async fn eject(cx: &Cx, vm: Id<VmInstance>, iso: Id<Image>, drive: &Drive) -> Result<()> {
    let host = life::host_of(cx, vm).await?;
    let device = u32::try_from(drive.device).unwrap_or(0);
    host.hypervisor()?.detach_iso(cx, &host, &vm.to_string(), &iso.to_string(), device).await
}

impl Flow for Attach {
    const NAME: &'static str = "vm.attach_iso";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("attach an iso to vm \"{}\"", self.vm_name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("claim", Self::claim, Self::give_up)
            .act("fetch", Self::fetch)
            .limit(FETCHING)
            .unless(|attach| attach.needed.is_none())
            .record("fetched", Self::fetched)
            .act_undo("insert", Self::insert, Self::eject)
            .unless(|attach| !attach.running)
            .record("attached", Self::attached)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.vm).await
    }
}

/// eject, when the VM runs → let go.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::vm) struct Detach {
    vm: Id<VmInstance>,
    vm_name: String,
    iso: Id<Image>,
    drive: Option<Drive>,
    running: bool,
}

impl Detach {
    async fn look(&mut self, tx: &mut Tx) -> Result<()> {
        let vm = steady(tx, self.vm).await?;
        self.running = vm.state == "Running";
        let drives = store::of_vm(tx, vm.uuid).await?;
        let Some(drive) = drives.into_iter().find(|drive| drive.iso_uuid == Some(self.iso)) else {
            let details = format!("iso {} lies in no cd-rom drive of vm \"{}\"", self.iso, vm.name);
            return Err(codes::STATE.because(details));
        };
        let (device, path) = (drive.device_id, drive.iso_install_path.unwrap_or_default());
        self.drive = Some(Drive { uuid: drive.uuid, device, path });
        Ok(())
    }

    fn drive(&self) -> Result<&Drive> {
        self.drive.as_ref().ok_or_else(|| codes::INTERNAL.because("no cd-rom drive was found"))
    }

    async fn eject(&mut self, cx: &Cx) -> Result<()> {
        eject(cx, self.vm, self.iso, self.drive()?).await
    }

    async fn insert(&mut self, cx: &Cx) -> Result<()> {
        insert(cx, self.vm, self.iso, self.drive()?).await
    }

    async fn detached(&mut self, tx: &mut Tx) -> Result<()> {
        let drive = self.drive()?.clone();
        store::unload(tx, drive.uuid).await?;
        let told = json!({ "isoUuid": self.iso, "deviceId": drive.device });
        tx.emit("/vm/iso/detached", self.vm.cast(), told).await
    }
}

impl Flow for Detach {
    const NAME: &'static str = "vm.detach_iso";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("detach an iso from vm \"{}\"", self.vm_name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("look", Self::look)
            .act_undo("eject", Self::eject, Self::insert)
            .unless(|detach| !detach.running)
            .record("detached", Self::detached)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.vm).await
    }
}

api! {
    AttachIsoToVmInstance: POST "/vm-instances/{vmInstanceUuid}/iso/{isoUuid}" "null" {
        vm_instance_uuid: Id<VmInstance>,
        iso_uuid: Id<Image>,
    }
}

impl Api for AttachIsoToVmInstance {
    const ROUTE: Route = AttachIsoToVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let vm: VmInstanceInventory =
            find(&mut job.engine().db().read().await?, self.vm_instance_uuid).await?;
        let (drive, iso) = (None, self.iso_uuid);
        job.flow(Attach { vm: vm.uuid, vm_name: vm.name, iso, drive, running: false, needed: None }).await
    }
}

api! {
    /// `isoUuid` says which, when there are several.
    DetachIsoFromVmInstance: DELETE "/vm-instances/{vmInstanceUuid}/iso" {
        vm_instance_uuid: Id<VmInstance>,
        iso_uuid: Option<Id<Image>>,
    }
}

impl Api for DetachIsoFromVmInstance {
    const ROUTE: Route = DetachIsoFromVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.vm_instance_uuid).await?;
        let drives = store::of_vm(&mut tx, vm.uuid).await?;
        drop(tx);
        let mut isos = drives.iter().filter_map(|drive| drive.iso_uuid);
        let iso = match (self.iso_uuid, isos.next(), isos.next()) {
            (Some(iso), ..) | (None, Some(iso), None) => iso,
            (None, None, _) => {
                return Err(codes::STATE.because(format!("vm \"{}\" has no iso in its drives", vm.name)));
            }
            (None, Some(_), Some(_)) => {
                let details = format!("vm \"{}\" has several isos in its drives: name one", vm.name);
                return Err(codes::INVALID_ARGUMENT.because(details));
            }
        };
        job.flow(Detach { vm: vm.uuid, vm_name: vm.name, iso, drive: None, running: false }).await
    }
}
