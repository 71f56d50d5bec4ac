//! Moving a running VM to another host, with the disks that lie on its host.
//!
//! At every moment one side runs it: the libvirts hand it over when all is copied. What the VM takes of the
//! other host is claimed before anything is made there; the files it leaves are known as copies until they
//! are deleted. When nobody can say how a move has ended, the hosts are asked: a VM that was not to move after
//! all is moved back.

use std::time::Duration;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::points::{AFTER_MIGRATE, BEFORE_MIGRATE, OnHost};
use super::targets;
use super::{VmInstance, VmInstanceInventory, allocate, boot, life, store};
use crate::host::driver::{Migration, VmState};
use crate::host::{self, Host, HostInventory};
use crate::primary_storage::PrimaryStorageInventory;
use crate::primary_storage::driver::NewVolume;
use crate::volume::{self, VolumeInventory};

/// How long a VM may be on its way; the agent gives it up before.
const MOVING: Duration = Duration::from_secs(12 * 3600 + 600);
pub(super) const TIMEOUT: u64 = 12 * 3600;
const LOOK: Duration = Duration::from_millis(500);
/// So often both hosts are asked where the VM is.
const LOOKS: usize = 240;

/// claim → network → disks → move → moved → leave → left
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Migrate {
    pub uuid: Id<VmInstance>,
    pub name: String,
    pub wanted: Option<Id<Host>>,
    pub how: Migration,
    pub from: Option<Id<Host>>,
    pub to: Option<Id<Host>>,
}

impl Migrate {
    async fn claim(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        let from = life::place_of(&vm)?;
        host::usable(tx, from).await?;
        store::change_state(tx, &vm, &["Running"], "Migrating").await?;
        if let Some(obstacle) = targets::obstacles(tx, &vm).await?.into_iter().next() {
            return Err(codes::STATE.because(format!("vm \"{}\" cannot move: {obstacle}", vm.name)));
        }
        let to = targets::choose(tx, &vm, self.wanted).await?;
        if !host::claim_for_move(tx, vm.uuid.cast(), to.uuid, vm.cpu_num, vm.memory_size).await? {
            let details = format!("host \"{}\" was filled up meanwhile: try again", to.name);
            return Err(allocate::NO_HOST.because(details));
        }
        let volumes = targets::volumes(tx, &vm).await?;
        for volume in targets::local(&volumes) {
            volume::claim_copy(tx, volume.uuid, to.uuid).await?;
        }
        (self.from, self.to) = (Some(from), Some(to.uuid));
        self.how.with_disks = targets::local(&volumes).next().is_some();
        Ok(())
    }

    async fn give_up(&mut self, tx: &mut Tx) -> Result<()> {
        self.forget(tx).await?;
        store::back(tx, self.uuid).await
    }

    /// What was claimed for the move is claimed no longer.
    async fn forget(&self, tx: &mut Tx) -> Result<()> {
        host::release_move(tx, self.uuid.cast()).await?;
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        for volume in targets::volumes(tx, &vm).await? {
            volume::forget_copy(tx, volume.uuid).await?;
        }
        Ok(())
    }

    async fn host(&self, cx: &Cx, which: Option<Id<Host>>) -> Result<HostInventory> {
        let host = which.ok_or_else(|| codes::INTERNAL.because("no host was chosen"))?;
        find(&mut cx.read().await?, host).await
    }

    async fn told(&self, cx: &Cx, host: Option<Id<Host>>, runs: bool) -> Result<OnHost> {
        let vm = find(&mut cx.read().await?, self.uuid).await?;
        Ok(OnHost { vm, host: self.host(cx, host).await?, runs })
    }

    /// And the disc that its guest has, as it is.
    async fn network(&mut self, cx: &Cx) -> Result<()> {
        let (from, to) = (self.host(cx, self.from).await?, self.host(cx, self.to).await?);
        boot::serve(cx, &to, self.uuid).await?;
        self.bring_disc(cx, &from, &to).await
    }

    async fn bring_disc(&self, cx: &Cx, from: &HostInventory, to: &HostInventory) -> Result<()> {
        let vm = self.uuid.to_string();
        match from.hypervisor()?.read_seed(cx, from, &vm).await? {
            Some(disc) => to.hypervisor()?.write_seed(cx, to, &vm, disc).await,
            None => Ok(()),
        }
    }

    async fn unserve(&mut self, cx: &Cx) -> Result<()> {
        let to = self.host(cx, self.to).await?;
        to.hypervisor()?.forget_vm(cx, &to, &self.uuid.to_string()).await?;
        boot::unserve(cx, &to, self.uuid).await
    }

