//! What is known of a whole image.

use std::fmt;
use std::str::FromStr;

use host::qcow2::Format;
use serde::{Deserialize, Serialize};

/// An image's uuid, fit to be a file's name: letters, digits and hyphens, beginning with none of the last.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(String);

#[derive(Debug, thiserror::Error)]
#[error("image uuid {0:?} is not a uuid")]
pub struct BadId(String);

/// `meta.json`: what was found when the image came. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// SHA-256 of the URL; the URL itself may hold a password.
    pub source: String,
    pub format: Format,
    /// Bytes that a guest sees.
    pub virtual_size: u64,
    /// Bytes of the file.
    pub length: u64,
    pub md5: String,
    pub sha256: String,
}

impl ImageId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        match plain && (1..=64).contains(&text.len()) && !text.starts_with('-') {
            true => Ok(ImageId(text.to_owned())),
            false => Err(BadId(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
