//! The qcow2 header: its fixed part, its extensions, the tables it points to.

use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Backing, Error};

const MAGIC: &[u8] = b"QFI\xfb";
const V2_LENGTH: u64 = 72;
const V3_LENGTH: u64 = 104;

const FEATURE_CORRUPT: u64 = 1 << 1;
const FEATURE_DATA_FILE: u64 = 1 << 2;
const FEATURE_EXTENDED_L2: u64 = 1 << 4;
/// Dirty, corrupt, data file, compression type, extended L2.
const KNOWN_FEATURES: u64 = 0x1f;

const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;
const EXTENSION_ENCRYPTION: u32 = 0x0537_be77;

const MAX_L1_BYTES: u64 = 32 << 20;
const MAX_REFTABLE_BYTES: u64 = 8 << 20;
const MAX_SNAPSHOTS: u32 = 65536;
/// The least that the entry of a snapshot takes in the table.
const SNAPSHOT_BYTES: u64 = 40;
const MAX_BACKING_NAME: u32 = 1023;
const L1_OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;

/// A header that is sound in itself; where its tables lie is checked against the file's length later.
#[derive(Debug)]
pub(super) struct Header {
    pub size: u64,
    pub backing: Option<Backing>,
    version: u32,
    cluster_bits: u32,
    features: u64,
    length: u64,
    l1: Table,
    refcounts: Table,
    snapshots: Table,
}

#[derive(Clone, Copy, Debug)]
struct Table {
    offset: u64,
    bytes: u64,
}

impl Header {
    pub(super) fn begins(start: &[u8]) -> bool {
        start.starts_with(MAGIC) && be32(start, 4) != Some(1)
    }

    /// How many bytes may belong to the header, its extensions and its names: the first cluster.
    pub(super) fn room(start: &[u8]) -> Result<u64, Error> {
        Ok(1 << cluster_bits(start)?)
    }

    /// Reads the header out of the image's first cluster, or out of what there is of it.
    pub(super) fn parse(start: &[u8]) -> Result<Header, Error> {
        let mut header = fixed(start)?;
        header.check_itself()?;
        header.backing = header.named_backing(start)?;
        Ok(header)
    }

    fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    fn check_itself(&self) -> Result<(), Error> {
        self.check_features()?;
        if self.length < V3_LENGTH && self.version == 3 {
            return Err(Error::Malformed("it is too short"));
        }
        if !self.length.is_multiple_of(8) || self.length > self.cluster() {
            return Err(Error::Malformed("its length is absurd"));
        }
        self.check_sizes()
    }

    fn check_features(&self) -> Result<(), Error> {
        let unknown = self.features & !KNOWN_FEATURES;
        if self.features & FEATURE_DATA_FILE != 0 {
            Err(Error::DataFile)
        } else if unknown != 0 {
            Err(Error::UnknownFeatures(unknown))
        } else if self.features & FEATURE_CORRUPT != 0 {
            Err(Error::MarkedCorrupt)
        } else if self.features & FEATURE_EXTENDED_L2 != 0 && self.cluster_bits < 14 {
            Err(Error::Malformed("its clusters are too small for subclusters"))
        } else {
            Ok(())
        }
    }

    fn check_sizes(&self) -> Result<(), Error> {
        if self.size == 0 || i64::try_from(self.size).is_err() {
            return Err(Error::Malformed("its virtual size is absurd"));
        }
        if self.l1.bytes > MAX_L1_BYTES {
            return Err(Error::Malformed("its L1 table is too large"));
        }
        if self.l1.bytes / 8 < self.size.div_ceil(self.reach_of_l1_entry()) {
            return Err(Error::Malformed("its L1 table is too small for its virtual size"));
        }
        if self.refcounts.bytes == 0 || self.refcounts.bytes > MAX_REFTABLE_BYTES {
            return Err(Error::Malformed("the size of its refcount table is absurd"));
        }
        if self.snapshots.bytes > u64::from(MAX_SNAPSHOTS) * SNAPSHOT_BYTES {
            return Err(Error::Malformed("the number of its snapshots is absurd"));
        }
        Ok(())
    }

    fn reach_of_l1_entry(&self) -> u64 {
        let entry = if self.features & FEATURE_EXTENDED_L2 == 0 { 8 } else { 16 };
        self.cluster() / entry * self.cluster()
    }

    /// All tables lie within the file, on the border of a cluster.
    pub(super) fn check_extent(&self, length: u64) -> Result<(), Error> {
        if length < self.length {
            return Err(Error::Truncated("header"));
        }
        self.l1.check(self, length, "L1 table")?;
        self.refcounts.check(self, length, "refcount table")?;
        self.snapshots.check(self, length, "snapshot table")
    }

