//! Creating a VM: allocate → addresses → image → disk → network → start.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes, quota};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allocate::{self, Demand};
use super::{TOTAL_NUM, VmInstance, VmInstanceInventory, boot, store};
use crate::host::{self, Host, HostInventory};
use crate::l3::L3Network;
use crate::nic::{self, NewNic};
use crate::primary_storage::driver::{NewVolume, Placed, Wanted};
use crate::primary_storage::{self, PrimaryStorage, PrimaryStorageInventory};
use crate::volume::{self, Volume};

/// What the user asked for, and what came of it so far.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Create {
    pub uuid: Id<VmInstance>,
    pub account: Id<Any>,
    pub name: String,
    pub description: Option<String>,
    pub offering: Option<Id<Any>>,
    pub image: Id<Any>,
    pub wanted: Wanted,
    pub platform: String,
    pub architecture: String,
    pub guest_os_type: Option<String>,
    pub virtio: bool,
    pub cpu_speed: i64,
    pub reserved_memory: i64,
    pub strategy: String,
    pub default_l3: Option<Id<L3Network>>,
    /// Which addresses it is to have, where the user wants certain ones.
    #[serde(default)]
    pub addresses: BTreeMap<Id<L3Network>, Ipv4Addr>,
    /// Otherwise it is left Stopped.
    pub start: bool,
    pub demand: Demand,
    pub made: Made,
}

/// What earlier steps settled.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Made {
    host: Option<Id<Host>>,
    storage: Option<Id<PrimaryStorage>>,
    root: NewVolume,
    /// The image was in the storage's cache already.
    #[serde(default)]
    known: bool,
    cached: Placed,
    disk: Placed,
}

impl Create {
    async fn allocate(&mut self, tx: &mut Tx) -> Result<()> {
        store::insert(tx, self).await?;
        quota::check(tx, self.uuid, &[(&TOTAL_NUM, 1)]).await?;
        let place = allocate::claim(tx, self.uuid, &self.demand, &self.strategy).await?;
        let host: HostInventory = find(tx, place.host).await?;
        let storage = place.storage.ok_or_else(|| codes::INTERNAL.because("a new VM has a disk"))?;
        store::place(tx, self.uuid, &host).await?;
        let root = self.root_id();
        let size = self.demand.disk.as_ref().map_or(0, |disk| disk.size);
        self.made.root = NewVolume { uuid: root.to_string(), account: self.account.to_string(), size };
        let storage: PrimaryStorageInventory = find(tx, storage).await?;
        let path = storage.driver()?.root_path(&storage, &self.made.root);
        let claim = volume::NewRoot {
            uuid: root,
            name: &self.name,
            vm: self.uuid.cast(),
            storage: storage.uuid,
            host: host.uuid,
            image: &self.wanted.image,
            install_path: &path,
            size,
        };
        volume::claim_root(tx, claim).await?;
        store::set_root(tx, self.uuid, root).await?;
        self.made.known = primary_storage::is_cached(tx, &self.wanted.image, storage.uuid, host.uuid).await?;
        self.made.host = Some(host.uuid);
        self.made.storage = Some(storage.uuid);
        Ok(())
    }

