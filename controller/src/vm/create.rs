//! Creating a VM: allocate → addresses → images → disks, or copies → network → start.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{Inventory, find, show};
use engine::{Any, Id, Result, codes, tag};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allocate::{self, Demand, Place};
use super::cd_rom::{self, Needed, NewDrive};
use super::copied::{COPYING, Source};
use super::points::{AFTER_CREATE, BEFORE_CREATE, OnHost};
use super::{
    TOTAL_NUM, VmInstance, VmInstanceInventory, affinity, boot, change, facet, seed, store, targets,
};
use crate::host::{self, Host, HostInventory};
use crate::image::{Image, ImageSource};
use crate::l3::L3Network;
use crate::nic::{self, NewNic};
use crate::primary_storage::driver::{NewVolume, Placed, Wanted};
use crate::primary_storage::{self, InCache, PrimaryStorage, PrimaryStorageInventory};
use crate::ssh_key_pair::SshKeyPair;
use crate::volume::{self, Lies, Volume, VolumeInventory};

/// What the user asked for, and what came of it so far.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Create {
    pub uuid: Id<VmInstance>,
    pub account: Id<Any>,
    pub name: String,
    pub description: Option<String>,
    pub offering: Option<Id<Any>>,
    pub image: Option<Id<Any>>,
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
    /// Its root volume begins empty: it is installed from an ISO, which is what `wanted` names.
    #[serde(default)]
    pub empty: bool,
    /// Its disks are copies, and no image is needed: this is what the root volume is copied from.
    #[serde(default)]
    pub source: Option<Source>,
    /// What its CD-ROM drives hold, by their numbers.
    #[serde(default)]
    pub drives: Vec<Option<Wanted>>,
    /// Made with it, by their numbers.
    #[serde(default)]
    pub data: Vec<DataDisk>,
    /// As its image boots, unless it says otherwise itself.
    #[serde(default)]
    pub boot_mode: Option<String>,
    /// Whose keys its guest lets in.
    #[serde(default)]
    pub keys: Vec<Id<SshKeyPair>>,
    /// In base64.
    #[serde(default)]
    pub user_data: Option<String>,
    pub demand: Demand,
    pub made: Made,
}

/// A data volume that is made with its VM.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct DataDisk {
    pub offering: Option<Id<Any>>,
    /// Bytes.
    pub size: i64,
    /// System tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Of a VM whose disks are copies.
    #[serde(default)]
    pub source: Option<Source>,
}

/// As storages fetch it.
pub(super) fn wanted(source: &ImageSource, image: Id<Image>) -> Wanted {
    Wanted {
        image: image.to_string(),
        url: source.url.clone(),
        hostname: source.hostname.clone(),
        install_path: source.install_path.clone(),
        sha256: source.sha256.clone(),
        actual_size: source.actual_size,
    }
}

/// What earlier steps settled.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Made {
    /// Of the VM, which names its taps.
    #[serde(default)]
    number: i64,
    host: Option<Id<Host>>,
    storage: Option<Id<PrimaryStorage>>,
    root: NewVolume,
    /// The image was in the storage's cache already.
    #[serde(default)]
    known: bool,
    /// And nothing is to be asked or done about it.
    #[serde(default)]
    in_place: bool,
    cached: Placed,
    disk: Placed,
    /// The ISOs that are to be fetched.
    #[serde(default)]
    isos: Vec<Needed>,
    #[serde(default)]
    data: Vec<Placed>,
}

