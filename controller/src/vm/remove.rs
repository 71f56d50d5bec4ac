//! Destroying a VM, recovering it, and expunging what is left of it.

use engine::cascade::{Delete, Root};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Engine, Id, Result, Stamp, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::points::{AFTER_DESTROY, BEFORE_DESTROY, OnHost, on_host};
use super::{EXPUNGE_PERIOD, VmInstance, VmInstanceInventory, boot, store};
use crate::host::HostInventory;
use crate::volume::{self, Lies};

/// Takes the VM off its host; its disk and addresses stay until it is expunged.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Destroy {
    pub uuid: Id<VmInstance>,
    pub name: String,
}

/// The states that a VM may be destroyed from.
pub(super) const DESTROYABLE: &[&str] =
    &["Created", "Running", "Stopped", "Paused", "Unknown", "Crashed", "NoState"];

impl Destroy {
    async fn destroying(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        store::on_usable_host(tx, &vm).await?;
        store::change_state(tx, &vm, DESTROYABLE, "Destroying").await
    }

    async fn destroy(&mut self, cx: &Cx) -> Result<()> {
        take_off(cx, self.uuid).await
    }

    async fn destroyed(&mut self, tx: &mut Tx) -> Result<()> {
        store::stopped(tx, self.uuid).await?;
        store::set_state(tx, self.uuid, "Destroyed").await?;
        tx.emit("/vm/destroyed", self.uuid.cast(), json!({ "name": self.name })).await
    }
}

impl Flow for Destroy {
    const NAME: &'static str = "vm.destroy";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("destroy vm \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("destroying", Self::destroying)
            .act("destroy", Self::destroy)
            .onward()
            .record("destroyed", Self::destroyed)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.uuid).await
    }
}

/// Removes the VM from its host, if it is on one.
pub(super) async fn take_off(cx: &Cx, uuid: Id<VmInstance>) -> Result<()> {
    let vm: VmInstanceInventory = find(&mut cx.read().await?, uuid).await?;
    if vm.host_uuid.is_none() {
        return Ok(());
    }
    let on = OnHost { runs: false, ..on_host(cx, uuid).await? };
    BEFORE_DESTROY.run(cx, &on).await?;
    on.host.hypervisor()?.destroy_vm(cx, &on.host, &uuid.to_string()).await?;
    boot::unserve(cx, &on.host, uuid).await?;
    AFTER_DESTROY.run(cx, &on).await
}

/// Deletes the VM's root volume from its storage, with its snapshots and what its
/// firmware remembers.
pub(super) async fn delete_disk(cx: &Cx, uuid: Id<VmInstance>) -> Result<()> {
    let mut tx = cx.read().await?;
    let Ok(root) = volume::root_of(&mut tx, uuid.cast()).await else { return Ok(()) };
    if root.primary_storage_uuid.is_none() || root.install_path.is_none() {
        return Ok(());
    }
    let lies = Lies::of(&mut tx, root.uuid).await?;
    let last = last_host(&mut tx, uuid, &lies).await?;
    drop(tx);
    lies.remove(cx).await?;
    match last {
        Some(host) => host.hypervisor()?.forget_vm(cx, &host, &uuid.to_string()).await,
        None => Ok(()),
    }
}

/// Where the VM was last, which keeps what its firmware remembers; none when that host is gone or silent.
async fn last_host(tx: &mut Tx, uuid: Id<VmInstance>, lies: &Lies) -> Result<Option<HostInventory>> {
    if !lies.storage.shared {
        return Ok(Some(lies.host.clone()));
    }
    let vm: VmInstanceInventory = find(tx, uuid).await?;
    let Some(last) = vm.host_uuid.or(vm.last_host_uuid) else { return Ok(None) };
    match find::<HostInventory>(tx, last).await {
        Ok(host) => Ok(Some(host).filter(HostInventory::is_connected)),
        Err(error) if error.is(codes::NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Somebody works on the VM's root volume from now on; a deletion that goes past hosts which do not answer does
/// without.
pub(super) async fn take_in_hand(tx: &mut Tx, vm: &VmInstanceInventory, anyway: bool) -> Result<()> {
    let Ok(root) = volume::root_of(tx, vm.uuid.cast()).await else { return Ok(()) };
    if root.primary_storage_uuid.is_none() || root.host_uuid.is_some() {
        return Ok(());
    }
    match volume::in_hand(tx, root.uuid).await {
        Err(error) if anyway => tracing::warn!(vm = vm.name, %error, "nobody takes its disk away"),
        taken => drop(taken?),
    }
    Ok(())
}

/// Expunges the destroyed VMs whose time is over. One that fails is tried again at the next pass.
pub(super) async fn expunge_overdue(engine: Engine) -> Result<()> {
    let period = i64::try_from(engine.setting(&EXPUNGE_PERIOD).as_micros()).unwrap_or(i64::MAX);
    let limit = Stamp(Stamp::now().0.saturating_sub(period));
    for (uuid, name) in store::destroyed_before(&mut engine.db().read().await?, limit).await? {
        if let Err(error) = engine.run(Delete::new(Root::new("VmInstance", uuid.cast(), &name))).await {
            tracing::warn!(vm = name, %error, "could not be expunged");
        }
    }
    Ok(())
}