    /// Each volume that lies on a host, with its storage.
    async fn disks(&self, cx: &Cx) -> Result<Vec<(VolumeInventory, PrimaryStorageInventory)>> {
        let mut tx = cx.read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.uuid).await?;
        let mut disks = Vec::new();
        for volume in targets::volumes(&mut tx, &vm).await? {
            if let (Some(storage), Some(_)) = (volume.primary_storage_uuid, volume.host_uuid) {
                disks.push((volume, find(&mut tx, storage).await?));
            }
        }
        Ok(disks)
    }

    async fn make_disks(&mut self, cx: &Cx) -> Result<()> {
        let to = self.host(cx, self.to).await?;
        for (volume, storage) in self.disks(cx).await? {
            let uuid = volume.uuid.to_string();
            let new = NewVolume { uuid, account: String::new(), size: volume.size };
            let path = volume.install_path.unwrap_or_default();
            storage.driver()?.create_volume(storage.through(cx, &to), &new, &path).await?;
        }
        Ok(())
    }

    async fn delete_disks(&mut self, cx: &Cx) -> Result<()> {
        self.delete_disks_on(cx, self.to).await
    }

    async fn delete_disks_on(&self, cx: &Cx, host: Option<Id<Host>>) -> Result<()> {
        let host = self.host(cx, host).await?;
        for (volume, storage) in self.disks(cx).await? {
            let path = volume.install_path.unwrap_or_default();
            storage.driver()?.delete_volume(storage.through(cx, &host), &path).await?;
        }
        Ok(())
    }

    async fn go(&mut self, cx: &Cx) -> Result<()> {
        let (from, to) = (self.host(cx, self.from).await?, self.host(cx, self.to).await?);
        from.hypervisor()?.migrate_vm(cx, &from, &to, &self.uuid.to_string(), &self.how).await
    }

    /// It runs where it was, whatever has happened.
    async fn stay(&mut self, cx: &Cx) -> Result<()> {
        let (from, to) = (self.host(cx, self.from).await?, self.host(cx, self.to).await?);
        // What is on its way is given up, and what is late is refused.
        from.hypervisor()?.stay_vm(cx, &from, &self.uuid.to_string()).await?;
        if self.has_left(cx, &from, &to).await? {
            self.bring_disc(cx, &to, &from).await?;
            let with_disks = self.how.with_disks;
            let how = Migration { timeout: TIMEOUT, with_disks, ..Migration::default() };
            to.hypervisor()?.migrate_vm(cx, &to, &from, &self.uuid.to_string(), &how).await?;
        }
        Ok(())
    }

    /// Waits until one of the hosts has it alone, and tells whether that is the other one.
    async fn has_left(&self, cx: &Cx, from: &HostInventory, to: &HostInventory) -> Result<bool> {
        let vm = self.uuid.to_string();
        for _ in 0..LOOKS {
            let there = from.hypervisor()?.vm_states(cx.engine(), from).await?.get(&vm).copied();
            let other = to.hypervisor()?.vm_states(cx.engine(), to).await?.get(&vm).copied();
            let here = |state: Option<VmState>| state.is_some_and(|state| state != VmState::Absent);
            match (here(there), here(other)) {
                (true, true) => sleep(LOOK).await,
                (_, other) => return Ok(other),
            }
        }
        let (name, one, two) = (&self.name, &from.name, &to.name);
        Err(codes::STATE.because(format!("vm \"{name}\" is on host \"{one}\" and on host \"{two}\"")))
    }

    async fn moved(&mut self, tx: &mut Tx) -> Result<()> {
        let (Some(from), Some(to)) = (self.from, self.to) else { return Ok(()) };
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        let to: HostInventory = find(tx, to).await?;
        host::release_move(tx, vm.uuid.cast()).await?;
        host::claim_as_it_is(tx, vm.uuid.cast(), to.uuid, vm.cpu_num, vm.memory_size).await?;
        store::place(tx, vm.uuid, &to).await?;
        let volumes = targets::volumes(tx, &vm).await?;
        for volume in targets::local(&volumes) {
            volume::go_to(tx, volume.uuid, to.uuid, from).await?;
        }
        store::set_state(tx, vm.uuid, "Running").await?;
        let payload = json!({ "from": from, "to": to.uuid });
        tx.emit("/vm/migrated", vm.uuid.cast(), payload).await
    }

    async fn leave(&mut self, cx: &Cx) -> Result<()> {
        let (from, to, vm) =
            (self.host(cx, self.from).await?, self.host(cx, self.to).await?, self.uuid.to_string());
        // It may have stopped by itself meanwhile.
        match to.hypervisor()?.note_vm(cx, &to, &vm).await {
            Err(error) if error.is(codes::OPERATION) => tracing::warn!(vm, %error, "its taps are not marked"),
            noted => noted?,
        }
        boot::unserve(cx, &from, self.uuid).await?;
        self.delete_disks_on(cx, self.from).await?;
        from.hypervisor()?.forget_vm(cx, &from, &vm).await
    }

    async fn left(&mut self, tx: &mut Tx) -> Result<()> {
        self.forget(tx).await
    }
}

impl Flow for Migrate {
    const NAME: &'static str = "vm.migrate";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("migrate vm \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("claim", Self::claim, Self::give_up)
            .point(&BEFORE_MIGRATE, |migrate, cx| Box::pin(migrate.told(cx, migrate.to, true)))
            .act_undo("network", Self::network, Self::unserve)
            .act_undo("disks", Self::make_disks, Self::delete_disks)
            .act_undo("move", Self::go, Self::stay)
            .limit(MOVING)
            .record("moved", Self::moved)
            .act("leave", Self::leave)
            .onward()
            .point(&AFTER_MIGRATE, |migrate, cx| Box::pin(migrate.told(cx, migrate.from, false)))
            .record("left", Self::left)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.uuid).await
    }
}
