//! How an image boots, and how large it is by what its storage says.

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::tag::{self, Hold, SystemTag};
use engine::{Engine, Id, Result, api, codes};

use super::{Image, ImageInventory, store};

/// The firmware that VMs made from the image boot by.
pub(super) const BOOT_MODE: SystemTag = SystemTag {
    resource: ImageInventory::KIND,
    pattern: "bootMode::{bootMode}",
    help: "Legacy or UEFI: how VMs boot that are made from the image, unless they say otherwise",
    hold: Hold::Free,
    once: &[],
    check: |tokens| match tokens.get("bootMode") {
        "Legacy" | "UEFI" => Ok(()),
        other => {
            Err(codes::INVALID_ARGUMENT.because(format!("a boot mode is Legacy or UEFI, not \"{other}\"")))
        }
    },
};

/// How VMs boot that are made from the image, if it says so.
pub async fn boot_mode(tx: &mut Tx, image: Id<Image>) -> Result<Option<String>> {
    let tokens = tag::tokens(tx, &BOOT_MODE, image.cast()).await?;
    Ok(tokens.first().map(|tokens| tokens.get("bootMode").to_owned()))
}

api! {
    /// Holds for VMs that are made from it from then on.
    SetImageBootMode: PUT "/images/{uuid}/actions" "setImageBootMode" {
        uuid: Id<Image>,
        boot_mode: String,
    }
}

impl Api for SetImageBootMode {
    const ROUTE: Route = SetImageBootMode::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<ImageInventory>(tx, self.uuid).await?;
                let text = BOOT_MODE.text(&[&self.boot_mode]);
                tag::replace(tx, &BOOT_MODE, self.uuid.cast(), Some(&text)).await?;
                show::<ImageInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    /// Asks a storage that has the image how large it is.
    SyncImageSize: PUT "/images/{uuid}/actions" "syncImageSize" {
        uuid: Id<Image>,
    }
}

impl Api for SyncImageSize {
    const ROUTE: Route = SyncImageSize::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let (size, actual_size) = look(job.engine(), self.uuid).await?;
        job.write(move |tx| {
            Box::pin(async move {
                store::resize(tx, self.uuid, size, actual_size).await?;
                show::<ImageInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

/// The bytes of a copy that can be asked for, virtual and of the file.
async fn look(engine: &Engine, image: Id<Image>) -> Result<(i64, i64)> {
    let mut tx = engine.db().read().await?;
    let image: ImageInventory = find(&mut tx, image).await?;
    let places = store::places(&mut tx, image.uuid, None).await?;
    drop(tx);
    let Some(storage) = places.iter().find(|place| place.is_connected()) else {
        let details = format!(
            "image \"{}\" is on no backup storage that can be asked: wait until it is Ready, or reconnect one",
            image.name
        );
        return Err(codes::STATE.because(details));
    };
    storage.driver()?.image_size(engine, storage, image.uuid.cast()).await
}
