//! What lies where on primary storages.

use engine::api::{Ask, Asked, Route};
use engine::inventory::find;
use engine::{Any, Id, Result, Stamp, api, inventory};
use serde_json::{Value, json};

use super::{PrimaryStorage, PrimaryStorageInventory, store};
use crate::host::Host;

inventory! {
    /// A copy of an image in the cache of a storage, as the API shows it; `install_url` says on which host.
    ImageCacheInventory in "image_cache_view" {
        image_uuid: Id<Any>,
        primary_storage_uuid: Id<PrimaryStorage>,
        host_uuid: Id<Host>,
        install_url: String,
        media_type: Option<String>,
        size: i64,
        state: String,
    }
}

inventory! {
    /// A volume of a storage that lies on one host, as the API shows it.
    LocalStorageResourceRefInventory in "local_storage_resource" {
        resource_uuid: Id<Any>,
        primary_storage_uuid: Id<PrimaryStorage>,
        host_uuid: Id<Host>,
        size: i64,
        resource_type: String,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

api! {
    /// What a storage has on each of its hosts, or on one.
    GetLocalStorageHostDiskCapacity: GET "/primary-storage/local-storage/{primaryStorageUuid}/capacities" {
        primary_storage_uuid: Id<PrimaryStorage>,
        host_uuid: Option<Id<Host>>,
    }
}

impl Ask for GetLocalStorageHostDiskCapacity {
    const ROUTE: Route = GetLocalStorageHostDiskCapacity::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let mut tx = asked.engine.db().read().await?;
        let storage: PrimaryStorageInventory = find(&mut tx, self.primary_storage_uuid).await?;
        let mut disks = store::disks(&mut tx, storage.uuid).await?;
        disks.retain(|disk| self.host_uuid.is_none_or(|host| host == disk.host_uuid));
        let shown = disks.into_iter().map(|disk| {
            json!({
                "hostUuid": disk.host_uuid,
                "totalCapacity": disk.total,
                "availableCapacity": disk.available,
                "totalPhysicalCapacity": disk.total,
                "availablePhysicalCapacity": disk.available_physical,
            })
        });
        Ok(json!({ "inventories": shown.collect::<Vec<_>>() }))
    }
}
