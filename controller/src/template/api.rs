use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find};
use engine::{Any, Id, Result, api, codes};

use super::create::Create;
use super::store;
use crate::backup_storage::BackupStorage;
use crate::image::made::{Made, NewImage};
use crate::image::{Image, ImageInventory};
use crate::primary_storage::PrimaryStorageInventory;
use crate::primary_storage::driver::Placed;
use crate::snapshot::{VolumeSnapshot, VolumeSnapshotInventory};
use crate::validate::{self, Architecture, Platform};
use crate::vm::VmInstanceInventory;
use crate::volume::{Volume, VolumeInventory};

/// What the calls have in common.
#[derive(Default)]
struct Wish {
    uuid: Option<Id<Image>>,
    name: String,
    description: Option<String>,
    of_root: bool,
    storages: Vec<Id<BackupStorage>>,
    guest_os_type: Option<String>,
    platform: Option<Platform>,
    architecture: Option<Architecture>,
    system: bool,
    virtio: bool,
}

/// What an image is made of.
struct Source {
    owner: Id<Any>,
    volume: VolumeInventory,
    snapshot: Option<VolumeSnapshotInventory>,
}

impl Source {
    async fn volume(tx: &mut Tx, volume: Id<Volume>, r#type: &str) -> Result<Source> {
        let volume: VolumeInventory = find(tx, volume).await?;
        if volume.r#type != r#type {
            let (name, is) = (&volume.name, &volume.r#type);
            let details = format!("volume \"{name}\" is of type {is}, not {type}");
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        let owner = volume.vm_instance_uuid.unwrap_or(volume.uuid.cast());
        Ok(Source { owner, volume, snapshot: None })
    }

    async fn snapshot(tx: &mut Tx, snapshot: Id<VolumeSnapshot>) -> Result<Source> {
        let snapshot: VolumeSnapshotInventory = find(tx, snapshot).await?;
        let volume = find(tx, snapshot.volume_uuid).await?;
        Ok(Source { owner: snapshot.uuid.cast(), volume, snapshot: Some(snapshot) })
    }

    fn url(&self) -> String {
        match &self.snapshot {
            Some(snapshot) => format!("volumeSnapshot://{}", snapshot.uuid),
            None => format!("volume://{}", self.volume.uuid),
        }
    }
}

impl Wish {
    /// Without storages the roomiest of the zone is taken; what is not said is as with the VM.
    async fn plan(mut self, tx: &mut Tx, job: &Job, source: Source) -> Result<Create> {
        self.storages.sort_unstable();
        self.storages.dedup();
        if let Some(storage) = source.volume.primary_storage_uuid.filter(|_| self.storages.is_empty()) {
            let storage: PrimaryStorageInventory = find(tx, storage).await?;
            self.storages.push(store::roomiest(tx, storage.zone_uuid).await?);
        }
        let vm = match source.volume.vm_instance_uuid {
            Some(vm) => Some(find::<VmInstanceInventory>(tx, vm).await?),
            None => None,
        };
        let told = |given: Option<String>, of_vm: Option<String>, otherwise: &str| {
            given.or(of_vm).unwrap_or_else(|| otherwise.to_owned())
        };
        let platform = self.platform.map(|platform| platform.name().to_owned());
        let architecture = self.architecture.map(|architecture| architecture.name().to_owned());
        let new = NewImage {
            uuid: self.uuid.unwrap_or(job.id().cast()),
            name: self.name,
            description: self.description,
            url: source.url(),
            of_root: self.of_root,
            guest_os_type: self.guest_os_type.or(vm.as_ref().and_then(|vm| vm.guest_os_type.clone())),
            platform: told(platform, vm.as_ref().map(|vm| vm.platform.clone()), Platform::default().name()),
            architecture: told(
                architecture,
                vm.and_then(|vm| vm.architecture),
                Architecture::default().name(),
            ),
            system: self.system,
            virtio: self.virtio,
            storages: self.storages,
        };
        Ok(Create {
            owner: source.owner,
            made: Made::new(new),
            volume: source.volume.uuid,
            snapshot: source.snapshot.map(|snapshot| snapshot.uuid),
            from: String::new(),
            host: None,
            placed: Placed::default(),
        })
    }

    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)
    }
}

api! {
    /// Of a volume that no VM has open.
    CreateRootVolumeTemplateFromRootVolume: POST "/images/root-volume-templates/from/volumes/{rootVolumeUuid}" "params" {
        root_volume_uuid: Id<Volume>,
        name: String,
        description: Option<String>,
        guest_os_type: Option<String>,
        backup_storage_uuids: Option<Vec<Id<BackupStorage>>>,
        platform: Option<Platform>,
        system: Option<bool>,
        architecture: Option<Architecture>,
        virtio: Option<bool>,
        resource_uuid: Option<Id<Image>>,
    }
}