impl Create {
    async fn allocate(&mut self, tx: &mut Tx) -> Result<()> {
        let Place { host, storage } = allocate::choose(tx, &self.demand, &self.strategy).await?;
        let storage = storage.ok_or_else(|| codes::INTERNAL.because("a new VM has a disk"))?;
        self.made.number = store::insert(tx, self, &host).await?;
        seed::enter(tx, self.uuid, &self.keys, self.user_data.as_deref()).await?;
        affinity::join(tx, &self.demand.groups, self.uuid).await?;
        allocate::claim(tx, self.uuid, &self.demand, &host, &[(&TOTAL_NUM, 1)]).await?;
        change::leave_room(tx, self.uuid, &self.demand, &host).await?;
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
            home: storage.home(host.uuid),
            host: host.uuid,
            image: self.image,
            install_path: &path,
            size,
        };
        volume::claim_root(tx, claim).await?;
        self.template(tx, storage.uuid, host.uuid).await?;
        self.drives(tx, &storage, host.uuid).await?;
        self.data_volumes(tx, &storage, host.uuid).await?;
        self.made.host = Some(host.uuid);
        self.made.storage = Some(storage.uuid);
        Ok(())
    }

    /// Whether what the root volume is made of is there. An ISO is fetched with those in the drives.
    async fn template(&mut self, tx: &mut Tx, storage: Id<PrimaryStorage>, host: Id<Host>) -> Result<()> {
        if self.empty || self.source.is_some() {
            self.made.in_place = true;
            return Ok(());
        }
        match primary_storage::in_cache(tx, &self.wanted.image, storage, host).await? {
            InCache::No => {}
            InCache::Doubted => self.made.known = true,
            InCache::Yes(placed) => {
                self.made.known = true;
                self.made.in_place = true;
                self.made.cached = placed;
            }
        }
        Ok(())
    }

    async fn drives(&mut self, tx: &mut Tx, storage: &PrimaryStorageInventory, host: Id<Host>) -> Result<()> {
        let driver = storage.driver()?;
        self.made.isos.clear();
        for (device, wanted) in (0..).zip(&self.drives) {
            let iso = match wanted {
                Some(wanted) => Some((image_of(wanted)?, driver.cached_path(storage, wanted))),
                None => None,
            };
            cd_rom::add(tx, NewDrive { vm: self.uuid, device, iso }).await?;
        }
        for wanted in self.drives.iter().flatten() {
            let needed = cd_rom::needed(tx, storage.uuid, host, wanted.clone()).await?;
            self.made.isos.extend(needed);
        }
        Ok(())
    }

    fn data_id(&self, device: i64) -> Id<Volume> {
        Id::derived(&[&self.uuid.to_string(), "data volume", &device.to_string()])
    }

    async fn data_volumes(
        &mut self,
        tx: &mut Tx,
        storage: &PrimaryStorageInventory,
        host: Id<Host>,
    ) -> Result<()> {
        for (device, disk) in (1..).zip(&self.data) {
            let uuid = self.data_id(device);
            let new =
                NewVolume { uuid: uuid.to_string(), account: self.account.to_string(), size: disk.size };
            let claim = volume::NewData {
                uuid,
                name: &format!("DATA-for-{}", self.name),
                vm: self.uuid.cast(),
                device,
                offering: disk.offering,
                storage: storage.uuid,
                home: storage.home(host),
                host,
                install_path: &storage.driver()?.data_path(storage, &new),
                size: disk.size,
            };
            volume::claim_data(tx, claim).await?;
            for text in &disk.tags {
                tag::put_system(tx, VolumeInventory::KIND, uuid.cast(), text, Id::random()).await?;
            }
        }
        Ok(())
    }

    async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        store::forget(tx, self.uuid).await
    }

    pub fn root_id(&self) -> Id<Volume> {
        Id::derived(&[&self.uuid.to_string(), "root volume"])
    }

    async fn addresses(&mut self, tx: &mut Tx) -> Result<()> {
        for (device, l3) in self.demand.l3_networks.iter().enumerate() {
            let new = NewNic {
                uuid: Id::derived(&[&self.uuid.to_string(), "nic", &device.to_string()]),
                vm: self.uuid.cast(),
                vm_number: self.made.number,
                l3: *l3,
                device_id: i64::try_from(device).unwrap_or(0),
                virtio: self.virtio,
                wanted: self.addresses.get(l3).copied(),
            };
            nic::add(tx, new).await?;
        }
        match &self.boot_mode {
            Some(mode) => facet::boot_as(tx, self.uuid, mode).await,
            None => Ok(()),
        }
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

    async fn isos(&mut self, cx: &Cx) -> Result<()> {
        cd_rom::fetch(cx, &mut self.made.isos).await
    }

    async fn cached(&mut self, tx: &mut Tx) -> Result<()> {
        cd_rom::fetched(tx, &self.made.isos).await?;
        let (Some(storage), Some(host)) = (self.made.storage, self.made.host) else { return Ok(()) };
        match self.made.in_place {
            true => Ok(()),
            false => {
                let (image, placed) = (&self.wanted.image, &self.made.cached);
                primary_storage::remember_cached(tx, image, storage, host, placed).await
            }
        }
    }

    async fn disk(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        let (template, root) = (&self.made.cached, &self.made.root);
        if self.empty {
            let driver = storage.driver()?;
            let path = driver.root_path(&storage, root);
            self.made.disk = driver.create_volume(storage.through(cx, &host), root, &path).await?;
            return Ok(());
        }
        let made = storage.driver()?.clone_volume(storage.through(cx, &host), template, root).await;
        if self.made.in_place && made.as_ref().is_err_and(primary_storage::says_uncached) {
            // Somebody took it away behind our back: the next one looks, and fetches it again.
            let (image, storage, host) = (self.wanted.image.clone(), storage.uuid, host.uuid);
            cx.write(move |tx| {
                Box::pin(async move { primary_storage::doubt_cached(tx, &image, storage, host).await })
            })
            .await?;
        }
        self.made.disk = made?;
        Ok(())
    }

    async fn delete_disk(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        let driver = storage.driver()?;
        driver.delete_volume(storage.through(cx, &host), &driver.root_path(&storage, &self.made.root)).await
    }

    async fn data_disks(&mut self, cx: &Cx) -> Result<()> {
        self.made.data.clear();
        for device in (1..).take(self.data.len()) {
            let lies = Lies::of(&mut cx.read().await?, self.data_id(device)).await?;
            self.made.data.push(lies.make(cx, self.account).await?);
        }
        Ok(())
    }

    async fn delete_data_disks(&mut self, cx: &Cx) -> Result<()> {
        for device in (1..).take(self.data.len()) {
            Lies::of(&mut cx.read().await?, self.data_id(device)).await?.remove(cx).await?;
        }
        Ok(())
    }

    async fn copies(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        if let Some(source) = &self.source {
            let path = storage.driver()?.root_path(&storage, &self.made.root);
            self.made.disk = source.copy(storage.through(cx, &host), &path).await?;
        }
        self.made.data.clear();
        for (device, disk) in (1..).zip(&self.data) {
            let lies = Lies::of(&mut cx.read().await?, self.data_id(device)).await?;
            let path = lies.volume.install_path.as_deref().unwrap_or_default();
            if let Some(source) = &disk.source {
                self.made.data.push(source.copy(lies.through(cx), path).await?);
            }
        }
        Ok(())
    }

    async fn delete_copies(&mut self, cx: &Cx) -> Result<()> {
        self.delete_disk(cx).await?;
        self.delete_data_disks(cx).await
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
        volume::ready(tx, self.root_id(), disk.size, disk.actual_size).await?;
        for (device, disk) in (1..).zip(&self.made.data) {
            volume::ready(tx, self.data_id(device), disk.size, disk.actual_size).await?;
        }
        Ok(())
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
        let payload = json!({ "name": self.name, "accountUuid": self.account });
        tx.emit("/vm/created", self.uuid.cast(), payload).await
    }

    async fn told(&self, cx: &Cx) -> Result<OnHost> {
        let vm = find(&mut cx.read().await?, self.uuid).await?;
        Ok(OnHost { vm, host: self.host(cx).await?, runs: self.start })
    }

    async fn host(&self, cx: &Cx) -> Result<HostInventory> {
        self.host_in(&mut cx.read().await?).await
    }

    async fn host_in(&self, tx: &mut Tx) -> Result<HostInventory> {
        let host = self.made.host.ok_or_else(|| codes::INTERNAL.because("no host was allocated"))?;
        find(tx, host).await
    }

    async fn place(&self, cx: &Cx) -> Result<(HostInventory, PrimaryStorageInventory)> {
        let storage = self.made.storage.ok_or_else(|| codes::INTERNAL.because("no storage was allocated"))?;
        let mut tx = cx.read().await?;
        Ok((self.host_in(&mut tx).await?, find(&mut tx, storage).await?))
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
            .point(&BEFORE_CREATE, |create, cx| Box::pin(create.told(cx)))
            .act("image", Self::image)
            .limit(std::time::Duration::from_secs(3600))
            .unless(|create| create.made.in_place)
            .act("isos", Self::isos)
            .limit(std::time::Duration::from_secs(3600))
            .unless(|create| create.made.isos.is_empty())
            .record("cached", Self::cached)
            .act_undo("disk", Self::disk, Self::delete_disk)
            .unless(|create| create.source.is_some())
            .act_undo("data disks", Self::data_disks, Self::delete_data_disks)
            .unless(|create| create.data.is_empty() || create.source.is_some())
            .act_undo("copies", Self::copies, Self::delete_copies)
            .limit(COPYING)
            .unless(|create| create.source.is_none())
            .record("disk ready", Self::disk_ready)
            .act_undo("network", Self::network, Self::unserve)
            .act_undo("start", Self::start, Self::destroy)
            .point(&AFTER_CREATE, |create, cx| Box::pin(create.told(cx)))
            .record("created", Self::created)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.uuid).await
    }
}

