//! Reads what an image says of itself, before any other program looks at it.
//!
//! Our own parser of the qcow2 header (versions 2 and 3) and of the magic numbers of other formats.
//! Images are hostile: [`inspect`] accepts only what stands alone (no backing file, no external data
//! file, no encryption) and refuses what it does not understand; [`read_header`] is for overlays that we
//! made ourselves and tells their backing file. Neither panics, neither holds more than the largest
//! cluster (2 MiB) in memory, neither opens a second file. Both block: call them off the runtime.
//!
//! Numbers: QEMU's `docs/interop/qcow2.txt`; limits: those of QEMU's own driver.

mod foreign;
mod header;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use header::Header;

/// The formats that a volume or an image may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Qcow2,
    Raw,
    /// ISO 9660; QEMU calls it raw.
    Iso,
}

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageHeader {
    pub format: Format,
    /// Bytes that a guest sees.
    pub virtual_size: u64,
    /// Absent on everything that [`inspect`] accepts.
    pub backing: Option<Backing>,
}

/// What an overlay lies upon, as its header tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backing {
    pub path: PathBuf,
    /// QEMU's name of the format; absent when the overlay was made without naming it.
    pub format: Option<String>,
}

/// Why an image is not accepted. The texts are for the one who brought it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the image: {0}")]
    Io(#[from] io::Error),
    #[error("the image is empty")]
    Empty,
    #[error("the image ends within its {0}: fetch it again, it is incomplete")]
    Truncated(&'static str),
    #[error("the image needs the backing file {0:?}: flatten it with qemu-img convert first")]
    BackingFile(String),
    #[error("the image keeps its data in another file: make it self-contained with qemu-img convert first")]
    DataFile,
    #[error("the image is encrypted: decrypt it with qemu-img convert first")]
    Encrypted,
    #[error("the image is {0}: convert it to qcow2 or raw first")]
    Foreign(&'static str),
    #[error("the image is packed with {0}: unpack it first")]
    Packed(&'static str),
    #[error("the image needs features that are not known here (bits {0:#x}): convert it with qemu-img first")]
    UnknownFeatures(u64),
    #[error("the image is marked as corrupt: repair it with qemu-img check -r all first")]
    MarkedCorrupt,
    #[error("the image's header is not sound: {0}")]
    Malformed(&'static str),
}

/// Accepts an image that stands alone; refuses all else.
///
/// # Errors
/// A sentence for the one who brought the image.
pub fn inspect(path: &Path) -> Result<ImageHeader, Error> {
    inspect_from(&mut File::open(path)?)
}

/// [`inspect`], over anything that can be read and wound.
pub fn inspect_from<R: Read + Seek>(image: &mut R) -> Result<ImageHeader, Error> {
    let found = read_header_from(image)?;
    match found.backing {
        Some(backing) => Err(Error::BackingFile(backing.path.to_string_lossy().into_owned())),
        None => Ok(found),
    }
}

/// Whether the first bytes of an image that is still on its way condemn it already. Give it
/// [`ENOUGH_TO_JUDGE`] bytes, or the whole when it is shorter; a pass is not yet an acceptance.
///
/// # Errors
/// What [`inspect`] would say of the whole.
pub fn inspect_start(start: &[u8]) -> Result<Format, Error> {
    if !Header::begins(start) {
        foreign::refuse_start(start)?;
        return Ok(foreign::raw_or_iso(start));
    }
    match Header::parse(start) {
        Ok(Header { backing: Some(backing), .. }) => {
            Err(Error::BackingFile(backing.path.to_string_lossy().into_owned()))
        }
        Ok(_) | Err(Error::Truncated(_)) => Ok(Format::Qcow2),
        Err(refusal) => Err(refusal),
    }
}

/// How many bytes [`inspect_start`] wants to see.
pub const ENOUGH_TO_JUDGE: usize = 64 * 1024;

/// Reads the header of a volume that we made ourselves: the same checks as [`inspect`], but a backing
/// file is told rather than refused.
///
/// # Errors
/// As [`inspect`].
pub fn read_header(path: &Path) -> Result<ImageHeader, Error> {
    read_header_from(&mut File::open(path)?)
}

/// [`read_header`], over anything that can be read and wound.
pub fn read_header_from<R: Read + Seek>(image: &mut R) -> Result<ImageHeader, Error> {
    let length = image.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Err(Error::Empty);
    }
    let start = read_start(image, ENOUGH_TO_JUDGE as u64)?;
    if !Header::begins(&start) {
        return plain(image, &start, length);
    }
    let header = Header::parse(&read_start(image, Header::room(&start)?)?)?;
    header.check_extent(length)?;
    header.check_l1(image, length)?;
    Ok(ImageHeader { format: Format::Qcow2, virtual_size: header.size, backing: header.backing })
}

impl Format {
    /// The name of the driver that QEMU must be told.
    pub fn driver(self) -> &'static str {
        match self {
            Format::Qcow2 => "qcow2",
            Format::Raw | Format::Iso => "raw",
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Format::Qcow2 => "qcow2",
            Format::Raw => "raw",
            Format::Iso => "iso",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A format's name that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("image format {0:?} is not known: use qcow2, raw or iso")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "qcow2" => Ok(Format::Qcow2),
            "raw" => Ok(Format::Raw),
            "iso" => Ok(Format::Iso),
            other => Err(UnknownFormat(other.chars().take(32).collect())),
        }
    }
}

fn read_start<R: Read + Seek>(image: &mut R, most: u64) -> Result<Vec<u8>, Error> {
    image.seek(SeekFrom::Start(0))?;
    let mut start = Vec::new();
    image.take(most).read_to_end(&mut start)?;
    Ok(start)
}

fn plain<R: Read + Seek>(image: &mut R, start: &[u8], length: u64) -> Result<ImageHeader, Error> {
    foreign::refuse_start(start)?;
    foreign::refuse_end(image, length)?;
    let virtual_size = length.checked_next_multiple_of(512).ok_or(Error::Malformed("its size is absurd"))?;
    Ok(ImageHeader { format: foreign::raw_or_iso(start), virtual_size, backing: None })
}

#[cfg(test)]
mod tests;
