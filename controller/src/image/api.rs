use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes};

use super::add::Add;
use super::media::{self, Format, MediaType};
use super::{Image, ImageInventory, store};
use crate::backup_storage::BackupStorage;
use crate::validate::{self, Architecture, Platform, StateEvent};

api! {
    /// `url` is `http`, `https`, `file` (a path on the storage's machine) or `upload://name`: then the
    /// `installPath` of each `backupStorageRefs` tells where to PUT the bits while the image is Downloading.
    AddImage: POST "/images" "params" {
        name: String,
        description: Option<String>,
        url: String,
        media_type: Option<MediaType>,
        guest_os_type: Option<String>,
        architecture: Option<Architecture>,
        system: Option<bool>,
        format: Option<Format>,
        platform: Option<Platform>,
        backup_storage_uuids: Vec<Id<BackupStorage>>,
        r#type: Option<String>,
        virtio: Option<bool>,
        resource_uuid: Option<Id<Image>>,
    }
}

impl AddImage {
    fn check(&self) -> Result<MediaType> {
        validate::name("name", &self.name)?;
        media::address(&self.url)?;
        let media = MediaType::of(self.media_type, self.format);
        self.format.map_or(Ok(()), |format| media.suits(format.name()))?;
        if self.backup_storage_uuids.is_empty() {
            return Err(codes::INVALID_ARGUMENT.because("\"backupStorageUuids\" must name at least one"));
        }
        match self.r#type.as_deref() {
            None | Some("zstack") => Ok(media),
            Some(other) => Err(codes::UNIMPLEMENTED
                .because(format!("images of type \"{other}\" are not supported: use \"zstack\""))),
        }
    }
}

impl Api for AddImage {
    const ROUTE: Route = AddImage::ROUTE;
    const MAKES: Option<&'static str> = Some(ImageInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let media_type = self.check()?;
        let mut storages = self.backup_storage_uuids;
        storages.sort_unstable();
        storages.dedup();
        let add = Add {
            uuid: self.resource_uuid.unwrap_or(job.id().cast()),
            name: self.name,
            description: self.description,
            url: self.url,
            media_type,
            guest_os_type: self.guest_os_type,
            platform: self.platform.unwrap_or_default().name().to_owned(),
            architecture: self.architecture.unwrap_or_default().name().to_owned(),
            format: self.format,
            system: self.system.unwrap_or(false),
            virtio: self.virtio.unwrap_or(true),
            storages,
            token: None,
            found: Vec::new(),
        };
        job.flow(add).await
    }
}

api! {
    /// `format` is what the storage found; naming another one is refused.
    UpdateImage: PUT "/images/{uuid}/actions" "updateImage" {
        uuid: Id<Image>,
        name: Option<String>,
        description: Option<String>,
        guest_os_type: Option<String>,
        media_type: Option<MediaType>,
        format: Option<Format>,
        system: Option<bool>,
        platform: Option<Platform>,
        architecture: Option<Architecture>,
        virtio: Option<bool>,
    }
}

impl UpdateImage {
    fn check(&self, image: &ImageInventory) -> Result<()> {
        let found = image.format.as_deref();
        if let Some(named) = self.format.filter(|named| found != Some(named.name())) {
            return Err(codes::INVALID_ARGUMENT.because(format!(
                "image \"{}\" cannot become {}: its format is {} and was inspected as that",
                image.name,
                named.name(),
                found.unwrap_or("not known yet")
            )));
        }
        match (self.media_type, found) {
            (Some(media), Some(format)) => media.suits(format),
            (Some(_), None) => Err(codes::STATE
                .because(format!("image \"{}\" is still on its way: wait until it is Ready", image.name))),
            (None, _) => Ok(()),
        }
    }
}

impl Api for UpdateImage {
    const ROUTE: Route = UpdateImage::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                self.check(&find(tx, self.uuid).await?)?;
                store::update(tx, &self).await?;
                show::<ImageInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ChangeImageState: PUT "/images/{uuid}/actions" "changeImageState" {
        uuid: Id<Image>,
        state_event: StateEvent,
    }
}

impl Api for ChangeImageState {
    const ROUTE: Route = ChangeImageState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<ImageInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}