fn image_of(wanted: &Wanted) -> Result<Id<Image>> {
    wanted.image.parse().map_err(|_| codes::INTERNAL.because("an image without a uuid"))
}

/// What a stopped VM needs of a place: where its volumes lie that lie on a host, and the storages of the others.
pub(super) async fn demand_again(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    wanted: Option<Id<Host>>,
) -> Result<Demand> {
    let volumes = targets::volumes(tx, vm).await?;
    let bound = volumes.iter().find_map(|volume| Some((volume, volume.host_uuid?)));
    if let (Some(wanted), Some((volume, home))) = (wanted, bound)
        && wanted != home
    {
        let home: HostInventory = find(tx, home).await?;
        let of = if volume.r#type == "Root" {
            "root volume".into()
        } else {
            format!("volume \"{}\"", volume.name)
        };
        let details =
            format!("the {of} of vm \"{}\" lies on host \"{}\": it can start there only", vm.name, home.name);
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    if let Some((storage, home)) = bound.and_then(|(volume, home)| Some((volume.primary_storage_uuid?, home)))
    {
        primary_storage::refuse_detached(tx, storage, home).await?;
    }
    let bonds = affinity::Bonds::of(tx, vm.uuid).await?;
    Ok(Demand {
        hypervisor: vm.hypervisor_type.clone(),
        cpu: vm.cpu_num,
        memory: vm.memory_size,
        l3_networks: nic::of_vm(tx, vm.uuid.cast()).await?.iter().map(|nic| nic.l3_network_uuid).collect(),
        zone: vm.zone_uuid,
        host: bound.map(|(_, home)| home).or(wanted),
        storages: targets::shared(&volumes),
        vm: Some(vm.uuid),
        last: vm.last_host_uuid,
        groups: bonds.groups,
        host_tags: bonds.host_tags,
        ..Demand::default()
    })
}

/// A stopped VM is to start: it claims its place again.
pub(super) async fn claim_again(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    wanted: Option<Id<Host>>,
) -> Result<()> {
    let demand = demand_again(tx, vm, wanted).await?;
    host::release(tx, vm.uuid.cast()).await?;
    let place = allocate::choose(tx, &demand, &vm.allocator_strategy).await?;
    allocate::claim(tx, vm.uuid, &demand, &place.host, &[]).await?;
    change::leave_room(tx, vm.uuid, &demand, &place.host).await?;
    store::place(tx, vm.uuid, &place.host).await
}
