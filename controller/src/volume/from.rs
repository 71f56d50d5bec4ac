//! Data volumes that show an image.

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find};
use engine::{Id, Result, api, codes};

use super::api::must_name_host;
use super::create::{Create, Origin};
use super::{Volume, VolumeInventory, tag};
use crate::host::{self, Host};
use crate::image::{self, Image};
use crate::primary_storage::driver::Wanted;
use crate::primary_storage::{PrimaryStorage, PrimaryStorageInventory};
use crate::validate;

api! {
    /// On a local storage the host must be named, here or by the system tag `localStorage::hostUuid::…`; on a
    /// shared one it is of no importance.
    CreateDataVolumeFromVolumeTemplate: POST "/volumes/data/from/data-volume-templates/{imageUuid}" "params" {
        image_uuid: Id<Image>,
        name: String,
        description: Option<String>,
        primary_storage_uuid: Id<PrimaryStorage>,
        host_uuid: Option<Id<Host>>,
        resource_uuid: Option<Id<Volume>>,
    }
}

impl CreateDataVolumeFromVolumeTemplate {
    async fn plan(self, tx: &mut Tx, job: &Job) -> Result<Create> {
        let storage: PrimaryStorageInventory = find(tx, self.primary_storage_uuid).await?;
        let wanted = self.host_uuid.or(tag::host(job.tags())?);
        // Whatever host is named, a shared storage is the same there.
        let wanted = wanted.filter(|_| !storage.shared);
        let host = must_name_host(&storage, wanted, "\"hostUuid\"")?;
        if let Some(host) = host {
            host::usable(tx, host).await?;
        }
        let source = image::source(tx, self.image_uuid, Some(storage.zone_uuid)).await?;
        if source.media_type != "DataVolumeTemplate" {
            let details = format!(
                "image \"{}\" is a {}: data volumes are made from a DataVolumeTemplate",
                source.name, source.media_type
            );
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        Ok(Create {
            uuid: self.resource_uuid.unwrap_or(job.id().cast()),
            account: job.account(),
            name: self.name,
            description: self.description,
            offering: None,
            size: source.size,
            storage: Some(storage.uuid),
            host,
            placed: None,
            origin: Some(Origin::Image(Wanted {
                image: self.image_uuid.to_string(),
                url: source.url,
                hostname: source.hostname,
                install_path: source.install_path,
                sha256: source.sha256,
                actual_size: source.actual_size,
            })),
        })
    }
}

impl Api for CreateDataVolumeFromVolumeTemplate {
    const ROUTE: Route = CreateDataVolumeFromVolumeTemplate::ROUTE;
    const MAKES: Option<&'static str> = Some(VolumeInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        let mut tx = job.engine().db().read().await?;
        let create = self.plan(&mut tx, &job).await?;
        drop(tx);
        job.flow(create).await
    }
}
