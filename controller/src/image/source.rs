//! What others need of an image to make disks from it.

use engine::db::Tx;
use engine::inventory::find;
use engine::{Id, Result, codes};
use serde::{Deserialize, Serialize};

use super::{Image, ImageInventory, store};
use crate::zone::Zone;

/// An image that hosts can fetch at `url`. Sizes in bytes, `size` is the virtual one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSource {
    pub name: String,
    pub url: String,
    pub hostname: String,
    pub install_path: String,
    pub sha256: String,
    pub size: i64,
    pub actual_size: i64,
    pub format: String,
    pub media_type: String,
    pub platform: String,
    pub architecture: Option<String>,
    pub guest_os_type: Option<String>,
    pub virtio: bool,
}

/// Where the bits of a usable image are, on a connected backup storage attached to `zone` (of any zone when
/// none is named); or why it cannot be used.
pub async fn source(tx: &mut Tx, image: Id<Image>, zone: Option<Id<Zone>>) -> Result<ImageSource> {
    let image: ImageInventory = find(tx, image).await?;
    usable(&image)?;
    let places = store::places(tx, image.uuid, zone).await?;
    let Some(place) = places.iter().find(|place| place.is_connected()) else {
        return Err(nowhere(
            &image,
            places.first().map(|place| (place.name.as_str(), place.status.as_str())),
        ));
    };
    let driver = place.driver()?;
    let unknown =
        || codes::INTERNAL.because(format!("image \"{}\" is Ready but was not inspected", image.name));
    Ok(ImageSource {
        url: driver.bits_url(&tx.engine(), place, image.uuid.cast()),
        hostname: place.hostname.clone(),
        install_path: driver.install_path(image.uuid.cast()),
        sha256: image.sha256.clone().ok_or_else(unknown)?,
        size: image.size,
        actual_size: image.actual_size,
        format: image.format.clone().ok_or_else(unknown)?,
        media_type: image.media_type,
        platform: image.platform,
        architecture: image.architecture,
        guest_os_type: image.guest_os_type,
        virtio: image.virtio,
        name: image.name,
    })
}

fn usable(image: &ImageInventory) -> Result<()> {
    let why = match (image.status.as_str(), image.state.as_str()) {
        ("Ready", "Enabled") => return Ok(()),
        ("Ready", _) => "is disabled: enable it first",
        ("Deleted", _) => "is deleted: recover it or take another one",
        _ => "is still on its way: wait until it is Ready",
    };
    Err(codes::STATE.because(format!("image \"{}\" {why}", image.name)))
}

fn nowhere(image: &ImageInventory, lost: Option<(&str, &str)>) -> engine::ErrorCode {
    let name = &image.name;
    codes::STATE.because(match lost {
        Some((storage, status)) => {
            format!(
                "image \"{name}\" is on backup storage \"{storage}\", which is {status}: reconnect it first"
            )
        }
        None => format!(
            "image \"{name}\" is on no backup storage of the zone: attach one that has it to the zone first"
        ),
    })
}