    async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        store::forget(tx, self.uuid).await
    }

    fn root_id(&self) -> Id<Volume> {
        Id::derived(&[&self.uuid.to_string(), "root volume"])
    }

    async fn addresses(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        for (device, l3) in self.demand.l3_networks.iter().enumerate() {
            let new = NewNic {
                uuid: Id::derived(&[&self.uuid.to_string(), "nic", &device.to_string()]),
                vm: self.uuid.cast(),
                vm_number: vm.internal_id,
                l3: *l3,
                device_id: i64::try_from(device).unwrap_or(0),
                virtio: self.virtio,
                wanted: self.addresses.get(l3).copied(),
            };
            nic::add(tx, new).await?;
        }
        Ok(())
    }

    async fn give_back(&mut self, tx: &mut Tx) -> Result<()> {
        nic::remove_all(tx, self.uuid.cast()).await
    }

    async fn image(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        self.made.cached =
            primary_storage::cached(cx, &host, &storage, &self.wanted, self.made.known).await?;
        Ok(())
    }

    async fn cached(&mut self, tx: &mut Tx) -> Result<()> {
        let (Some(storage), Some(host)) = (self.made.storage, self.made.host) else { return Ok(()) };
        primary_storage::remember_cached(tx, &self.wanted.image, storage, host, &self.made.cached).await
    }

    async fn disk(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        let (template, root) = (&self.made.cached, &self.made.root);
        self.made.disk = storage.driver()?.clone_volume(cx, &host, &storage, template, root).await?;
        Ok(())
    }

    async fn delete_disk(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        let driver = storage.driver()?;
        driver.delete_volume(cx, &host, &storage, &driver.root_path(&storage, &self.made.root)).await
    }

    async fn network(&mut self, cx: &Cx) -> Result<()> {
        match self.start {
            true => boot::serve(cx, &self.host(cx).await?, self.uuid).await,
            false => Ok(()),
        }
    }

    async fn unserve(&mut self, cx: &Cx) -> Result<()> {
        boot::unserve(cx, &self.host(cx).await?, self.uuid).await
    }

    async fn disk_ready(&mut self, tx: &mut Tx) -> Result<()> {
        let disk = &self.made.disk;
        volume::ready(tx, self.root_id(), disk.size, disk.actual_size).await
    }

    async fn start(&mut self, cx: &Cx) -> Result<()> {
        match self.start {
            true => boot::start(cx, &self.host(cx).await?, self.uuid).await,
            false => Ok(()),
        }
    }

    async fn destroy(&mut self, cx: &Cx) -> Result<()> {
        let host = self.host(cx).await?;
        host.hypervisor()?.destroy_vm(cx, &host, &self.uuid.to_string()).await
    }

    async fn created(&mut self, tx: &mut Tx) -> Result<()> {
        match self.start {
            true => store::set_state(tx, self.uuid, "Running").await?,
            false => store::stopped(tx, self.uuid).await?,
        }
        tx.emit("/vm/created", self.uuid.cast(), json!({ "name": self.name })).await
    }

    async fn host(&self, cx: &Cx) -> Result<HostInventory> {
        let host = self.made.host.ok_or_else(|| codes::INTERNAL.because("no host was allocated"))?;
        find(&mut cx.read().await?, host).await
    }

    async fn place(&self, cx: &Cx) -> Result<(HostInventory, PrimaryStorageInventory)> {
        let storage = self.made.storage.ok_or_else(|| codes::INTERNAL.because("no storage was allocated"))?;
        Ok((self.host(cx).await?, find(&mut cx.read().await?, storage).await?))
    }
}

impl Flow for Create {
    const NAME: &'static str = "vm.create";

    fn resource(&self) -> Id<Any> {
        self.uuid.cast()
    }

    fn title(&self) -> String {
        format!("create vm \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("allocate", Self::allocate, Self::forget)
            .record_undo("addresses", Self::addresses, Self::give_back)
            .act("image", Self::image)
            .limit(std::time::Duration::from_secs(3600))
            .record("cached", Self::cached)
            .act_undo("disk", Self::disk, Self::delete_disk)
            .record("disk ready", Self::disk_ready)
            .act_undo("network", Self::network, Self::unserve)
            .act_undo("start", Self::start, Self::destroy)
            .record("created", Self::created)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.uuid).await
    }
}

/// Where a stopped VM can start: with local storage, where its root volume lies.
pub(super) async fn claim_again(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    wanted: Option<Id<Host>>,
) -> Result<()> {
    let root = volume::root_of(tx, vm.uuid.cast()).await?;
    if let (Some(wanted), Some(home)) = (wanted, root.host_uuid)
        && wanted != home
    {
        let home: HostInventory = find(tx, home).await?;
        let details = format!(
            "the root volume of vm \"{}\" lies on host \"{}\": it can start there only",
            vm.name, home.name
        );
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    if let (Some(storage), Some(home)) = (root.primary_storage_uuid, root.host_uuid) {
        primary_storage::refuse_detached(tx, storage, home).await?;
    }
    let demand = Demand {
        hypervisor: vm.hypervisor_type.clone(),
        cpu: vm.cpu_num,
        memory: vm.memory_size,
        l3_networks: nic::of_vm(tx, vm.uuid.cast()).await?.iter().map(|nic| nic.l3_network_uuid).collect(),
        zone: vm.zone_uuid,
        host: root.host_uuid.or(wanted),
        ..Demand::default()
    };
    host::release(tx, vm.uuid.cast()).await?;
    let place = allocate::claim(tx, vm.uuid, &demand, &vm.allocator_strategy).await?;
    let host: HostInventory = find(tx, place.host).await?;
    store::place(tx, vm.uuid, &host).await
}
