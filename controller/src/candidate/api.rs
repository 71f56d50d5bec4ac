use engine::api::{Ask, Asked, Route};
use engine::db::Tx;
use engine::inventory::{Inventory, Listed, Members, find, listed, present};
use engine::{Any, Id, Result, api, codes};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::store;
use crate::backup_storage::{BackupStorage, BackupStorageInventory};
use crate::image::{Image, ImageInventory};
use crate::l3::{L3Network, L3NetworkInventory};
use crate::primary_storage::PrimaryStorageInventory;
use crate::validate;
use crate::volume::{Volume, VolumeInventory};
use crate::zone::{Zone, ZoneInventory};

/// Things of the kind that was not named.
#[derive(Serialize, JsonSchema)]
pub struct Others {
    #[schemars(with = "Vec<Value>")]
    inventories: Vec<Members>,
}

impl Others {
    async fn of<I: Inventory>(tx: &mut Tx, rows: &[I]) -> Result<Others> {
        Ok(Others { inventories: present(tx, rows).await? })
    }
}

/// Networks that are all in the zone.
async fn all_in(tx: &mut Tx, zone: &ZoneInventory, networks: &[Id<L3Network>]) -> Result<bool> {
    for network in networks {
        if find::<L3NetworkInventory>(tx, *network).await?.zone_uuid != zone.uuid {
            return Ok(false);
        }
    }
    Ok(true)
}

fn name_one(one: &str) -> engine::ErrorCode {
    validate::missing(&format!("name either \"l3NetworkUuids\" or \"{one}\""))
}

api! {
    /// The images that VMs on these networks can be made from, or the networks that VMs made from this image
    /// can be on.
    GetInterdependentL3NetworksImages: GET "/images-l3networks/dependencies" {
        zone_uuid: Id<Zone>,
        #[serde(default, deserialize_with = "validate::list")]
        l3_network_uuids: Vec<Id<L3Network>>,
        image_uuid: Option<Id<Image>>,
        #[serde(default, deserialize_with = "validate::plain")]
        raise_exception: Option<bool>,
    }
}

impl Ask for GetInterdependentL3NetworksImages {
    const ROUTE: Route = GetInterdependentL3NetworksImages::ROUTE;
    type Reply = Others;

    async fn answer(self, asked: Asked) -> Result<Others> {
        let account = asked.tenant();
        let mut tx = asked.engine.db().read().await?;
        let zone: ZoneInventory = find(&mut tx, self.zone_uuid).await?;
        let found = match self.image_uuid {
            Some(image) => {
                let image: ImageInventory = find(&mut tx, image).await?;
                let networks = match store::has_image(&mut tx, image.uuid, zone.uuid).await? {
                    true => store::networks(&mut tx, zone.uuid, account).await?,
                    false => Vec::new(),
                };
                Others::of(&mut tx, &networks).await?
            }
            None if self.l3_network_uuids.is_empty() => return Err(name_one("imageUuid")),
            None => {
                let images = match all_in(&mut tx, &zone, &self.l3_network_uuids).await? {
                    true => store::images(&mut tx, zone.uuid, account).await?,
                    false => Vec::new(),
                };
                Others::of(&mut tx, &images).await?
            }
        };
        if found.inventories.is_empty() && self.raise_exception == Some(true) {
            let details =
                format!("nothing in zone \"{}\" goes with it: attach a backup storage first", zone.name);
            return Err(codes::OPERATION.because(details));
        }
        Ok(found)
    }
}

api! {
    /// The backup storages whose images can be used on these networks, or the networks on which this one's
    /// can be.
    GetInterdependentL3NetworksBackupStorages: GET "/backupStorage-l3networks/dependencies" {
        zone_uuid: Id<Zone>,
        backup_storage_uuid: Option<Id<BackupStorage>>,
        #[serde(default, deserialize_with = "validate::list")]
        l3_network_uuids: Vec<Id<L3Network>>,
    }
}

impl Ask for GetInterdependentL3NetworksBackupStorages {
    const ROUTE: Route = GetInterdependentL3NetworksBackupStorages::ROUTE;
    type Reply = Others;

    async fn answer(self, asked: Asked) -> Result<Others> {
        let account = asked.tenant();
        let mut tx = asked.engine.db().read().await?;
        let zone: ZoneInventory = find(&mut tx, self.zone_uuid).await?;
        match self.backup_storage_uuid {
            Some(storage) => {
                let networks = match store::is_attached(&mut tx, storage, zone.uuid).await? {
                    true => store::networks(&mut tx, zone.uuid, account).await?,
                    false => Vec::new(),
                };
                Others::of(&mut tx, &networks).await
            }
            None if self.l3_network_uuids.is_empty() => Err(name_one("backupStorageUuid")),
            None => {
                let storages = match all_in(&mut tx, &zone, &self.l3_network_uuids).await? {
                    true => store::storages(&mut tx, zone.uuid).await?,
                    false => Vec::new(),
                };
                Others::of(&mut tx, &storages).await
            }
        }
    }
}

api! {
    /// Where an image of the volume could be put.
    GetCandidateBackupStorageForCreatingImage: GET "/images/candidate-backup-storage" {
        volume_uuid: Option<Id<Volume>>,
        volume_snapshot_uuid: Option<Id<Any>>,
    }
}

impl Ask for GetCandidateBackupStorageForCreatingImage {
    const ROUTE: Route = GetCandidateBackupStorageForCreatingImage::ROUTE;
    type Reply = Listed<BackupStorageInventory>;

    async fn answer(self, asked: Asked) -> Result<Self::Reply> {
        validate::unsupported("volumeSnapshotUuid", &self.volume_snapshot_uuid)?;
        let volume = self.volume_uuid.ok_or_else(|| validate::missing("\"volumeUuid\" is required"))?;
        let mut tx = asked.engine.db().read().await?;
        let volume: VolumeInventory = find(&mut tx, volume).await?;
        let Some(storage) = volume.primary_storage_uuid else {
            let details =
                format!("volume \"{}\" lies nowhere yet: there is nothing to make an image of", volume.name);
            return Err(codes::STATE.because(details));
        };
        let storage: PrimaryStorageInventory = find(&mut tx, storage).await?;
        let storages = store::storages(&mut tx, storage.zone_uuid).await?;
        listed(&mut tx, &storages).await
    }
}

api! {
    GetPrimaryStorageAllocatorStrategies: GET "/primary-storage/allocators/strategies" {}
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PrimaryStorageAllocatorStrategies")]
pub struct Strategies {
    strategies: [&'static str; 1],
}

impl Ask for GetPrimaryStorageAllocatorStrategies {
    const ROUTE: Route = GetPrimaryStorageAllocatorStrategies::ROUTE;
    type Reply = Strategies;

    async fn answer(self, _asked: Asked) -> Result<Strategies> {
        Ok(Strategies { strategies: [crate::disk_offering::STRATEGY] })
    }
}