    /// Every L2 table that the L1 table names lies within the file.
    pub(super) fn check_l1<R: Read + Seek>(&self, image: &mut R, length: u64) -> Result<(), Error> {
        image.seek(SeekFrom::Start(self.l1.offset))?;
        let mut table = image.take(self.l1.bytes);
        let mut chunk = Vec::with_capacity(64 * 1024);
        loop {
            chunk.clear();
            if (&mut table).take(64 * 1024).read_to_end(&mut chunk)? == 0 {
                return Ok(());
            }
            for entry in chunk.as_chunks::<8>().0 {
                self.check_l2(u64::from_be_bytes(*entry) & L1_OFFSET_MASK, length)?;
            }
        }
    }

    fn check_l2(&self, offset: u64, length: u64) -> Result<(), Error> {
        if offset == 0 {
            return Ok(());
        }
        Table { offset, bytes: self.cluster() }.check(self, length, "L2 tables")
    }

    fn named_backing(&self, start: &[u8]) -> Result<Option<Backing>, Error> {
        let (offset, size) = (need64(start, 8)?, need32(start, 16)?);
        if offset == 0 && size == 0 {
            self.extensions(start, self.cluster())?;
            return Ok(None);
        }
        let end = offset.saturating_add(u64::from(size));
        if offset < self.length || size == 0 || size > MAX_BACKING_NAME || end > self.cluster() {
            return Err(Error::Malformed("its backing file's name is not where it must be"));
        }
        let name = usize::try_from(offset).ok().and_then(|at| start.get(at..)?.get(..size as usize));
        let name = name.ok_or(Error::Truncated("header"))?;
        let format = self.extensions(start, offset)?;
        Ok(Some(Backing { path: PathBuf::from(OsStr::from_bytes(name)), format }))
    }

    /// Walks the extensions that stand before `end`; tells the backing file's format.
    fn extensions(&self, start: &[u8], end: u64) -> Result<Option<String>, Error> {
        let (mut at, mut format) = (self.length, None);
        while at + 8 <= end {
            let place = usize::try_from(at).map_err(|_| Error::Truncated("header"))?;
            let (kind, length) = (need32(start, place)?, need32(start, place + 4)?);
            match kind {
                EXTENSION_END => return Ok(format),
                EXTENSION_DATA_FILE => return Err(Error::DataFile),
                EXTENSION_ENCRYPTION => return Err(Error::Encrypted),
                _ => {}
            }
            if u64::from(length) > end - at - 8 {
                return Err(Error::Malformed("an extension does not end within it"));
            }
            if kind == EXTENSION_BACKING_FORMAT {
                let name = start.get(place + 8..place + 8 + length as usize);
                format = Some(String::from_utf8_lossy(name.ok_or(Error::Truncated("header"))?).into_owned());
            }
            at += 8 + u64::from(length).next_multiple_of(8);
        }
        Ok(format)
    }
}

impl Table {
    fn check(self, header: &Header, length: u64, name: &'static str) -> Result<(), Error> {
        if self.bytes == 0 {
            return Ok(());
        }
        if self.offset < header.cluster() || !self.offset.is_multiple_of(header.cluster()) {
            return Err(Error::Malformed("one of its tables is not where a table can be"));
        }
        match self.offset.checked_add(self.bytes) {
            Some(end) if end <= length => Ok(()),
            _ => Err(Error::Truncated(name)),
        }
    }
}

fn fixed(start: &[u8]) -> Result<Header, Error> {
    let version = need32(start, 4)?;
    let (features, length) = match version {
        2 => (0, V2_LENGTH),
        3 => (need64(start, 72)?, u64::from(need32(start, 100)?)),
        _ => return Err(Error::Malformed("its version is neither 2 nor 3")),
    };
    if need32(start, 32)? != 0 {
        return Err(Error::Encrypted);
    }
    if version == 3 && need32(start, 96)? > 6 {
        return Err(Error::Malformed("its refcounts are too wide"));
    }
    if length > V3_LENGTH && start.get(104).is_some_and(|&compression| compression > 1) {
        return Err(Error::Malformed("its compression is neither zlib nor zstd"));
    }
    let cluster_bits = cluster_bits(start)?;
    let l1 = Table { offset: need64(start, 40)?, bytes: u64::from(need32(start, 36)?) * 8 };
    let refcounts =
        Table { offset: need64(start, 48)?, bytes: u64::from(need32(start, 56)?) << cluster_bits };
    let snapshots =
        Table { offset: need64(start, 64)?, bytes: u64::from(need32(start, 60)?) * SNAPSHOT_BYTES };
    let size = need64(start, 24)?;
    Ok(Header { size, backing: None, version, cluster_bits, features, length, l1, refcounts, snapshots })
}

fn cluster_bits(start: &[u8]) -> Result<u32, Error> {
    match need32(start, 20)? {
        bits @ 9..=21 => Ok(bits),
        _ => Err(Error::Malformed("its cluster size is not one that qcow2 has")),
    }
}

fn need32(bytes: &[u8], at: usize) -> Result<u32, Error> {
    be32(bytes, at).ok_or(Error::Truncated("header"))
}

fn need64(bytes: &[u8], at: usize) -> Result<u64, Error> {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    word.map(|word| u64::from_be_bytes(*word)).ok_or(Error::Truncated("header"))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}
