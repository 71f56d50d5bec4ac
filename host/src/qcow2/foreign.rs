//! Formats that are recognised in order to be refused, so that none of them passes as raw.

use std::io::{Read, Seek, SeekFrom};

use super::{Error, Format};

struct Magic {
    at: usize,
    bytes: &'static [u8],
    name: &'static str,
}

const fn magic(at: usize, bytes: &'static [u8], name: &'static str) -> Magic {
    Magic { at, bytes, name }
}

const FORMATS: &[Magic] = &[
    magic(0, b"KDMV", "a VMDK disk"),
    magic(0, b"COWD", "a VMDK disk"),
    magic(0, b"# Disk DescriptorFile", "a VMDK descriptor"),
    magic(0x40, &[0x7f, 0x10, 0xda, 0xbe], "a VDI disk"),
    magic(0, b"<<< ", "a VDI disk"),
    magic(0, b"vhdxfile", "a VHDX disk"),
    magic(0, b"conectix", "a VHD disk"),
    magic(0, b"cxsparse", "a VHD disk"),
    magic(0, b"QED\0", "a QED disk"),
    magic(0, b"QFI\xfb\0\0\0\x01", "a qcow disk of version 1"),
    magic(0, b"LUKS\xba\xbe", "a LUKS container"),
    magic(0, b"WithoutFreeSpace", "a Parallels disk"),
    magic(0, b"WithouFreSpacExt", "a Parallels disk"),
    magic(0, b"OOOM", "a COW disk"),
    magic(0, b"Bochs Virtual HD Image", "a Bochs disk"),
    magic(0, b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop", "a cloop disk"),
    magic(0, b"EVF\x09\x0d\x0a\xff\0", "an EnCase disk"),
];

const PACKINGS: &[Magic] = &[
    magic(0, &[0x1f, 0x8b, 0x08], "gzip"),
    magic(0, b"\xfd7zXZ\0", "xz"),
    magic(0, b"BZh", "bzip2"),
    magic(0, &[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    magic(0, b"PK\x03\x04", "zip"),
    magic(0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    magic(257, b"ustar", "tar (an OVA is one)"),
];

/// Marks in the last 512 bytes.
const ENDS: &[Magic] = &[magic(0, b"conectix", "a VHD disk"), magic(0, b"koly", "an Apple disk image (DMG)")];

const ISO_9660: Magic = magic(32769, b"CD001", "ISO 9660");

impl Magic {
    fn is_in(&self, bytes: &[u8]) -> bool {
        bytes.get(self.at..).is_some_and(|rest| rest.starts_with(self.bytes))
    }
}

pub(super) fn refuse_start(start: &[u8]) -> Result<(), Error> {
    if let Some(format) = FORMATS.iter().find(|format| format.is_in(start)) {
        return Err(Error::Foreign(format.name));
    }
    match PACKINGS.iter().find(|packing| packing.is_in(start)) {
        Some(packing) => Err(Error::Packed(packing.name)),
        None => Ok(()),
    }
}

pub(super) fn refuse_end<R: Read + Seek>(image: &mut R, length: u64) -> Result<(), Error> {
    let Some(at) = length.checked_sub(512) else { return Ok(()) };
    let mut end = [0; 512];
    image.seek(SeekFrom::Start(at))?;
    image.read_exact(&mut end)?;
    match ENDS.iter().find(|mark| mark.is_in(&end)) {
        Some(mark) => Err(Error::Foreign(mark.name)),
        None => Ok(()),
    }
}

pub(super) fn raw_or_iso(start: &[u8]) -> Format {
    if ISO_9660.is_in(start) { Format::Iso } else { Format::Raw }
}