impl Api for CreateRootVolumeTemplateFromRootVolume {
    const ROUTE: Route = CreateRootVolumeTemplateFromRootVolume::ROUTE;
    const MAKES: Option<&'static str> = Some(ImageInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let wish = Wish {
            uuid: self.resource_uuid,
            name: self.name,
            description: self.description,
            of_root: true,
            storages: self.backup_storage_uuids.unwrap_or_default(),
            guest_os_type: self.guest_os_type,
            platform: self.platform,
            architecture: self.architecture,
            system: self.system.unwrap_or(false),
            virtio: self.virtio.unwrap_or(true),
        };
        wish.check()?;
        let mut tx = job.engine().db().read().await?;
        let source = Source::volume(&mut tx, self.root_volume_uuid, "Root").await?;
        let create = wish.plan(&mut tx, &job, source).await?;
        drop(tx);
        job.flow(create).await
    }
}

api! {
    /// The volume's VM may run.
    CreateRootVolumeTemplateFromVolumeSnapshot: POST "/images/root-volume-templates/from/volume-snapshots/{snapshotUuid}" "params" {
        snapshot_uuid: Id<VolumeSnapshot>,
        name: String,
        description: Option<String>,
        guest_os_type: Option<String>,
        backup_storage_uuids: Vec<Id<BackupStorage>>,
        platform: Option<Platform>,
        architecture: Option<Architecture>,
        system: Option<bool>,
        virtio: Option<bool>,
        resource_uuid: Option<Id<Image>>,
    }
}

impl Api for CreateRootVolumeTemplateFromVolumeSnapshot {
    const ROUTE: Route = CreateRootVolumeTemplateFromVolumeSnapshot::ROUTE;
    const MAKES: Option<&'static str> = Some(ImageInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let wish = Wish {
            uuid: self.resource_uuid,
            name: self.name,
            description: self.description,
            of_root: true,
            storages: self.backup_storage_uuids,
            guest_os_type: self.guest_os_type,
            platform: self.platform,
            architecture: self.architecture,
            system: self.system.unwrap_or(false),
            virtio: self.virtio.unwrap_or(true),
        };
        wish.check()?;
        let mut tx = job.engine().db().read().await?;
        let source = Source::snapshot(&mut tx, self.snapshot_uuid).await?;
        let create = wish.plan(&mut tx, &job, source).await?;
        drop(tx);
        job.flow(create).await
    }
}

api! {
    /// Of a volume that no VM has open.
    CreateDataVolumeTemplateFromVolume: POST "/images/data-volume-templates/from/volumes/{volumeUuid}" "params" {
        volume_uuid: Id<Volume>,
        name: String,
        description: Option<String>,
        backup_storage_uuids: Option<Vec<Id<BackupStorage>>>,
        resource_uuid: Option<Id<Image>>,
    }
}

impl Api for CreateDataVolumeTemplateFromVolume {
    const ROUTE: Route = CreateDataVolumeTemplateFromVolume::ROUTE;
    const MAKES: Option<&'static str> = Some(ImageInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let storages = self.backup_storage_uuids.unwrap_or_default();
        let wish = Wish {
            uuid: self.resource_uuid,
            name: self.name,
            description: self.description,
            storages,
            ..Wish::default()
        };
        wish.check()?;
        let mut tx = job.engine().db().read().await?;
        let source = Source::volume(&mut tx, self.volume_uuid, "Data").await?;
        let create = wish.plan(&mut tx, &job, source).await?;
        drop(tx);
        job.flow(create).await
    }
}

api! {
    /// The volume's VM may run.
    CreateDataVolumeTemplateFromVolumeSnapshot: POST "/images/data-volume-templates/from/volume-snapshots/{snapshotUuid}" "params" {
        snapshot_uuid: Id<VolumeSnapshot>,
        name: String,
        description: Option<String>,
        backup_storage_uuids: Vec<Id<BackupStorage>>,
        resource_uuid: Option<Id<Image>>,
    }
}

impl Api for CreateDataVolumeTemplateFromVolumeSnapshot {
    const ROUTE: Route = CreateDataVolumeTemplateFromVolumeSnapshot::ROUTE;
    const MAKES: Option<&'static str> = Some(ImageInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let storages = self.backup_storage_uuids;
        let wish = Wish {
            uuid: self.resource_uuid,
            name: self.name,
            description: self.description,
            storages,
            ..Wish::default()
        };
        wish.check()?;
        let mut tx = job.engine().db().read().await?;
        let source = Source::snapshot(&mut tx, self.snapshot_uuid).await?;
        let create = wish.plan(&mut tx, &job, source).await?;
        drop(tx);
        job.flow(create).await
    }
}
