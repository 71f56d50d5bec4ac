//! The moments of a VM at which others act.

use engine::flow::Cx;
use engine::hook::{Hook, Point};
use engine::inventory::find;
use engine::module::Module;
use engine::{Id, Result};

use super::{VmInstance, VmInstanceInventory, life};
use crate::host::HostInventory;
use crate::volume::{Volume, VolumeInventory};

/// A VM, and the host that it is on or is about to be on.
#[derive(Clone, Debug)]
pub struct OnHost {
    pub vm: VmInstanceInventory,
    pub host: HostInventory,
    /// Whether it runs there afterwards: a VM may be made to be left stopped.
    pub runs: bool,
}

pub static BEFORE_CREATE: Point<dyn Hook<OnHost>> =
    Point::step("before vm create", "its place, disk space and addresses are claimed, nothing is made yet");
pub static AFTER_CREATE: Point<dyn Hook<OnHost>> = Point::step(
    "after vm create",
    "its disk is made, it runs if it shall; all of it can still be taken back",
);
pub static BEFORE_START: Point<dyn Hook<OnHost>> =
    Point::step("before vm start", "a stopped VM has its place again, nothing is made on the host yet");
pub static AFTER_START: Point<dyn Hook<OnHost>> =
    Point::step("after vm start", "it runs; it can still be stopped again");
pub static BEFORE_REBOOT: Point<dyn Hook<OnHost>> = Point::step("before vm reboot", "it runs still");
pub static AFTER_REBOOT: Point<dyn Hook<OnHost>> = Point::step("after vm reboot", "it runs again");
pub static BEFORE_STOP: Point<dyn Hook<OnHost>> = Point::onward(
    "before vm stop",
    "it is about to be stopped, by a call or by a deletion of something else",
);
pub static AFTER_STOP: Point<dyn Hook<OnHost>> =
    Point::onward("after vm stop", "it runs no longer, and still has its place");
pub static BEFORE_DESTROY: Point<dyn Hook<OnHost>> =
    Point::onward("before vm destroy", "it is about to be taken off the host that it is on");
pub static AFTER_DESTROY: Point<dyn Hook<OnHost>> =
    Point::onward("after vm destroy", "nothing of it is on that host but its disk");
pub static BEFORE_MIGRATE: Point<dyn Hook<OnHost>> = Point::step(
    "before vm migrate",
    "a VM that runs is about to move to this host, where it has a place; undone there when it stays",
);
pub static AFTER_MIGRATE: Point<dyn Hook<OnHost>> =
    Point::onward("after vm migrate", "it has left this host, and runs on another");

/// A data volume, and the VM that has it or is about to.
#[derive(Clone, Debug)]
pub struct Disk {
    pub vm: VmInstanceInventory,
    pub volume: VolumeInventory,
}

pub static BEFORE_ATTACH_VOLUME: Point<dyn Hook<Disk>> =
    Point::step("before volume attach", "it is claimed for the VM, and perhaps not made yet");
pub static AFTER_ATTACH_VOLUME: Point<dyn Hook<Disk>> =
    Point::step("after volume attach", "a VM that runs sees it; it can still be taken out again");
pub static BEFORE_DETACH_VOLUME: Point<dyn Hook<Disk>> =
    Point::step("before volume detach", "a VM that runs sees it still");
pub static AFTER_DETACH_VOLUME: Point<dyn Hook<Disk>> =
    Point::step("after volume detach", "the VM sees it no longer, and could be given it back");

pub(super) fn add_to(module: Module) -> Module {
    let of_volumes =
        [&BEFORE_ATTACH_VOLUME, &AFTER_ATTACH_VOLUME, &BEFORE_DETACH_VOLUME, &AFTER_DETACH_VOLUME];
    let module = of_volumes.into_iter().fold(module, Module::point);
    [
        &BEFORE_CREATE,
        &AFTER_CREATE,
        &BEFORE_START,
        &AFTER_START,
        &BEFORE_REBOOT,
        &AFTER_REBOOT,
        &BEFORE_STOP,
        &AFTER_STOP,
        &BEFORE_DESTROY,
        &AFTER_DESTROY,
        &BEFORE_MIGRATE,
        &AFTER_MIGRATE,
    ]
    .into_iter()
    .fold(module, Module::point)
}

/// The VM where it is, or is about to run.
pub(super) async fn on_host(cx: &Cx, vm: Id<VmInstance>) -> Result<OnHost> {
    let mut tx = cx.read().await?;
    let vm: VmInstanceInventory = find(&mut tx, vm).await?;
    let host = find(&mut tx, life::place_of(&vm)?).await?;
    Ok(OnHost { vm, host, runs: true })
}

/// A volume, and the VM that it is plugged into or out of.
pub(super) async fn disk(cx: &Cx, vm: Id<VmInstance>, volume: Id<Volume>) -> Result<Disk> {
    let mut tx = cx.read().await?;
    Ok(Disk { vm: find(&mut tx, vm).await?, volume: find(&mut tx, volume).await? })
}
